"""Decodes what ModelOpt, fine-grained FP8 files, compressed-tensors and gpt-oss store, to F32.

Layers are told by the dtypes and shapes of their tensors, as a reader without the producer must.
"""

import numpy as np

from elements import (
    E2M1_VALUES,
    F32,
    f32_from_e4m3,
    f32_from_e8m0,
    round_up,
    split_blocks,
    unpack_bits,
    unpack_nibbles,
    untile_scales,
)


class Unsupported(Exception):
    """What is recognised, but not decoded."""


def decode_modelopt(tensors, block_shape=(128, 128)):
    """Every quantized weight by its name; stacks [E, in, out] of experts by the name of their parameter."""
    decoded = {}
    for name, weight in tensors.items():
        if name.endswith(".weight"):
            prefix = name[: -len("weight")]
        elif weight.values.ndim == 3 and f"{name}_weight_scale" in tensors:
            prefix = f"{name}_"
        else:
            continue
        companions = {
            part: tensors[prefix + part]
            for part in (
                "weight_scale",
                "weight_scale_2",
                "weight_scale_inv",
                "pre_quant_scale",
                "svdquant_lora_a",
                "svdquant_lora_b",
            )
            if prefix + part in tensors
        }
        scale = companions.get("weight_scale") or companions.get("weight_scale_inv")
        if scale is None or weight.dtype not in ("U8", "I8", "F8_E4M3"):
            continue
        values = _weight(weight, scale, companions.get("weight_scale_2"), block_shape)
        decoded[name] = _undo_smoothing(values, companions)
    return decoded


def _undo_smoothing(values, companions):
    """W ~ (deq + B A) * p for each input column: what is packed is W / p, less its low-rank part."""
    if "svdquant_lora_a" in companions:
        down = companions["svdquant_lora_a"].f32().astype(np.float64)
        up = companions["svdquant_lora_b"].f32().astype(np.float64)
        values = (values + (up @ down).astype(F32)).astype(F32)
    if "pre_quant_scale" in companions:
        values = (values * companions["pre_quant_scale"].f32()).astype(F32)
    return values


