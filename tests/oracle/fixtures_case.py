"""What a made case is, and the random weights that several kinds of cases start from."""

from dataclasses import dataclass, field

import ml_dtypes
import numpy as np

from elements import F32
from tensors import Tensor


@dataclass
class Case:
    """One case of `tests/data/made`; the name is family/case."""

    name: str
    note: str
    packed: dict = field(default_factory=dict)
    config: dict = field(default_factory=dict)
    metadata: dict | None = None
    source: dict = field(default_factory=dict)
    dequantized: dict = field(default_factory=dict)
    # What to ask of a conversion of `source` so that `packed` comes out.
    convert: dict | None = None
    # The name of the variant that a reader must give when it refuses.
    refused: str | None = None


def bf16(values):
    return Tensor("BF16", np.asarray(values, F32).astype(ml_dtypes.bfloat16))


def f16(values):
    return Tensor("F16", np.asarray(values, F32).astype(np.float16))


def f32(values):
    return Tensor("F32", np.asarray(values, F32))


def i32(values):
    return Tensor("I32", np.ascontiguousarray(values).view(np.int32))


def weight(rng, *shape):
    """A weight as trained ones look: narrow, with a few outliers and a block of zeros."""
    values = rng.standard_normal(shape).astype(F32) * F32(0.02)
    flat = values.reshape(-1)
    flat[rng.integers(0, flat.size, max(flat.size // 200, 1))] *= F32(12)
    flat[:32] = 0
    flat[1] = -0.0
    return values


def scales(rng, *shape):
    """Positive multipliers of no special form."""
    return np.exp2(rng.uniform(-8, -4, shape)).astype(F32)


def compressed_tensors(layout, **weights):
    """A config of compressed-tensors with one group."""
    group = {
        "targets": ["Linear"],
        "weights": {"dynamic": False, "symmetric": True, "actorder": None, "observer": "minmax", **weights},
        "input_activations": None,
        "output_activations": None,
    }
    return {"quantization_config": {
        "quant_method": "compressed-tensors", "format": layout, "quantization_status": "compressed",
        "config_groups": {"group_0": group}, "ignore": ["lm_head"], "kv_cache_scheme": None,
    }}  # fmt: skip
