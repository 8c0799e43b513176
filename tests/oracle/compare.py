#!/usr/bin/env python3
"""Random conversions by a program against this oracle, or against another program with the same flags.

    compare.py --binary target/release/quantscope [--rounds N] [--seed S] [--reference "python3 other.py"]
               [--finds FOLDER]

Every output tensor must agree in dtype, shape and bytes, NaN bytes of E4M3 whatever their sign; the searches of scales
too: the order of their sums is fixed. What was packed is then dequantized by the program and compared with the values
that the oracle reads from the same files, and so are random tensors in the layouts of other projects. A round that
disagrees is written out as a folder: source, request, what was expected and what was found.
"""

import argparse
import json
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import checkpoint
import fixtures_foreign
import fixtures_stored
import tensors as files
from check import same
from convert import convert
from decode import digest
from draw import draw
from quantize import SCHEMES, Refused

REFUSAL = 2


class Disagreement(Exception):
    """What differs, in words."""


class NoReference(Exception):
    """The program to compare with fails on this round."""


def write_round(folder, drawn):
    """The source of a round and the flags that ask for its conversion."""
    source = folder / "source"
    source.mkdir(parents=True)
    files.write(source / "model.safetensors", drawn.tensors, {"format": "pt"})
    (source / "config.json").write_text(json.dumps(drawn.config))
    request = drawn.request
    flags = ["--to", request.to]
    for glob, scheme in request.layers:
        flags += ["--layer", f"{glob}={scheme}"]
    for glob in request.exclude:
        flags += ["--exclude", glob]
    if request.export:
        flags += ["--dtype", request.export]
    if "int4" in request.to:
        flags += ["--group-size", str(request.group_size)]
    if request.fp8_rounding != "cpu":
        flags += ["--fp8-rounding", request.fp8_rounding]
    if drawn.zero_as_reference:
        flags += ["--zero-tensors", "reference"]
    ends = ("input_quantizer", "bmm_quantizer")
    inputs = {key: amax for key, amax in request.calibration.items() if key.endswith(ends)}
    if drawn.states:
        states = {f"{key}._amax": files.Tensor("F32", np.float32(amax)) for key, amax in inputs.items()}
        files.write(folder / "calibration.safetensors", {**drawn.states, **states})
        flags += ["--calibration", str(folder / "calibration.safetensors")]
    elif inputs:
        maxima = {key: {"amax": float(amax)} for key, amax in inputs.items()}
        (folder / "calibration.json").write_text(json.dumps(maxima))
        flags += ["--calibration", str(folder / "calibration.json")]
    (folder / "flags.json").write_text(json.dumps(flags))
    return source, flags