def _weight(weight, scale, scale_2, block_shape):
    stored = weight.values
    kind = (weight.dtype, scale.dtype)
    if kind == ("U8", "F8_E4M3"):
        return _nvfp4(stored, scale.values, scale_2.values.reshape(()))
    if kind == ("U8", "U8"):
        return _blocks(E2M1_VALUES[unpack_nibbles(stored)], f32_from_e8m0(scale.values), 32)
    if kind == ("U8", "F32"):
        return _int4_by_output_pairs(stored, scale.values)
    if kind in (("F8_E4M3", "U8"), ("F8_E4M3", "F8_E8M0")):
        factors, values = f32_from_e8m0(scale.values), f32_from_e4m3(stored)
        if factors.shape == (stored.shape[0], stored.shape[1] // 32) and stored.shape[1] % 32 == 0:
            return _blocks(values, factors, 32)
        return values * _over_tiles(factors, stored.shape, block_shape)
    if weight.dtype == "I8":
        return (stored.astype(F32) * scale.f32().reshape(-1, 1)).astype(F32)
    return _fp8(f32_from_e4m3(stored), scale.f32(), block_shape)


def _blocks(values, factors, size):
    return (split_blocks(values, size) * factors[..., None]).astype(F32).reshape(values.shape)


def _nvfp4(packed, scale, scale_2):
    """value * f32(scale * scale_2); blocks of 16, or 32 where there are half as many scales."""
    if packed.ndim == 3:  # [E, in / 2, out]: blocks run along the middle axis
        experts = [_nvfp4(*each, scale_2) for each in zip(packed.swapaxes(1, 2), scale.swapaxes(1, 2))]
        return np.ascontiguousarray(np.stack(experts).swapaxes(1, 2))
    values = E2M1_VALUES[unpack_nibbles(packed)]
    plain, size = _plain_scales(packed.shape, scale)
    factors = (f32_from_e4m3(plain) * F32(scale_2)).astype(F32)
    return _blocks(values, factors, size)


def _plain_scales(packed_shape, scale):
    """Row-major scales of the packed weight, out of padding and tiles; and the block size."""
    rows, count = packed_shape[0], packed_shape[1] * 2
    if scale.shape[0] == rows and scale.shape[1] * 32 == count:
        return scale, 32
    columns = count // 16
    if scale.shape[0] == rows and scale.shape[1] in (columns, round_up(columns, 16)):
        return scale[:, :columns], 16
    tall, wide = scale.shape
    if tall != round_up(rows, 128) or wide % 4 or wide < columns:
        raise Unsupported(f"scales {scale.shape} of a packed weight {packed_shape}")
    return untile_scales(scale, tall, wide)[:rows, :columns], 16


def _int4_by_output_pairs(packed, scale):
    """Rows 2i and 2i + 1 share a byte, the even one low; two's complement; groups along the input."""
    rows = np.stack([packed & 15, packed >> 4], 1).reshape(-1, packed.shape[1]).astype(np.int8)
    signed = np.where(rows > 7, rows - 16, rows).astype(F32)
    return _blocks(signed, scale, packed.shape[1] // scale.shape[1])


def _over_tiles(factors, shape, block_shape):
    tall, wide = block_shape
    return factors.repeat(tall, 0).repeat(wide, 1)[: shape[0], : shape[1]]


def _fp8(values, scale, block_shape):
    if scale.ndim == 0 or scale.size == 1:
        factors = scale.reshape(())
    elif values.ndim == 3:
        factors = scale.reshape(-1, 1, 1)
    elif scale.ndim == 4:
        factors = _over_tiles(scale[:, 0, :, 0], values.shape, block_shape)
    elif scale.shape in ((values.shape[0],), (values.shape[0], 1)) and scale.shape != (1, 1):
        factors = scale.reshape(-1, 1)
    else:
        factors = _over_tiles(scale, values.shape, block_shape)
    return (values * factors).astype(F32)


def decode_gpt_oss(tensors):
    """`_blocks` [E, out, K / 32, 16] with `_scales` [E, out, K / 32], as the parameter [E, K, out]."""
    decoded = {}
    for name, blocks in tensors.items():
        if not name.endswith("_blocks"):
            continue
        parameter = name[: -len("_blocks")]
        factors = f32_from_e8m0(tensors[f"{parameter}_scales"].values)
        values = E2M1_VALUES[unpack_nibbles(blocks.values)] * factors[..., None]
        experts, out = blocks.values.shape[:2]
        rows = values.astype(F32).reshape(experts, out, -1)
        decoded[parameter] = np.ascontiguousarray(np.swapaxes(rows, 1, 2))
    return decoded


def decode_compressed_tensors(tensors, quantization):
    """The layouts of compressed-tensors, told by the format of the config and by each layer's tensors."""
    weights = next(iter(quantization["config_groups"].values()))["weights"]
    decoded = {}
    for name, tensor in tensors.items():
        module, _, part = name.rpartition(".")
        if f"{module}.weight_scale" not in tensors:
            continue
        scale = tensors[f"{module}.weight_scale"]
        if part == "weight_packed" and tensor.dtype == "U8":
            divisor = tensors[f"{module}.weight_global_scale"].values.reshape(())
            factors = (f32_from_e4m3(scale.values) / divisor).astype(F32)
            values = _blocks(E2M1_VALUES[unpack_nibbles(tensor.values)], factors, 16)
        elif part == "weight_packed":
            values = _pack_quantized(tensors, module, weights["num_bits"])
        elif part == "weight" and tensor.dtype == "I8":
            zero = tensors.get(f"{module}.weight_zero_point")
            shifted = tensor.values.astype(F32) - (zero.f32() if zero else F32(0))
            values = (shifted * scale.f32()).astype(F32)
        elif part == "weight" and tensor.dtype == "F8_E4M3":
            block = weights.get("block_structure") or (128, 128)
            values = _fp8(f32_from_e4m3(tensor.values), scale.f32(), block)
        else:
            continue
        decoded[f"{module}.weight"] = values
    return decoded


def _pack_quantized(tensors, module, bits):
    """(q - zero) * scale; values and zero points are stored with 2^(bits - 1) added."""
    rows, columns = tensors[f"{module}.weight_shape"].values
    offset = 1 << (bits - 1)
    stored = unpack_bits(tensors[f"{module}.weight_packed"].values, bits)[:, :columns] - offset
    scale = tensors[f"{module}.weight_scale"].f32()
    groups = scale.shape[1]
    group = np.arange(columns) // (columns // groups)
    if f"{module}.weight_g_idx" in tensors:
        group = tensors[f"{module}.weight_g_idx"].values
    if f"{module}.weight_zero_point" in tensors:
        packed = tensors[f"{module}.weight_zero_point"].values
        zero = unpack_bits(np.ascontiguousarray(packed.T), bits).T[:rows] - offset
        stored = stored - zero[:, group]
    return (stored.astype(F32) * scale[:, group]).astype(F32)
