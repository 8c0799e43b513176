#!/usr/bin/env python3
"""What trying schemes on a layer must tell: `tests/data/preview.json`.

Every figure is computed here from the weight and from what numpy makes of it: encoded by `quantize.py`, decoded by
`decode_modelopt.py`, summed in float64.

    preview.py           compares with what preview.json says
    preview.py --write   writes it
"""

import json
import sys
from pathlib import Path

import numpy as np

import quantize
import tensors as files
from decode_modelopt import decode_modelopt

DATA = Path(__file__).resolve().parent.parent / "data"
RESULT = DATA / "preview.json"
SCHEMES = (
    "nvfp4",
    "nvfp4-mse",
    "nvfp4-four-over-six",
    "w4a8-nvfp4-fp8",
    "fp8",
    "fp8-channel",
    "fp8-block",
    "mxfp4",
    "mxfp8",
    "int8-wo",
    "int4",
)
# Source, layer, the layers whose maxima it shares, schemes.
LAYERS = (
    ("golden/_src/llama_hidden128", "model.layers.0.self_attn.k_proj", ("q_proj", "v_proj"), SCHEMES),
    ("golden/_src/llama_hidden136", "model.layers.0.mlp.down_proj", (), ("fp8-block", "fp8-channel")),
    ("golden/_src/wan_vae", "decoder.conv_out", (), ("nvfp4",)),
)
BINS = 61
MAP = (32, 64)
# Of these alone the picture and the histogram are kept.
DRAWN = "decoder.conv_out"


def extremes(scheme, stored):
    """The least and the largest value that codes could stand for under the stored scales."""
    bottom_byte, top_byte = {"U8": (0xFF, 0x77), "I8": (0x80, 0x7F), "F8_E4M3": (0xFE, 0x7E)}[stored["weight"].dtype]
    if scheme == "int4":
        bottom_byte = 0x88
    ends = []
    for byte in (bottom_byte, top_byte):
        weight = stored["weight"]
        values = np.full(weight.values.shape, byte, np.uint8).view(weight.values.dtype)
        ends.append(decoded({**stored, "weight": files.Tensor(weight.dtype, values)}))
    return ends


def decoded(stored):
    """The values of stored tensors."""
    return decode_modelopt({f"x.{leaf}": tensor for leaf, tensor in stored.items()})["x.weight"]


def cells(squares):
    """Root mean squares over the cells of a picture."""
    rows, cols = squares.shape
    down, across = min(rows, MAP[0]), min(cols, MAP[1])
    picture = []
    for row in range(down):
        # Row i of the matrix lies in row i * down // rows of the picture.
        mine = [i for i in range(rows) if i * down // rows == row]
        for col in range(across):
            part = squares[mine][:, cols * col // across : cols * (col + 1) // across]
            picture.append(float(f"{np.sqrt(part.mean()):.6g}"))
    return picture


def histogram(values, extreme):
    """Counts in equal steps."""
    steps = ((values.astype(np.float64) / extreme + 1) / 2 * BINS).astype(np.int64)
    return np.bincount(np.clip(steps, 0, BINS - 1).reshape(-1), minlength=BINS).tolist()


def figures(scheme, weight, amax, drawn):
    """What one scheme makes of a layer."""
    stored = quantize.encode(scheme, weight, quantize.Given(weight_amax=amax))
    source = weight.f32().reshape(weight.values.shape[0], -1)
    cols = source.shape[1]
    values = decoded(stored)[:, :cols]
    bottom, top = (end[:, :cols].astype(np.float64) for end in extremes(scheme, stored))
    exact = source.astype(np.float64)
    errors = exact - values.astype(np.float64)
    slack = 1 + 2.0**-20
    found = {
        "bytes": sum(t.values.nbytes for t in stored.values()),
        "sqnr_db": float(10 * np.log10((exact**2).sum() / (errors**2).sum())),
        "max_abs": float(np.abs(errors).max()),
        "mean_abs": float(np.abs(errors).mean()),
        "squared_error": float((errors**2).sum()),
        "saturated": int(((exact > top * slack) | (-exact > -bottom * slack)).sum()),
        "zeroed": int(((source != 0) & (values == 0)).sum()),
    }
    if drawn:
        found["bins"] = histogram(values, float(np.abs(exact).max()))
        found["map"] = cells(errors**2)
    return found


def result():
    """All entries."""
    entries = []
    for place, layer, group, schemes in LAYERS:
        tensors = files.read_folder(DATA / place)[0]
        weight = tensors[f"{layer}.weight"]
        parent = layer.rpartition(".")[0]
        maxima = [np.abs(tensors[f"{parent}.{name}.weight"].f32()).max() for name in group]
        own = np.abs(weight.f32()).max()
        # Per-tensor FP8 shares within an expert alone.
        amax = {s: own if s == "fp8" else max([own, *maxima]) for s in schemes}
        entries.append(
            {
                "source": place,
                "layer": layer,
                "bins": histogram(weight.f32(), float(np.abs(weight.f32()).max())),
                "schemes": {s: figures(s, weight, amax[s], layer == DRAWN) for s in schemes},
            }
        )
    return entries


def main(arguments):
    text = json.dumps(result(), separators=(",", ":")) + "\n"
    if arguments == ["--write"]:
        RESULT.write_text(text)
        return 0
    same = json.loads(text) == json.loads(RESULT.read_text())
    print(f"{RESULT.name}: {'the same' if same else 'differs'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