def run(program, source, output, flags):
    """Converts; answers the tensors written, or none if it was refused."""
    words = [program] if Path(program).exists() else shlex.split(program)
    command = [*words, "convert", str(source), "-o", str(output), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == REFUSAL:
        if output.exists() and any(output.iterdir()):
            raise Disagreement(f"refused, and wrote something: {done.stderr.strip()}")
        return None, done.stderr
    if done.returncode != 0:
        raise Disagreement(f"exit status {done.returncode}: {done.stderr.strip()[-600:]}")
    return files.read_folder(output)[0], done.stderr


def expected_of(drawn, folder, source, flags, reference):
    """What the conversion must give; none for a refusal."""
    refused = drawn.zero and not drawn.zero_as_reference
    if reference:
        if refused or drawn.request.fp8_rounding != "cpu":
            raise NoReference("flags that not every program knows")
        try:
            return run(reference, source, folder / "reference", flags)[0]
        except Disagreement as reason:
            raise NoReference(str(reason)) from reason
    if refused:
        return None
    try:
        return convert(drawn.tensors, drawn.config, drawn.request)
    except Refused:
        return None


def differences(found, expected):
    """Names of tensors that disagree, with a reason."""
    reasons = []
    for name in sorted({*found, *expected}):
        if name not in found or name not in expected:
            reasons.append(f"{name} is only {'found' if name in found else 'expected'}")
        elif not same(found[name], expected[name]):
            reasons.append(f"{name} {_first_difference(found[name], expected[name])}")
    return reasons


def _first_difference(found, expected):
    if found.dtype != expected.dtype or found.values.shape != expected.values.shape:
        kinds = [f"{t.dtype} {list(t.values.shape)}" for t in (found, expected)]
        return f"is {kinds[0]}, expected {kinds[1]}"
    sides = [np.ascontiguousarray(t.values).reshape(-1) for t in (found, expected)]
    at = np.flatnonzero(sides[0].view(np.uint8) != sides[1].view(np.uint8))
    index = int(at[0]) // sides[0].itemsize
    return f"differs in {at.size} bytes, first at element {index}: {sides[0][index]}, expected {sides[1][index]}"


def check_round(drawn, folder, options):
    """Packs, compares, dequantizes, compares."""
    source, flags = write_round(folder, drawn)
    expected = expected_of(drawn, folder, source, flags, options.reference)
    found, words = run(options.binary, source, folder / "found", flags)
    if expected is None or found is None:
        if expected is None and found is None:
            return "refused"
        raise Disagreement(f"refused by one side only: {words.strip()[-600:]}")
    reasons = differences(found, expected)
    if reasons:
        files.write(folder / "expected.safetensors", expected)
        raise Disagreement("; ".join(reasons[:6]))
    if not options.no_decoding:
        check_decoding(folder / "found", folder / "plain", options)
    return drawn.request.to


def check_decoding(packed, plain, options):
    """What the program reads out of a packed checkpoint, against what the oracle does."""
    tensors, metadata, config = files.read_folder(packed)
    meant = checkpoint.decode(tensors, metadata, config)
    found, words = run(options.binary, packed, plain, ["--to", "f32"])
    if found is None:
        raise Disagreement(f"what was packed is not dequantized: {words.strip()[-600:]}")
    for name, values in meant.items():
        if name not in found:
            raise Disagreement(f"{name} is not dequantized")
        if found[name].values.shape != values.shape or digest(found[name].f32()) != digest(values):
            worst = np.abs(found[name].f32().reshape(-1)[: values.size] - values.reshape(-1)[: found[name].values.size])
            raise Disagreement(f"{name} is dequantized to other values, by up to {worst.max()}")


def check_layouts(seed, folder, options):
    """Random tensors in the layouts of other projects; answers how many."""
    count = 0
    for module in (fixtures_foreign, fixtures_stored):
        for case in module.cases(np.random.default_rng(seed)):
            place = folder / case.name.replace("/", "_")
            place.mkdir(parents=True)
            files.write(place / "model.safetensors", case.packed, case.metadata)
            (place / "config.json").write_text(json.dumps(case.config))
            found, words = run(options.binary, place, place / "plain", ["--to", "f32"])
            if found is None:
                raise Disagreement(f"{case.name}: refused: {words.strip()[-600:]}")
            for name, tensor in case.dequantized.items():
                if name not in found or digest(found[name].f32()) != digest(tensor.values):
                    raise Disagreement(f"{case.name}: {name} is dequantized to other values")
            count += 1
    return count


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, help="the program, as one would call it")
    parser.add_argument("--reference", help="another program to compare with, instead of the oracle")
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--schemes", default=",".join(SCHEMES), help="only these, separated by commas")
    parser.add_argument("--finds", type=Path, default=None, help="where disagreements are written (default: temporary)")
    parser.add_argument("--no-decoding", action="store_true", help="compare packing alone")
    return parser.parse_args()


def main():
    options = parse()
    seed = secrets.randbits(32) if options.seed is None else options.seed
    print(f"seed {seed}, {options.rounds} rounds")
    finds = options.finds or Path(tempfile.mkdtemp(prefix="quantscope-finds-"))
    disagreed, outcomes = 0, {}
    with tempfile.TemporaryDirectory() as scratch:
        jobs = [(f"round-{number}", number) for number in range(options.rounds)]
        if not options.no_decoding and not options.reference:
            jobs.append(("layouts", None))
        for name, number in jobs:
            folder = Path(scratch) / name
            try:
                if number is None:
                    outcome = f"{check_layouts(seed, folder, options)} layouts"
                else:
                    drawn = draw(np.random.default_rng([seed, number]), options.schemes.split(","))
                    outcome = check_round(drawn, folder, options)
                outcomes[outcome] = outcomes.get(outcome, 0) + 1
            except NoReference:
                outcomes["not known to the reference"] = outcomes.get("not known to the reference", 0) + 1
            except Disagreement as reason:
                disagreed += 1
                kept = finds / f"{seed}-{name}"
                shutil.copytree(folder, kept)
                print(f"{name}: {reason}\n  kept in {kept}")
            shutil.rmtree(folder, ignore_errors=True)
    print(", ".join(f"{outcome}: {count}" for outcome, count in sorted(outcomes.items())))
    print(f"{len(jobs) - disagreed} of {len(jobs)} agree")
    return 1 if disagreed else 0


if __name__ == "__main__":
    sys.exit(main())
