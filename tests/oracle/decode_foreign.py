"""Decodes the layouts of other projects to F32: GPTQ, AWQ, bitsandbytes, torchao, ComfyUI, MLX."""

import json

import ml_dtypes
import numpy as np

from decode_modelopt import Unsupported
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

TORCH_TYPES = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16, "float32": F32}


def _blocks(values, factors, size):
    return (split_blocks(values, size) * factors[..., None]).astype(F32).reshape(values.shape)


# GPTQ -----------------------------------------------------------------------------------------------------------


def decode_gptq(tensors, quantization):
    """scales[g, n] * (q[k, n] - z[g, n]), g = g_idx[k]; version 1 stores z - 1."""
    if "gptq_p" in (quantization.get("checkpoint_format"), quantization.get("format")):
        raise Unsupported("gptq_p")
    bits = quantization["bits"]
    adds_one = quantization.get("checkpoint_format") != "gptq_v2"
    decoded = {}
    for name in tensors:
        module, _, part = name.rpartition(".")
        if part != "qweight":
            continue
        codes = unpack_bits(np.ascontiguousarray(tensors[name].values.T), bits).T
        zero_words = tensors[f"{module}.qzeros"].values.view(np.uint32)
        if adds_one and bits in (2, 4, 8):
            # One to every field of the whole word: a zero of 0 was stored as a borrow from its neighbour.
            ones = sum(1 << shift for shift in range(0, 32, bits))
            zeros = unpack_bits(zero_words + np.uint32(ones), bits)
        else:
            zeros = unpack_bits(zero_words, bits) + adds_one
        scales = tensors[f"{module}.scales"].f32()
        zeros = zeros[:, : scales.shape[1]]
        group = tensors[f"{module}.g_idx"].values
        rows = ((codes - zeros[group]).astype(F32) * scales[group]).astype(F32)
        decoded[f"{module}.weight"] = np.ascontiguousarray(rows.T)
    return decoded


# AWQ ------------------------------------------------------------------------------------------------------------

AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def decode_awq(tensors, quantization):
    """scales[k / g, n] * (q - z); slot i of a word holds column AWQ_ORDER[i] of its eight."""
    if quantization.get("version", "gemm") != "gemm":
        raise Unsupported(f"awq {quantization['version']}")
    decoded = {}
    for name in tensors:
        module, _, part = name.rpartition(".")
        if part != "qweight":
            continue
        codes, zeros = (_awq_columns(tensors[f"{module}.{part}"].values) for part in ("qweight", "qzeros"))
        scales = tensors[f"{module}.scales"].f32()
        size = quantization.get("group_size", -1)
        group = np.arange(codes.shape[0]) // (codes.shape[0] if size == -1 else size)
        rows = ((codes - zeros[group]).astype(F32) * scales[group]).astype(F32)
        decoded[f"{module}.weight"] = np.ascontiguousarray(rows.T)
    return decoded


def _awq_columns(words):
    slots = unpack_bits(words, 4).reshape(words.shape[0], -1, 8)
    columns = np.empty_like(slots)
    columns[..., list(AWQ_ORDER)] = slots
    return columns.reshape(words.shape[0], -1)


# bitsandbytes ---------------------------------------------------------------------------------------------------


def decode_bitsandbytes(tensors):
    """Four bits through the stored table, blocks across rows; eight bits by rows."""
    decoded = {}
    for name, tensor in tensors.items():
        if not name.endswith(".weight"):
            continue
        if f"{name[: -len('weight')]}SCB" in tensors:
            row_maximum = tensors[f"{name[: -len('weight')]}SCB"].values[:, None]
            product = (tensor.values.astype(F32) * row_maximum).astype(F32)
            decoded[name] = (product / F32(127)).astype(F32)
        elif f"{name}.absmax" in tensors:
            decoded[name] = _bitsandbytes_4bit(tensors, name)
    return decoded


