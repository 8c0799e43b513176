"""Layouts that are recognised by name and not decoded: headers and configs, the values mean nothing."""

import json

import numpy as np

from fixtures_case import Case, f16, f32, i32
from fixtures_foreign import torchao_metadata
from tensors import Tensor


def cases(rng):
    """All of them."""
    words = i32(rng.integers(0, 1 << 32, (8, 32), dtype=np.uint32))
    groups = i32(rng.integers(0, 1 << 32, (2, 4), dtype=np.uint32))
    scale = f16(rng.uniform(0.01, 0.02, (2, 32)))
    linear = {"linear.qweight": words, "linear.qzeros": groups, "linear.scales": scale}
    order = {"linear.g_idx": Tensor("I32", (np.arange(64) // 32).astype(np.int32))}
    gptq = {"quant_method": "gptq", "bits": 5, "group_size": 32, "desc_act": False, "sym": False}
    yield Case(
        name="refused/gptq_p",
        note="split bit planes",
        packed={**linear, **order},
        config={"quantization_config": {**gptq, "checkpoint_format": "gptq_p"}},
        refused="gptq_p",
    )
    awq = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True}
    for version in ("gemv", "gemv_fast", "marlin"):
        yield Case(
            name=f"refused/awq_{version}",
            note="other shapes and orders than gemm",
            packed=linear,
            config={"quantization_config": {**awq, "version": version}},
            refused=version,
        )
    yield Case(
        name="refused/torchao_int4",
        note="its layout belongs to a kernel package",
        packed={
            "0._weight_qdata": Tensor("U8", rng.integers(0, 256, (16, 32)).astype(np.uint8)),
            "0._weight_scale": f32(rng.uniform(0.01, 0.02, (2, 16))),
            "0._weight_zero_point": f32(rng.uniform(0, 8, (2, 16))),
        },
        metadata=torchao_metadata("Int4Tensor", ["qdata", "scale", "zero_point"], block_size=[1, 32]),
        refused="Int4Tensor",
    )
    layer = {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 64}
    yield Case(
        name="refused/comfy_convrot",
        note="rotated weights, the rotation is not in the file",
        packed={
            "proj.weight": Tensor("I8", rng.integers(-127, 128, (16, 64)).astype(np.int8)),
            "proj.weight_scale": f32(0.01),
        },
        metadata={"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": {"proj": layer}})},
        refused="convrot",
    )
    for method in ("hqq", "aqlm", "vptq", "eetq", "quanto", "spqr"):
        yield Case(
            name=f"refused/{method}",
            note="known by its config alone",
            packed={"linear.codes": Tensor("U8", rng.integers(0, 256, (4, 8)).astype(np.uint8))},
            config={"quantization_config": {"quant_method": method}},
            refused=method,
        )
