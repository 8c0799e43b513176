#!/usr/bin/env python3
"""What every packed checkpoint of `tests/data` decodes to: `tests/data/decoded.json`.

For each weight the shape, the SHA-256 of its F32 values in little-endian bytes (every zero taken as +0 and every NaN
as 0x7FC00000: their signs carry no meaning), and, where the unquantized weight is at hand, the signal-to-noise ratio
against it in dB (null where nothing was lost). A packed convolution keeps its flattened and padded shape: the file
does not say what it was.

    decode.py           compares with what decoded.json says
    decode.py --write   writes it
"""

import json
import sys
from pathlib import Path

import numpy as np

import checkpoint
import tensors as files

DATA = Path(__file__).resolve().parent.parent / "data"
RESULT = DATA / "decoded.json"
# Of these the scales have the same shape in tiles and in rows: no reader can tell which, so nothing is claimed.
AMBIGUOUS = ("golden/pad_swizzle_128x64/expected.safetensors", "+swizzle/")


def places():
    """Every packed file or folder: its path under `tests/data`, tensors, metadata, config, source folder or file."""
    for case_file in sorted((DATA / "made").glob("*/*.json")):
        case = json.loads(case_file.read_text())
        path = case_file.with_suffix(".packed.safetensors")
        packed, metadata = files.read(path)
        # The config of a case of packing is that of its source.
        config = {} if "convert" in case else case["config"]
        yield path, packed, metadata, config, case_file.with_suffix(".source.safetensors")
    for case_file in sorted(DATA.rglob("case.json")):
        folder = case_file.parent
        case = json.loads(case_file.read_text())
        if (folder / "packed.safetensors").exists():
            packed, metadata = files.read(folder / "packed.safetensors")
            config = case.get("config") or {}
            yield folder / "packed.safetensors", packed, metadata, config, folder / "source.safetensors"
        elif (folder / "expected.safetensors").exists():
            packed, metadata = files.read(folder / "expected.safetensors")
            yield folder / "expected.safetensors", packed, metadata, {}, folder / "source.safetensors"
        else:
            for name in ("expected", "expected_intended"):
                if (folder / name).is_dir():
                    yield folder / name, *files.read_folder(folder / name), source_folder(folder, case)


def source_folder(folder, case):
    """Where the unquantized weights of an exported checkpoint lie."""
    if "source" in case:
        return (folder / case["source"]).resolve()
    listed = case.get("source_files") or ["source/model.safetensors"]
    return (folder / listed[0]).resolve().parent


def source_weights(place):
    """Float weights by name; stacks of experts also by the names of their parts."""
    if not place.exists():
        return {}
    tensors = files.read(place)[0] if place.is_file() else files.read_folder(place)[0]
    found = {name: tensor.f32() for name, tensor in tensors.items() if tensor.dtype in files.FLOATS}
    for name, stack in list(found.items()):
        parent, _, leaf = name.rpartition(".")
        if stack.ndim == 3 and leaf == "gate_up_proj":
            half = stack.shape[1] // 2
            for number, expert in enumerate(stack):
                found[f"{parent}.{number}.gate_proj.weight"] = expert[:half]
                found[f"{parent}.{number}.up_proj.weight"] = expert[half:]
        elif stack.ndim == 3 and leaf == "down_proj":
            for number, expert in enumerate(stack):
                found[f"{parent}.{number}.down_proj.weight"] = expert
    return found


def noise_ratio_db(weight, values):
    """10 log10(sum w^2 / sum (w - v)^2), or None where nothing was lost."""
    if weight.shape != values.shape:  # a convolution, flattened and padded with zeros
        flat = weight.reshape(weight.shape[0], -1)
        weight = np.pad(flat, ((0, 0), (0, values.shape[1] - flat.shape[1])))
    weight, values = weight.astype(np.float64), values.astype(np.float64)
    noise = ((weight - values) ** 2).sum()
    signal = (weight**2).sum()
    return None if noise == 0 else round(float(10 * np.log10(signal / noise)), 4)


def fits(weight, values):
    """Whether these are the same weight, a convolution's padding aside."""
    if weight.shape == values.shape:
        return True
    columns = weight.size // max(weight.shape[0], 1)
    return weight.ndim == 5 and values.shape[0] == weight.shape[0] and 0 <= values.shape[1] - columns < 16


def digest(values):
    """The hash of an entry."""
    plain = np.where(values == 0, np.float32(0), values).astype("<f4")
    plain[np.isnan(plain)] = np.array(0x7FC00000, "<u4").view("<f4")
    return files.sha256(plain)


def describe(values, weight):
    """One entry of the result."""
    entry = {"shape": list(values.shape), "sha256": digest(values)}
    if weight is not None and fits(weight, values) and np.isfinite(values).all():
        entry["sqnr_db"] = noise_ratio_db(weight, values)
    return entry


def decode_all():
    """The content of `decoded.json`."""
    result = {}
    for path, packed, metadata, config, source in places():
        name = path.relative_to(DATA).as_posix()
        try:
            decoded = checkpoint.decode(packed, metadata, config)
        except checkpoint.Unsupported:
            continue
        weights = source_weights(source)
        entries = {}
        for weight_name, values in sorted(decoded.items()):
            if name == AMBIGUOUS[0] and AMBIGUOUS[1] in weight_name:
                continue
            entries[weight_name] = describe(values, weights.get(weight_name))
        if entries:
            result[name] = entries
    return result


def layout(result):
    """JSON with one weight a line."""
    cases = []
    for name, entries in result.items():
        lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in entries.items()]
        cases.append(f" {json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(cases) + "\n}\n"


def against_packages(result):
    """Differences from what the packages' own decoders gave, or the makers of our small cases."""
    problems = []
    for path in sorted(DATA.glob("*/*/*dequantized.safetensors")):
        name = path.relative_to(DATA).as_posix().replace("dequantized", "packed")
        expected = {key: digest(tensor.f32()) for key, tensor in files.read(path)[0].items()}
        found = {key: entry["sha256"] for key, entry in result.get(name, {}).items()}
        if expected != found:
            problems.append(f"{name}: does not decode to dequantized.safetensors")
    return problems


def main():
    result = decode_all()
    problems = against_packages(result)
    if "--write" in sys.argv[1:]:
        RESULT.write_text(layout(result))
    elif json.loads(RESULT.read_text()) != result:
        recorded = json.loads(RESULT.read_text())
        names = sorted(name for name in {*recorded, *result} if recorded.get(name) != result.get(name))
        problems += [f"{name}: differs from {RESULT.name}" for name in names]
    weights = sum(len(entries) for entries in result.values())
    for problem in problems:
        print(problem)
    print(f"decoded {weights} weights of {len(result)} checkpoints; {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
