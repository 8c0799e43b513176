"""Contestants in Python: what the field uses to open safetensors files and to pack weights.

Each does its work once, prints `ready`, and then for every line `run` prints the seconds of the work, a check of
the result (the first eight bytes of the SHA-256 of codes and scales, or a count), and the seconds of the processor.
"""

import hashlib
import sys
import time
from pathlib import Path

from safetensors import safe_open


def opened(path):
    """How many tensors a file has."""
    with safe_open(path, framework="numpy") as file:
        return len(file.keys())


def safe_open_file(path):
    """One file."""
    return lambda: opened(path), lambda count: f"{count:016x}"


def safe_open_folder(folder):
    """Every shard of a folder."""
    files = sorted(Path(folder).glob("*.safetensors"))
    return lambda: sum(opened(file) for file in files), lambda count: f"{count:016x}"


def matrix(path, rows, cols):
    """The first rows of a matrix of BF16."""
    import torch

    count = rows * cols
    values = torch.frombuffer(bytearray(Path(path).read_bytes()[: 2 * count]), dtype=torch.bfloat16)
    return values.reshape(rows, cols)


def check(codes, scales):
    """The check of a packed matrix."""
    import torch

    both = codes.numpy().tobytes() + scales.view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(both).hexdigest()[:16]


def modelopt(path, rows, cols):
    """ModelOpt's own packing, as its export calls it."""
    from modelopt.torch.quantization.qtensor import NVFP4QTensor

    weight = matrix(path, int(rows), int(cols))

    def run():
        packed, scales, _ = NVFP4QTensor.quantize(weight, 16)
        return packed._quantized_data, scales

    return run, lambda result: check(*result)


def torch_alone(path, rows, cols):
    """The same formulas as a person writes them with torch operators, without ModelOpt."""
    import torch

    weight = matrix(path, int(rows), int(cols))
    bounds = torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0])

    def run():
        blocks = weight.reshape(weight.shape[0], -1, 16)
        second = weight.abs().amax().float() / 2688.0
        scales = blocks.abs().amax(-1).float() / (6.0 * second)
        scales = torch.where(scales == 0, 1.0, scales).clamp(2.0**-9, 448.0).to(torch.float8_e4m3fn)
        ratios = blocks.float() / (scales.float() * second)[..., None]
        magnitudes = ratios.abs()
        codes = torch.bucketize(magnitudes, bounds).to(torch.uint8)
        for tie in (0.75, 1.75, 3.5):
            codes += (magnitudes == tie).to(torch.uint8)
        codes |= (ratios < 0).to(torch.uint8) << 3
        codes = codes.reshape(weight.shape[0], -1, 2)
        return codes[..., 0] | codes[..., 1] << 4, scales

    return run, lambda result: check(*result)


CONTESTANTS = {
    "safe-open": safe_open_file,
    "safe-open-folder": safe_open_folder,
    "modelopt": modelopt,
    "torch": torch_alone,
}


def main():
    run, describe = CONTESTANTS[sys.argv[1]](*sys.argv[2:])
    run()
    print("ready", flush=True)
    for _ in sys.stdin:
        begun, spent = time.perf_counter(), time.process_time()
        result = run()
        seconds, processor = time.perf_counter() - begun, time.process_time() - spent
        print(f"{seconds:.9f} {describe(result)} {processor:.9f}", flush=True)


main()
