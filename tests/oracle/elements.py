"""Element types and their codes: E2M1, E4M3, E8M0, nibbles, bit streams, tiled scales.

Written from the formats' definitions and on top of `ml_dtypes`, independently of the Rust code. Arithmetic is
numpy's IEEE binary32: one operation, one rounding to nearest even.
"""

import ml_dtypes
import numpy as np

F32 = np.float32
E2M1_MAGNITUDES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], F32)
# Values of the 16 codes; code 8 is minus zero.
E2M1_VALUES = np.concatenate([E2M1_MAGNITUDES, -E2M1_MAGNITUDES]).astype(F32)
E2M1_BOUNDARIES = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5], F32)
E4M3_MAX = F32(448)
E4M3_MIN_SUBNORMAL = F32(2.0**-9)


def e2m1_nearest_even(ratio):
    """Codes under NVFP4's rule: nearest, ties to the even code, saturating; -0 gives 0, NaN gives 7."""
    ratio = np.asarray(ratio, F32)
    bounded = np.minimum(np.abs(ratio), F32(6))
    bounded = np.where(np.isnan(ratio), F32(6), bounded).astype(F32)
    magnitude = bounded.astype(ml_dtypes.float4_e2m1fn).view(np.uint8) & 7
    return (magnitude | np.where(ratio < 0, 8, 0)).astype(np.uint8)


def e2m1_ties_down(ratio):
    """Codes under the OCP MX rule: a tie goes towards zero; zero, -0 and NaN give code 8."""
    ratio = np.asarray(ratio, F32)
    magnitude = np.zeros(ratio.shape, np.uint8)
    for boundary in E2M1_BOUNDARIES:
        magnitude += np.abs(ratio) > boundary
    return (magnitude | np.where(ratio > 0, 0, 8)).astype(np.uint8)


def e4m3_from_f32(value):
    """E4M3FN bytes: nearest even, saturating (infinities too); NaN gives 0x7F with the sign of the NaN."""
    value = np.asarray(value, F32)
    bounded = np.nan_to_num(np.clip(value, -E4M3_MAX, E4M3_MAX))
    code = bounded.astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
    not_a_number = np.where(np.signbit(value), 0xFF, 0x7F)
    return np.where(np.isnan(value), not_a_number, code).astype(np.uint8)


def f32_from_e4m3(code):
    """Values of E4M3FN bytes."""
    return np.ascontiguousarray(code).view(ml_dtypes.float8_e4m3fn).astype(F32)


def f32_from_e8m0(byte):
    """2^(byte - 127); 255 is NaN."""
    exponent = np.asarray(byte).astype(np.float64) - 127
    return np.where(np.asarray(byte) == 255, np.nan, np.exp2(exponent)).astype(F32)


def mx_exponent(largest, maximum):
    """The power of two of an MX block: ceil(log2(largest / maximum)), log2 rounded to F32 before ceil.

    A block of zeros gives minus infinity; callers bound the result.
    """
    quotient = (largest.astype(F32) / F32(maximum)).astype(F32)
    return np.ceil(np.log2(quotient.astype(np.float64)).astype(F32))


def pack_nibbles(codes):
    """Two codes a byte along the last axis, the even one low."""
    return (codes[..., 0::2] | (codes[..., 1::2] << 4)).astype(np.uint8)


def unpack_nibbles(packed, high_first=False):
    """Codes of bytes along the last axis, the low nibble first unless said otherwise."""
    low, high = packed & 15, packed >> 4
    pair = (high, low) if high_first else (low, high)
    return np.stack(pair, -1).reshape(*packed.shape[:-1], -1)


def unpack_bits(words, bits):
    """Values of `bits` bits in 32-bit words along the last axis: one little-endian stream a row."""
    words = np.ascontiguousarray(words).view(np.uint32).astype("<u4")
    stream = np.unpackbits(words.view(np.uint8), axis=-1, bitorder="little")
    count = stream.shape[-1] // bits
    groups = stream[..., : count * bits].reshape(*stream.shape[:-1], count, bits).astype(np.int64)
    return (groups << np.arange(bits)).sum(-1)


def pack_bits(values, bits):
    """The reverse of `unpack_bits`; the last word is filled with zeros."""
    values = np.asarray(values).astype(np.int64)
    stream = ((values[..., None] >> np.arange(bits)) & 1).astype(np.uint8)
    stream = stream.reshape(*values.shape[:-1], -1)
    missing = -stream.shape[-1] % 32
    stream = np.pad(stream, [(0, 0)] * (stream.ndim - 1) + [(0, missing)])
    return np.ascontiguousarray(np.packbits(stream, axis=-1, bitorder="little")).view("<u4").astype(np.uint32)


def round_up(number, step):
    """The next multiple."""
    return -(-number // step) * step


def _tile_positions(rows, columns, tiled_columns):
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    tile = (row // 128) * (tiled_columns // 4) + column // 4
    return tile * 512 + (row % 32) * 16 + ((row % 128) // 32) * 4 + column % 4


def tile_scales(scales):
    """Scales in the 128 x 4 tiles of block-scaled matrix units, padded with zeros to whole tiles."""
    rows, columns = scales.shape
    tall, wide = round_up(rows, 128), round_up(columns, 4)
    flat = np.zeros(tall * wide, scales.dtype)
    flat[_tile_positions(rows, columns, wide)] = scales
    return flat.reshape(tall, wide)


def untile_scales(tiled, rows, columns):
    """The first `rows` x `columns` scales out of 128 x 4 tiles, stored under any shape."""
    flat = tiled.reshape(-1)
    return flat[_tile_positions(rows, columns, round_up(columns, 4))]


def split_blocks(values, size):
    """[.., K] as [.., K / size, size]."""
    return values.reshape(*values.shape[:-1], -1, size)
