//! E5M2, the eight-bit float with the exponent of F16: the upper half of an F16's pattern.
//!
//! Bias 15, with infinities (`S.11111.00`) and three NaN of each sign, largest finite value 57,344, smallest
//! subnormal 2^-16 (OCP 8-bit floating point, 1.0).

use crate::f32_bits_from_f16;

/// The value of a byte. Exact.
///
/// ```
/// use quantscope_numeric::e5m2;
/// assert_eq!(e5m2::decode(0x3c), 1.0);
/// assert_eq!(e5m2::decode(0xfb), -57_344.0);
/// assert_eq!(e5m2::decode(0x01), 1.0 / 65_536.0);
/// assert_eq!(e5m2::decode(0x7c), f32::INFINITY);
/// assert!(e5m2::decode(0x7d).is_nan());
/// ```
#[must_use]
pub const fn decode(byte: u8) -> f32 {
    f32::from_bits(f32_bits_from_f16((byte as u16) << 8))
}
