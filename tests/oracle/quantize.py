"""Every encoder of the scheme table, in numpy: one weight in, its stored tensors out."""

from dataclasses import dataclass

import ml_dtypes
import numpy as np

import sweep
from elements import (
    E2M1_VALUES,
    F32,
    e2m1_nearest_even,
    e2m1_ties_down,
    e4m3_from_f32,
    f32_from_e4m3,
    mx_exponent,
    pack_nibbles,
    round_up,
    split_blocks,
)
from tensors import Tensor

STATIC = ("nvfp4-static", "nvfp4-mse", "nvfp4-four-over-six")
NVFP4 = ("nvfp4", "w4a16-nvfp4", *STATIC)
SCHEMES = (
    *NVFP4,
    "w4a8-nvfp4-fp8",
    "fp8",
    "fp8-channel",
    "fp8-block",
    "fp8-block-wo",
    "mxfp4",
    "w4a8-mxfp4-fp8",
    "mxfp8",
    "int8",
    "int8-wo",
    "int4",
    "w4a8-int4-fp8",
)
EXPORT_TYPES = {"bf16": np.dtype(ml_dtypes.bfloat16), "f16": np.dtype(np.float16), "f32": np.dtype(F32)}
# What an activation maximum is divided by, and what stands in for one of zero or NaN.
INPUT_MAXIMUM = {
    **dict.fromkeys(NVFP4, (2688, 6)),
    **dict.fromkeys(("w4a8-nvfp4-fp8", "fp8", "fp8-block", "w4a8-mxfp4-fp8", "w4a8-int4-fp8"), (448, 448)),
    "int8": (127, 127),
}
del INPUT_MAXIMUM["w4a16-nvfp4"]


class Refused(Exception):
    """A weight that the scheme cannot hold."""


@dataclass(frozen=True)
class Given:
    """What a layer's scales depend on beside its weight."""

    # Largest magnitude of the layer's fused group; none: of the weight.
    weight_amax: float | None = None
    # Calibrated maximum of the activation; none: not calibrated, so no input_scale is written.
    input_amax: float | None = None
    # Calibrated block maxima (in block order) and their global maximum.
    block_amax: np.ndarray | None = None
    global_amax: float | None = None
    group_size: int = 128
    # Type that codes are taken from; scales always come from the source's own.
    export: str | None = None
    # How per-tensor FP8 divides: by the scale, or by the scale rounded to the weight's type.
    fp8_rounding: str = "cpu"


def encode(scheme, weight, given=Given()):
    """The stored tensors of a linear weight [N, K] or a convolution bank [O, C, kt, kh, kw], by suffix."""
    if weight.values.ndim == 5:
        weight = _flattened(weight)
    if scheme == "nvfp4" and given.block_amax is not None:
        scheme = "nvfp4-static"
    source = weight.f32()
    cast = weight.values.astype(EXPORT_TYPES[given.export]) if given.export else weight.values
    with np.errstate(all="ignore"):
        stored = _ENCODERS[scheme](scheme, weight, source, cast, given)
    if given.input_amax is not None and scheme in INPUT_MAXIMUM:
        stored["input_scale"] = scalar(input_scale(scheme, given.input_amax))
    return stored


def input_scale(scheme, amax):
    """The maximum of an activation over what its type and scales can hold."""
    divisor, fallback = INPUT_MAXIMUM[scheme]
    amax = F32(amax)
    return F32((amax if amax > 0 else F32(fallback)) / F32(divisor))


def scalar(value):
    """A 0-d F32 tensor."""
    return Tensor("F32", np.asarray(value, F32).reshape(()))


def _flattened(weight):
    flat = weight.values.reshape(weight.values.shape[0], -1)
    missing = -flat.shape[1] % 16
    return Tensor(weight.dtype, np.pad(flat, ((0, 0), (0, missing))))


def _largest(source, given):
    return F32(np.abs(source).max() if given.weight_amax is None else given.weight_amax)


def _block_maxima(source, size):
    if source.shape[-1] % size:
        raise Refused(f"{source.shape[-1]} columns are not a multiple of {size}")
    return np.abs(split_blocks(source, size)).max(-1)


def _divided(values, scales, size):
    quotient = split_blocks(values.astype(F32), size) / scales[..., None]
    return quotient.astype(F32).reshape(values.shape)


# NVFP4 ----------------------------------------------------------------------------------------------------------


def _clamped_scale_bytes(scale):
    return e4m3_from_f32(np.clip(scale, F32(2.0**-9), F32(448)))


def _nvfp4_stored(scale_bytes, scale_2, cast, size):
    factor = (f32_from_e4m3(scale_bytes) * scale_2).astype(F32)
    codes = e2m1_nearest_even(_divided(cast, factor, size))
    return {
        "weight": Tensor("U8", pack_nibbles(codes)),
        "weight_scale": Tensor("F8_E4M3", scale_bytes),
        "weight_scale_2": scalar(scale_2),
    }


