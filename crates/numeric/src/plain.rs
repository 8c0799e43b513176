//! BF16 and F16 as patterns of bits: widening to F32 and rounding from it, with integers only.
//!
//! Integers, because a kernel must give these bits on processors that flush subnormals or quiet NaNs. For
//! values rather than patterns there are the types of the `half` crate, re-exported here.

use crate::{Dtype, e4m3};

pub use half::{bf16, f16};

/// The bits of the F32 that equals a BF16. Exact; NaN payloads are kept.
#[must_use]
pub const fn f32_bits_from_bf16(bits: u16) -> u32 {
    (bits as u32) << 16
}

/// The bits of the F32 that equals an F16. Exact; subnormals become normal numbers, NaN payloads are kept.
///
/// Without the sign the result grows with the pattern, so the largest pattern is the largest magnitude.
///
/// ```
/// use quantscope_numeric::f32_bits_from_f16;
/// assert_eq!(f32_bits_from_f16(0x3c00), 1.0_f32.to_bits());
/// assert_eq!(f32_bits_from_f16(0x8001), (-(2.0_f32.powi(-24))).to_bits());
/// ```
#[must_use]
pub const fn f32_bits_from_f16(bits: u16) -> u32 {
    let sign = (bits as u32 & 0x8000) << 16;
    let exponent = (bits as u32 >> 10) & 0x1f;
    let mantissa = bits as u32 & 0x3ff;
    let magnitude = if exponent == 0x1f {
        0x7f80_0000 | (mantissa << 13)
    } else if exponent != 0 {
        ((exponent + 112) << 23) | (mantissa << 13)
    } else if mantissa != 0 {
        // mantissa * 2^-24: its leading one moves to bit 23.
        let shift = mantissa.leading_zeros() - 8;
        ((126 - shift) << 23) | ((mantissa << shift) & 0x7f_ffff)
    } else {
        0
    };
    sign | magnitude
}

/// The value rounded to BF16, ties to even, and widened again. NaN stays NaN, and becomes quiet.
#[must_use]
#[inline]
pub const fn round_to_bf16(value: f32) -> f32 {
    let bits = value.to_bits();
    let rounded = if bits & 0x7fff_ffff > 0x7f80_0000 {
        bits | 0x0040_0000
    } else {
        bits + 0x7fff + ((bits >> 16) & 1)
    };
    f32::from_bits(rounded & 0xffff_0000)
}

/// The value rounded to F16, ties to even, and widened again: infinite from 65,520 on. NaN stays NaN.
#[must_use]
pub fn round_to_f16(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

/// Appends values as little-endian elements of BF16, F16 or F32, rounded once, ties to even. Nothing for other
/// types.
///
/// ```
/// use quantscope_numeric::{Dtype, narrow};
/// let mut bytes = Vec::new();
/// narrow(Dtype::BF16, &[1.0, -2.0], &mut bytes);
/// assert_eq!(bytes, [0x80, 0x3f, 0x00, 0xc0]);
/// ```
pub fn narrow(dtype: Dtype, values: &[f32], bytes: &mut Vec<u8>) {
    match dtype {
        Dtype::F32 => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
        Dtype::BF16 => bytes.extend(values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes())),
        Dtype::F16 => bytes.extend(values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes())),
        _ => {}
    }
}

/// Appends the values of little-endian elements, widened to F32 exactly. Elements of a type that is no float of
/// at most 32 bits append nothing; a part of an element at the end is left out.
///
/// ```
/// use quantscope_numeric::{Dtype, widen};
/// let mut values = Vec::new();
/// widen(Dtype::BF16, &[0x80, 0x3f, 0x00, 0xc0], &mut values);
/// assert_eq!(values, [1.0, -2.0]);
/// ```
pub fn widen(dtype: Dtype, bytes: &[u8], values: &mut Vec<f32>) {
    let pairs = || bytes.as_chunks::<2>().0.iter().map(|&pair| u16::from_le_bytes(pair));
    match dtype {
        Dtype::F32 => values.extend(bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word))),
        Dtype::BF16 => values.extend(pairs().map(|bits| f32::from_bits(f32_bits_from_bf16(bits)))),
        Dtype::F16 => values.extend(pairs().map(|bits| f32::from_bits(f32_bits_from_f16(bits)))),
        Dtype::F8_E4M3 => values.extend(bytes.iter().map(|&code| e4m3::decode(code))),
        _ => {}
    }
}
