"""Cases of reading: ModelOpt's low-rank and smoothed NVFP4, native FP8 variants, compressed-tensors."""

import numpy as np

from elements import E2M1_VALUES, F32, f32_from_e4m3, pack_bits, pack_nibbles, split_blocks
from fixtures_case import Case, bf16, compressed_tensors, f32, i32, scales, weight
from quantize import Given, encode
from tensors import Tensor

ROWS, COLUMNS = 6, 64


def cases(rng):
    """All of them."""
    return [*_smoothed(rng), *_native_fp8(rng), *_packed_floats(rng), *_packed_integers(rng)]


def _nvfp4(rng, rows, columns):
    """Stored tensors and the F32 values they mean, from codes and scales drawn at random."""
    codes = rng.integers(0, 16, (rows, columns)).astype(np.uint8)
    scale = rng.integers(0x20, 0x7F, (rows, columns // 16)).astype(np.uint8)
    scale_2 = F32(0.00013)
    factor = (f32_from_e4m3(scale) * scale_2).astype(F32)
    values = (split_blocks(E2M1_VALUES[codes], 16) * factor[..., None]).astype(F32).reshape(rows, columns)
    stored = {
        "linear.weight": Tensor("U8", pack_nibbles(codes)),
        "linear.weight_scale": Tensor("F8_E4M3", scale),
        "linear.weight_scale_2": f32(scale_2),
    }
    return stored, values


def _modelopt(algorithm, **more):
    quantization = {"quant_algo": algorithm, "group_size": 16, "has_zero_point": False, "pre_quant_scale": True, **more}
    return {"quantization_config": {**quantization, "quant_method": "modelopt", "ignore": []}}


def _smoothed(rng):
    stored, values = _nvfp4(rng, ROWS, COLUMNS)
    smooth = bf16(rng.uniform(0.25, 4, COLUMNS))
    yield Case(
        name="modelopt/nvfp4_awq",
        note="W ~ deq * p for each input column",
        packed={**stored, "linear.pre_quant_scale": smooth},
        dequantized={"linear.weight": f32(values * smooth.f32())},
        config=_modelopt("NVFP4_AWQ"),
    )
    # Codes, scales and low-rank parts whose sums are exact, so that no order of summation shows.
    codes = rng.integers(0, 16, (ROWS, COLUMNS)).astype(np.uint8)
    scale = np.full((ROWS, COLUMNS // 16), 0x38, np.uint8)
    down = rng.integers(-4, 5, (3, COLUMNS)).astype(F32)
    up = rng.integers(-4, 5, (ROWS, 3)).astype(F32) / 8
    yield Case(
        name="modelopt/nvfp4_svdquant",
        note="W ~ (deq + B A) * p for each input column",
        packed={
            "linear.weight": Tensor("U8", pack_nibbles(codes)),
            "linear.weight_scale": Tensor("F8_E4M3", scale),
            "linear.weight_scale_2": f32(0.5),
            "linear.pre_quant_scale": smooth,
            "linear.svdquant_lora_a": bf16(down),
            "linear.svdquant_lora_b": bf16(up),
        },
        dequantized={"linear.weight": f32((E2M1_VALUES[codes] * F32(0.5) + up @ down) * smooth.f32())},
        config=_modelopt("NVFP4_SVD", lora_rank=3),
    )


def _e4m3(rng, rows, columns):
    codes = rng.integers(0, 256, (rows, columns)).astype(np.uint8)
    codes = np.where(codes & 0x7F == 0x7F, 0x42, codes).astype(np.uint8)
    return codes, f32_from_e4m3(codes)


def _over(factors, rows, columns, tall, wide):
    return np.repeat(np.repeat(factors, tall, 0), wide, 1)[:rows, :columns]


def _native_fp8(rng):
    """Fine-grained FP8: other block sizes, other types of scale, blocks of 32 along rows."""
    for name, block, dtype in (
        ("fp8/block_bf16_scales", (128, 128), "BF16"),
        ("fp8/block_e8m0_scales", (128, 128), "F8_E8M0"),
        ("fp8/block_u8_scales", (8, 64), "U8"),
        ("fp8/block_16x32", (16, 32), "F32"),
        ("fp8/mxfp8_weight_scale_inv", (1, 32), "U8"),
    ):
        rows, columns = {"BF16": (5, 260), "F8_E8M0": (130, 6)}.get(dtype, (20, 96))
        codes, elements = _e4m3(rng, rows, columns)
        shape = (-(-rows // block[0]), -(-columns // block[1]))
        if dtype in ("U8", "F8_E8M0"):
            exponents = rng.integers(110, 130, shape).astype(np.uint8)
            scale, factors = Tensor(dtype, exponents), np.exp2(exponents.astype(np.float64) - 127).astype(F32)
        else:
            scale = bf16(scales(rng, *shape)) if dtype == "BF16" else f32(scales(rng, *shape))
            factors = scale.f32()
        values = (elements * _over(factors, rows, columns, *block)).astype(F32)
        yield Case(
            name=name,
            note=f"native FP8, blocks of {block[0]} x {block[1]}, {dtype} scales",
            packed={"linear.weight": Tensor("F8_E4M3", codes), "linear.weight_scale_inv": scale},
            dequantized={"linear.weight": f32(values)},
            config={"quantization_config": {
                "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                "weight_block_size": list(block), "modules_to_not_convert": [],
            }},
        )  # fmt: skip
    codes, elements = _e4m3(rng, ROWS, COLUMNS)
    scale = scales(rng, ROWS, 1)
    yield Case(
        name="fp8/fbgemm",
        note="one scale a row, [N, 1], and an upper bound for activations",
        packed={
            "linear.weight": Tensor("F8_E4M3", codes),
            "linear.weight_scale": f32(scale),
            "linear.input_scale_ub": f32([1200.0]),
        },
        dequantized={"linear.weight": f32(elements * scale)},
        config={"quantization_config": {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0}},
    )


def _packed_floats(rng):
    source = bf16(weight(rng, ROWS, COLUMNS))
    encoded = encode("nvfp4", source, Given())
    # The divisor is computed in the source's type.
    largest = np.abs(source.values).max()
    divisor = F32((np.asarray(2688, source.values.dtype) / largest).astype(source.values.dtype))
    codes = encoded["weight"].values
    factor = (f32_from_e4m3(encoded["weight_scale"].values) / divisor).astype(F32)
    elements = E2M1_VALUES[np.stack([codes & 15, codes >> 4], -1).reshape(ROWS, COLUMNS)]
    values = (split_blocks(elements, 16) * factor[..., None]).astype(F32).reshape(ROWS, COLUMNS)
    yield Case(
        name="ct/nvfp4",
        note="the global scale is a divisor: value * f32(scale / global)",
        packed={
            "linear.weight_packed": encoded["weight"],
            "linear.weight_scale": encoded["weight_scale"],
            "linear.weight_global_scale": f32([divisor]),
            "linear.input_global_scale": f32([955.7333]),
        },
        source={"linear.weight": source},
        dequantized={"linear.weight": f32(values)},
        config=compressed_tensors("nvfp4-pack-quantized", num_bits=4, type="float", strategy="tensor_group", group_size=16),
    )
    for strategy, shape in (("tensor", (1,)), ("channel", (20, 1)), ("block", (2, 3))):
        codes, elements = _e4m3(rng, 20, 48)
        scale = bf16(scales(rng, *shape))
        spread = _over(scale.f32(), 20, 48, 16, 16) if strategy == "block" else scale.f32()
        block = {"block_structure": [16, 16]} if strategy == "block" else {}
        yield Case(
            name=f"ct/float_{strategy}",
            note="E4M3 times its scale",
            packed={"linear.weight": Tensor("F8_E4M3", codes), "linear.weight_scale": scale},
            dequantized={"linear.weight": f32(elements * spread)},
            config=compressed_tensors("float-quantized", num_bits=8, type="float", strategy=strategy, **block),
        )


def _packed_integers(rng):
    yield from (_pack_quantized(rng, name, **how) for name, how in (
        ("ct/int4_group", {"bits": 4, "size": 32}),
        ("ct/int4_channel", {"bits": 4, "size": COLUMNS}),
        ("ct/int4_group_asymmetric", {"bits": 4, "size": 16, "zero": True}),
        ("ct/int4_act_order", {"bits": 4, "size": 16, "order": True}),
        ("ct/int8_group", {"bits": 8, "size": 32}),
        ("ct/int8_group_asymmetric_act_order", {"bits": 8, "size": 16, "zero": True, "order": True}),
        ("ct/int4_ragged", {"bits": 4, "size": 20, "columns": 60, "zero": True}),
    ))  # fmt: skip
    codes = rng.integers(-127, 128, (ROWS, COLUMNS)).astype(np.int8)
    for name, zero in (("ct/int_channel", None), ("ct/int_channel_asymmetric", rng.integers(-90, 90, (ROWS, 1)))):
        scale = bf16(scales(rng, ROWS, 1))
        shifted = codes.astype(F32) - (0 if zero is None else zero.astype(F32))
        packed = {"linear.weight": Tensor("I8", codes), "linear.weight_scale": scale}
        if zero is not None:
            packed["linear.weight_zero_point"] = Tensor("I8", zero.astype(np.int8))
        yield Case(
            name=name,
            note="(q - zero) * scale by rows",
            packed=packed,
            dequantized={"linear.weight": f32(shifted * scale.f32())},
            config=compressed_tensors("int-quantized", num_bits=8, type="int", strategy="channel", symmetric=zero is None),
        )


def _pack_quantized(rng, name, bits, size, columns=COLUMNS, zero=False, order=False):
    groups, half = columns // size, 1 << (bits - 1)
    codes = rng.integers(-half, half, (ROWS, columns))
    zeros = rng.integers(-half, half, (ROWS, groups)) if zero else np.zeros((ROWS, groups), np.int64)
    scale = bf16(scales(rng, ROWS, groups))
    group = np.arange(columns) // size
    if order:
        group = rng.permutation(group)
    packed = {
        "linear.weight_packed": i32(pack_bits(codes + half, bits)),
        "linear.weight_scale": scale,
        "linear.weight_shape": Tensor("I64", np.array([ROWS, columns])),
    }
    if zero:
        packed["linear.weight_zero_point"] = i32(np.ascontiguousarray(pack_bits((zeros + half).T, bits).T))
    if order:
        packed["linear.weight_g_idx"] = Tensor("I32", group.astype(np.int32))
    values = (codes - zeros[:, group]).astype(F32) * scale.f32()[:, group]
    strategy = {"strategy": "channel"} if groups == 1 else {"strategy": "group", "group_size": size}
    return Case(
        name=name,
        note="values and zero points are stored with half their range added, low bits first",
        packed=packed,
        dequantized={"linear.weight": f32(values)},
        config=compressed_tensors(
            "pack-quantized", num_bits=bits, type="int", symmetric=not zero, **strategy,
            **({"actorder": "group"} if order else {}),
        ),
    )  # fmt: skip
