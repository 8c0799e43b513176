//! INT4: a signed nibble in two's complement under a scale, two to a byte.
//!
//! ModelOpt packs neighbouring *rows*: the even row's code lies in the low nibble (`formats.md` a).

/// The code of a quotient of weight and scale, its upper nibble clear: to nearest, ties to even, saturating at
/// -8 and 7. NaN, the quotient of a zero scale, gives 0.
///
/// ```
/// use quantscope_numeric::int4;
/// assert_eq!(int4::encode(2.5), 2);
/// assert_eq!(int4::encode(-1.0), 0xf);
/// assert_eq!(int4::encode(-100.0), 0x8);
/// assert_eq!(int4::encode(7.5), 7);
/// ```
#[must_use]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a whole number from -8 to 7, of which the lower four bits are kept"
)]
pub const fn encode(quotient: f32) -> u8 {
    let whole = quotient.round_ties_even().clamp(-8.0, 7.0) as i8;
    whole as u8 & 0xf
}

/// The value of a code; the high nibble is ignored.
///
/// ```
/// use quantscope_numeric::int4;
/// assert_eq!(int4::decode(0x7), 7);
/// assert_eq!(int4::decode(0xf8), -8);
/// ```
#[must_use]
pub const fn decode(code: u8) -> i8 {
    (code << 4).cast_signed() >> 4
}

/// Puts two codes into a byte: the first (of the even row, in ModelOpt's layout) low, the second high.
#[must_use]
pub const fn pack(first: u8, second: u8) -> u8 {
    (first & 0xf) | (second << 4)
}

/// The two codes of a byte: the low one, then the high one.
#[must_use]
pub const fn unpack(byte: u8) -> (u8, u8) {
    (byte & 0xf, byte >> 4)
}
