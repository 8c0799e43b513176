//! E4M3FN, the eight-bit float of FP8 weights and of NVFP4 block scales.
//!
//! Bias 7, no infinities, NaN is `S.1111.111`, largest 448, smallest normal 2^-6, smallest subnormal 2^-9.

/// The largest finite value.
pub const MAX: f32 = 448.0;

/// The smallest positive value, 2^-9: byte 0x01.
pub const MIN_POSITIVE: f32 = 1.0 / 512.0;

/// NaN without a sign.
pub const NAN_BYTE: u8 = 0x7f;

const DECODED: [f32; 256] = decode_table();

#[allow(clippy::cast_possible_truncation, reason = "the index runs over the 256 bytes")]
const fn decode_table() -> [f32; 256] {
    let mut table = [0.0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = decode_one(byte as u8);
        byte += 1;
    }
    table
}

const fn decode_one(byte: u8) -> f32 {
    let sign = (byte as u32 & 0x80) << 24;
    let exponent = (byte as u32 >> 3) & 0xf;
    let mantissa = byte as u32 & 7;
    let bits = if byte & 0x7f == 0x7f {
        0x7fc0_0000
    } else if exponent != 0 {
        ((exponent + 120) << 23) | (mantissa << 20)
    } else if mantissa != 0 {
        // mantissa * 2^-9 as a normal f32: its leading one moves to bit 23.
        let shift = mantissa.leading_zeros() - 8;
        ((141 - shift) << 23) | ((mantissa << shift) & 0x7f_ffff)
    } else {
        0
    };
    f32::from_bits(sign | bits)
}

/// The value of a byte.
///
/// ```
/// use quantscope_numeric::e4m3;
/// assert_eq!(e4m3::decode(0x38), 1.0);
/// assert_eq!(e4m3::decode(0xfe), -448.0);
/// assert_eq!(e4m3::decode(0x01), 1.0 / 512.0);
/// assert!(e4m3::decode(0x7f).is_nan());
/// ```
#[must_use]
pub const fn decode(byte: u8) -> f32 {
    DECODED[byte as usize]
}

/// Whether a byte is NaN.
#[must_use]
pub const fn is_nan(byte: u8) -> bool {
    byte & 0x7f == NAN_BYTE
}

/// The byte nearest to `value`, ties to even, gradual underflow, the sign of zero kept.
///
/// What is too large, infinities included, becomes ±448, as in torch 2.15; older releases gave NaN. NaN
/// keeps its sign: 0x7f or 0xff.
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "each branch yields at most 0x7f before the sign")]
pub fn encode(value: f32) -> u8 {
    const SMALLEST_NORMAL: u32 = 121 << 23; // 2^-6
    let bits = value.to_bits();
    let sign = ((bits >> 24) & 0x80) as u8;
    let magnitude = bits & 0x7fff_ffff;
    let byte = if magnitude > 0x7f80_0000 {
        NAN_BYTE
    } else if magnitude < SMALLEST_NORMAL {
        // In units of 2^-9 the value is below 8, and adding 2^23 leaves no room for a fraction: the
        // addition itself rounds to even. A result of 8 is the byte of 2^-6.
        let units = f32::from_bits(magnitude) * 512.0 + 8_388_608.0;
        (units.to_bits() & 0xff) as u8
    } else {
        let rounded = magnitude + 0x7_ffff + ((magnitude >> 20) & 1);
        ((rounded >> 20) - (120 << 3)).min(0x7e) as u8
    };
    sign | byte
}
