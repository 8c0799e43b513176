#!/usr/bin/env python3
"""Converts a real model with the command-line tool and judges what came out with numpy; see README.md."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle"))

import bert  # noqa: E402
import quantize  # noqa: E402
import tensors as files  # noqa: E402
from decode_modelopt import decode_modelopt  # noqa: E402

# How far a similarity may move by a round trip.
ROUND_TRIPS = {"nvfp4": 0.05, "fp8-block": 0.01}
DECIBELS = 0.01
# What the model's own page says of these, with three decimals.
PUBLISHED = {"That is a happy dog": 0.695, "That is a very happy person": 0.943, "Today is a sunny day": 0.257}
LAYERS = 37
# Schemes that search try many scales for each block: numpy does so for two layers of each shape.
SEARCHING = ("nvfp4-mse", "nvfp4-four-over-six")


def convert(program, source, output, scheme):
    command = [program, "convert", source, "-o", output, "--to", scheme, "--json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
    return json.loads((output / "quantscope.manifest.json").read_text())


def noise_ratio_db(weight, decoded):
    right, found = weight.astype(np.float64), decoded.astype(np.float64)
    return 10 * np.log10((right**2).sum() / ((right - found) ** 2).sum())


def check_ratios(scheme, manifest, source):
    """The ratio of every layer, as told and as numpy finds it; answers the largest difference."""
    told = {t["name"]: t["sqnr_db"] for t in manifest["tensors"] if t["sqnr_db"] is not None}
    if len(told) != LAYERS:
        sys.exit(f"{scheme}: the manifest tells of {len(told)} layers, not of {LAYERS}")
    names = sorted(told)
    if scheme in SEARCHING:
        names = [n for n in names if ".layer.0." in n or ".layer.5.output" in n]
    worst = 0.0
    for name in names:
        weight = source[name]
        stored = quantize.encode(scheme, weight, quantize.Given())
        decoded = decode_modelopt({f"m.{part}": tensor for part, tensor in stored.items()})["m.weight"]
        difference = abs(noise_ratio_db(weight.values, decoded) - told[name])
        if not difference <= DECIBELS:
            sys.exit(f"{scheme}: {name} is told to have {told[name]} dB, numpy differs by {difference}")
        worst = max(worst, difference)
    return len(names), worst


def similarities(folder, config, tokens):
    stored, _ = files.read(folder / "model.safetensors")
    weights = {name: tensor.f32() for name, tensor in stored.items() if tensor.dtype in ("F32", "BF16", "F16")}
    encoder = bert.Encoder(weights, config)
    return np.array([encoder.embed(a) @ encoder.embed(b) for a, b in tokens])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True, help="the command-line tool")
    parser.add_argument("--model", required=True, type=Path, help="folder of the model")
    options = parser.parse_args()
    source, _ = files.read(options.model / "model.safetensors")
    config = json.loads((options.model / "config.json").read_text())
    tokenizer = bert.Tokenizer(options.model / "vocab.txt")
    pairs = [line.split("\t") for line in (HERE / "sentences.txt").read_text(encoding="utf-8").splitlines()]
    tokens = [[tokenizer(sentence) for sentence in pair] for pair in pairs]
    known = [[tokenizer("That is a happy person"), tokenizer(sentence)] for sentence in PUBLISHED]
    found = similarities(options.model, config, known)
    if not np.abs(found - list(PUBLISHED.values())).max() < 1e-3:
        sys.exit(f"the model as it is gives {found}, where {PUBLISHED} is published")
    before = similarities(options.model, config, tokens)
    print(f"{len(pairs)} pairs, similarities from {before.min():.3f} to {before.max():.3f}")
    if len(pairs) != 20:
        sys.exit(f"sentences.txt has {len(pairs)} pairs")
    with tempfile.TemporaryDirectory() as folder:
        for scheme in quantize.SCHEMES:
            start, out = time.monotonic(), Path(folder) / scheme
            manifest = convert(options.binary, options.model, out, scheme)
            layers, worst = check_ratios(scheme, manifest, source)
            line = f"{scheme:20} {layers} layers agree within {worst:.1e} dB"
            if scheme in ROUND_TRIPS:
                plain = Path(folder) / f"{scheme}-f32"
                convert(options.binary, out, plain, "f32")
                moved = np.abs(similarities(plain, config, tokens) - before).max()
                line += f", similarities move by {moved:.4f} at most"
                if not 0 < moved <= ROUND_TRIPS[scheme]:
                    sys.exit(f"{line}, expected no more than {ROUND_TRIPS[scheme]}")
            print(f"{line} ({time.monotonic() - start:.1f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
