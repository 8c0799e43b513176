//! E8M0, the power-of-two block scale of the MX formats: byte `e` means 2^(e-127).

/// The value of a byte. 0 is 2^-127, a subnormal f32; 255 is NaN in OCP MX 1.0, and nobody writes it.
///
/// ```
/// use quantscope_numeric::e8m0;
/// assert_eq!(e8m0::decode(127), 1.0);
/// assert_eq!(e8m0::decode(0), f32::from_bits(0x0040_0000));
/// assert!(e8m0::decode(255).is_nan());
/// ```
#[must_use]
pub const fn decode(byte: u8) -> f32 {
    match byte {
        0 => f32::from_bits(0x0040_0000),
        255 => f32::NAN,
        e => f32::from_bits((e as u32) << 23),
    }
}

/// The byte of the block scale for the quotient `d` of a block's largest magnitude and the element type's
/// largest value: 127 + ceil(log2 d), at least 0 and at most 254.
///
/// The logarithm is rounded to f32 before the ceiling, as the reference does it, so a quotient a few ulps
/// above a power of two stays on that power. Zero gives byte 0. (`formats.md` a; ModelOpt `MXFP4QTensor`.)
#[must_use]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounding log2 to f32 is the rule; the sum is clamped to a byte"
)]
pub fn encode_quotient(d: f32) -> u8 {
    let log2 = f64::from(d).log2() as f32;
    (log2.ceil() + 127.0).clamp(0.0, 254.0) as u8
}