def _bitsandbytes_4bit(tensors, name):
    (state_name,) = (key for key in tensors if key.startswith(f"{name}.quant_state."))
    state = json.loads(tensors[state_name].values.tobytes())
    count = int(np.prod(state["shape"]))
    codes = unpack_nibbles(tensors[name].values.reshape(-1), high_first=True)[:count]
    maxima = tensors[f"{name}.absmax"].values
    if f"{name}.nested_absmax" in tensors:
        table = tensors[f"{name}.nested_quant_map"].values
        outer = tensors[f"{name}.nested_absmax"].values
        block = np.arange(maxima.size) // state["nested_blocksize"]
        maxima = ((table[maxima] * outer[block]).astype(F32) + F32(state["nested_offset"])).astype(F32)
    values = tensors[f"{name}.quant_map"].values[codes] * maxima[np.arange(count) // state["blocksize"]]
    return values.astype(F32).reshape(state["shape"])


# torchao --------------------------------------------------------------------------------------------------------


def decode_torchao(tensors, metadata):
    """Tensor subclasses described in the header; the result is rounded to the original dtype."""
    decoded = {}
    for name in json.loads(metadata["tensor_names"]):
        description = json.loads(metadata[name])
        if description["_type"] == "Tensor":
            continue
        module, _, parameter = name.rpartition(".")
        stem = f"{module}._{parameter}_"
        parts = {part: tensors[stem + part] for part in description["_tensor_data_names"] if stem + part in tensors}
        facts = description["_data"]
        original = TORCH_TYPES[(facts.get("orig_dtype") or facts["dtype"])["_data"]]
        decoded[name] = _torchao(description["_type"], parts, facts).astype(original).astype(F32)
    return decoded


def _torchao(kind, parts, facts):
    stored, scale = parts["qdata"], parts["scale"]
    if kind == "Int8Tensor":
        zero = parts["zero_point"].f32() if "zero_point" in parts else F32(0)
        return ((stored.values.astype(F32) - zero) * scale.f32()).astype(F32)
    if kind == "Float8Tensor":
        return (f32_from_e4m3(stored.values) * scale.f32()).astype(F32)
    if kind == "MXTensor":
        is_fp8 = stored.dtype == "F8_E4M3"
        values = f32_from_e4m3(stored.values) if is_fp8 else E2M1_VALUES[unpack_nibbles(stored.values)]
        return _blocks(values, f32_from_e8m0(scale.values), facts["block_size"])
    if kind == "NVFP4Tensor":
        values = E2M1_VALUES[unpack_nibbles(stored.values)]
        grid = scale.values
        if facts["is_swizzled_scales"]:
            grid = untile_scales(grid, values.shape[0], values.shape[1] // 16)
        factors = f32_from_e4m3(grid)
        if "per_tensor_scale" in parts:
            factors = (factors * parts["per_tensor_scale"].values.reshape(())).astype(F32)
        return _blocks(values, factors, 16)
    raise Unsupported(f"torchao {kind}")


# ComfyUI --------------------------------------------------------------------------------------------------------


def comfy_layers(tensors, metadata):
    """Format by module, from the header or from `comfy_quant` tensors."""
    header = json.loads(metadata.get("_quantization_metadata", "{}")).get("layers", {})
    layers = {module: facts["format"] for module, facts in header.items()}
    for name, tensor in tensors.items():
        if name.endswith(".comfy_quant"):
            layers[name[: -len(".comfy_quant")]] = json.loads(tensor.values.tobytes())["format"]
    return layers


def decode_comfy(tensors, metadata):
    """FP8 under both names of its scale; NVFP4 with the high nibble first; MXFP8 with tiled scales."""
    layers = comfy_layers(tensors, metadata)
    decoded = {}
    for name, tensor in tensors.items():
        module, _, part = name.rpartition(".")
        scale = tensors.get(f"{module}.weight_scale") or tensors.get(f"{module}.scale_weight")
        if part != "weight" or scale is None:
            continue
        layer = layers.get(module, "float8_e4m3fn")
        if layer == "nvfp4":
            values = E2M1_VALUES[unpack_nibbles(tensor.values, high_first=True)]
            grid = untile_scales(scale.values, *_padded_grid(values.shape, 16))[:, : values.shape[1] // 16]
            outer = tensors[f"{module}.weight_scale_2"].values.reshape(())
            decoded[name] = _blocks(values, (f32_from_e4m3(grid) * outer).astype(F32), 16)
        elif layer == "mxfp8":
            values = f32_from_e4m3(tensor.values)
            grid = untile_scales(scale.values, *_padded_grid(values.shape, 32))[:, : values.shape[1] // 32]
            decoded[name] = _blocks(values, f32_from_e8m0(grid), 32)
        elif layer == "float8_e4m3fn":
            decoded[name] = (f32_from_e4m3(tensor.values) * scale.f32()).astype(F32)
        else:
            raise Unsupported(f"comfy {layer}")
    return decoded


def _padded_grid(shape, block):
    return shape[0], round_up(shape[1] // block, 4)


# MLX ------------------------------------------------------------------------------------------------------------


def decode_mlx(tensors, quantization):
    """q * scale + bias with two roundings, or E2M1/E4M3 codes times block scales."""
    decoded = {}
    for name, tensor in tensors.items():
        module, _, part = name.rpartition(".")
        if part != "weight" or tensor.dtype != "U32":
            continue
        own = quantization.get(module)
        facts = own if isinstance(own, dict) else quantization
        bits, size, mode = facts["bits"], facts["group_size"], facts.get("mode", "affine")
        codes = unpack_bits(tensor.values, bits)
        scales = tensors[f"{module}.scales"]
        if mode == "affine":
            product = (split_blocks(codes.astype(F32), size) * scales.f32()[..., None]).astype(F32)
            values = (product + tensors[f"{module}.biases"].f32()[..., None]).astype(F32)
            decoded[name] = values.reshape(codes.shape)
            continue
        elements = f32_from_e4m3(codes.astype(np.uint8)) if mode == "mxfp8" else E2M1_VALUES[codes]
        factors = f32_from_e4m3(scales.values) if mode == "nvfp4" else f32_from_e8m0(scales.values)
        if mode == "nvfp4" and f"{module}.global_scale" in tensors:
            outer = tensors[f"{module}.global_scale"].values.reshape(()) / F32(2688)
            factors = (factors * F32(outer)).astype(F32)
        decoded[name] = _blocks(elements, factors, size)
    return decoded