def _nvfp4_dynamic(scheme, weight, source, cast, given):
    size, divisor = (32, 448) if scheme == "w4a8-nvfp4-fp8" else (16, 2688)
    maxima = _block_maxima(source, size)
    scale_2 = F32(_largest(source, given) / F32(divisor))
    scale = (maxima / F32(F32(6) * scale_2)).astype(F32)
    scale = np.where(scale == 0, F32(1), scale)
    return _nvfp4_stored(_clamped_scale_bytes(scale), scale_2, cast, size)


def _nvfp4_static(scheme, weight, source, cast, given):
    maxima = _block_maxima(source, 16)
    largest = F32(given.global_amax) if given.global_amax is not None else _largest(source, given)
    reach = F32(448)
    if scheme == "nvfp4-four-over-six":
        reach = F32(256)
    if scheme == "nvfp4-mse":
        maxima = sweep.best_maxima(np.abs(split_blocks(source, 16)), largest)
    elif given.block_amax is not None:
        maxima = np.asarray(given.block_amax, F32).reshape(maxima.shape)
    elif scheme == "nvfp4-four-over-six":
        maxima = sweep.four_over_six(np.abs(split_blocks(source, 16)), maxima, largest)
    scale_2 = F32(largest / F32(F32(6) * reach))
    scale = (maxima / F32(6)).astype(F32)
    scale = np.where(scale == 0, F32(1), scale)
    scale = ((scale * reach).astype(F32) / F32(largest / F32(6))).astype(F32)
    return _nvfp4_stored(_clamped_scale_bytes(scale), scale_2, cast, 16)


# FP8 ------------------------------------------------------------------------------------------------------------


def _nonzero(maxima, stand_in, dtype):
    """Maxima that scales are taken from: `stand_in` for zero, then at least the type's smallest normal."""
    smallest = F32(2.0**-14) if dtype == "F16" else F32(2.0**-126)
    return np.maximum(np.where(maxima == 0, F32(stand_in), maxima), smallest).astype(F32)


def _fp8_tensor(scheme, weight, source, cast, given):
    scale = F32(_largest(source, given) / F32(448))
    divisor = scale
    if given.fp8_rounding == "cuda":
        divisor = F32(np.asarray(scale).astype(cast.dtype))
    quotient = (cast.astype(F32) / divisor).astype(F32).astype(cast.dtype)
    return {"weight": Tensor("F8_E4M3", e4m3_from_f32(quotient.astype(F32))), "weight_scale": scalar(scale)}


def _fp8_channel(scheme, weight, source, cast, given):
    scale = (_nonzero(np.abs(source).max(1), 448, weight.dtype) / F32(448)).astype(F32)
    codes = e4m3_from_f32((cast.astype(F32) / scale[:, None]).astype(F32))
    return {"weight": Tensor("F8_E4M3", codes), "weight_scale": Tensor("F32", scale)}


def _fp8_block(scheme, weight, source, cast, given):
    rows, columns = source.shape
    tall, wide = round_up(rows, 128), round_up(columns, 128)
    padded = np.pad(np.abs(source), ((0, tall - rows), (0, wide - columns)))
    maxima = padded.reshape(tall // 128, 128, wide // 128, 128).max((1, 3))
    if maxima.size == 1 and given.weight_amax is not None:
        maxima = np.full((1, 1), given.weight_amax, F32)
    scale = (_nonzero(maxima, 448, weight.dtype) / F32(448)).astype(F32)
    spread = scale.repeat(128, 0).repeat(128, 1)[:rows, :columns]
    codes = e4m3_from_f32((cast.astype(F32) / spread).astype(F32))
    if scale.size == 1:
        scale = scale.reshape(())
    elif scheme == "fp8-block-wo":
        scale = scale[:, None, :, None]
    name = "weight_scale" if scheme == "fp8-block-wo" else "weight_scale_inv"
    return {"weight": Tensor("F8_E4M3", codes), name: Tensor("F32", scale)}


# MX -------------------------------------------------------------------------------------------------------------


def _mxfp4(scheme, weight, source, cast, given):
    exponent = np.maximum(mx_exponent(_block_maxima(source, 32), 6), -127)
    power = np.exp2(exponent.astype(np.float64)).astype(F32)
    codes = e2m1_ties_down(_divided(cast, power, 32))
    return {
        "weight": Tensor("U8", pack_nibbles(codes)),
        "weight_scale": Tensor("U8", (exponent + 127).astype(np.uint8)),
    }


def _mxfp8(scheme, weight, source, cast, given):
    exponent = np.clip(mx_exponent(_block_maxima(source, 32), 448), -127, 127)
    power = np.exp2(-exponent.astype(np.float64)).astype(F32)
    scaled = (split_blocks(cast.astype(F32), 32) * power[..., None]).astype(F32)
    codes = e4m3_from_f32(np.clip(scaled, F32(-448), F32(448))).reshape(source.shape)
    return {
        "weight": Tensor("F8_E4M3", codes),
        "weight_scale": Tensor("U8", (exponent + 127).astype(np.uint8)),
    }


# Integers -------------------------------------------------------------------------------------------------------


def _int8(scheme, weight, source, cast, given):
    scale = (_nonzero(np.abs(source).max(1), 127, weight.dtype) / F32(127)).astype(F32)
    codes = np.clip(np.rint((cast.astype(F32) / scale[:, None]).astype(F32)), -128, 127)
    return {"weight": Tensor("I8", codes.astype(np.int8)), "weight_scale": Tensor("F32", scale)}


def _int4(scheme, weight, source, cast, given):
    if source.shape[0] % 2:
        raise Refused(f"{source.shape[0]} rows are odd")
    # Block maxima of this format are held in F32 whatever the source, hence its smallest normal.
    maxima = _nonzero(_block_maxima(source, given.group_size), 7, "F32")
    scale = (maxima / F32(7)).astype(F32)
    codes = np.clip(np.rint(_divided(cast, scale, given.group_size)), -8, 7)
    nibbles = codes.astype(np.int8).view(np.uint8) & 15
    stored = {
        "weight": Tensor("U8", (nibbles[0::2] | (nibbles[1::2] << 4)).astype(np.uint8)),
        "weight_scale": Tensor("F32", scale),
    }
    if scheme == "w4a8-int4-fp8":
        stored["weight_scale_2"] = scalar(F32(_largest(source, given) / F32(448)))
    return stored


_ENCODERS = {
    **dict.fromkeys(("nvfp4", "w4a16-nvfp4", "w4a8-nvfp4-fp8"), _nvfp4_dynamic),
    **dict.fromkeys(STATIC, _nvfp4_static),
    "fp8": _fp8_tensor,
    "fp8-channel": _fp8_channel,
    **dict.fromkeys(("fp8-block", "fp8-block-wo"), _fp8_block),
    **dict.fromkeys(("mxfp4", "w4a8-mxfp4-fp8"), _mxfp4),
    "mxfp8": _mxfp8,
    **dict.fromkeys(("int8", "int8-wo"), _int8),
    **dict.fromkeys(("int4", "w4a8-int4-fp8"), _int4),
}


# Stacks of experts ----------------------------------------------------------------------------------------------


def encode_stack(scheme, weight, given=Given()):
    """The stored tensors of a parameter [E, in, out] that holds all experts, by suffix (`weight` for itself).

    NVFP4 packs along `in`, with one global scale for all experts; FP8 has a scale for each expert.
    """
    experts, _, out = weight.values.shape
    if scheme == "fp8":
        return _fp8_stack(weight, given)
    if scheme not in NVFP4:
        raise Refused(f"{scheme} has no layout for stacks of experts")
    rows = np.ascontiguousarray(weight.values.swapaxes(1, 2)).reshape(experts * out, -1)
    stored = encode(scheme, Tensor(weight.dtype, rows), given)
    for part in ("weight", "weight_scale"):
        turned = stored[part].values.reshape(experts, out, -1).swapaxes(1, 2)
        stored[part] = Tensor(stored[part].dtype, np.ascontiguousarray(turned))
    return stored


def _fp8_stack(weight, given):
    source = weight.f32()
    cast = weight.values.astype(EXPORT_TYPES[given.export]) if given.export else weight.values
    scale = (np.abs(source).max((1, 2)) / F32(448)).astype(F32)
    with np.errstate(all="ignore"):
        codes = e4m3_from_f32((cast.astype(F32) / scale[:, None, None]).astype(F32))
    stored = {"weight": Tensor("F8_E4M3", codes), "weight_scale": Tensor("F32", scale)}
    if given.input_amax is not None:
        stored["input_scale"] = scalar(input_scale("fp8", given.input_amax))
    return stored


def nvfp4_of_mxfp4(codes, scale_bytes):
    """NVFP4 of MXFP4: codes [N, K] and E8M0 bytes [N, K / 32], under one global scale.

    Each block of 32 becomes two of 16 under the same power of two, so that no value changes as long as that power is
    within 2^17 of the tensor's largest; a block below that is encoded by its own largest value.
    """
    power = scale_bytes.astype(np.int64) - 127
    least = int(power.max()) - 8
    spread = np.exp2(np.repeat(power, 32, axis=-1).astype(np.float64))
    values = (E2M1_VALUES[codes] * spread).astype(F32)
    own = np.abs(split_blocks(values, 16)).max(-1)
    kept = (F32(6) * np.exp2(np.repeat(power, 2, axis=-1).astype(np.float64))).astype(F32)
    in_reach = np.repeat((power - least >= -9) & (power - least <= 8), 2, axis=-1)
    given = Given(block_amax=np.where(in_reach, kept, own), global_amax=F32(6 * 448 * 2.0**least))
    return encode("nvfp4-static", Tensor("F32", values), given)
