//! E2M1, the four-bit float of NVFP4 and MXFP4: a sign bit and one of eight magnitudes.
//!
//! The two formats round differently (OCP MX 1.0 leaves rounding to the implementation; ModelOpt has one
//! rule for each), so there are two encoders. Two codes share a byte, the even column in the low nibble.

/// The magnitudes of the codes 0 to 7; codes 8 to 15 are their negatives.
pub const MAGNITUDES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

/// The midpoints between neighbouring magnitudes.
const BOUNDS: [f32; 7] = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0];

/// The value of a code; the high nibble is ignored. Code 8 gives +0, as the reference's table does.
///
/// ```
/// use quantscope_numeric::e2m1;
/// assert_eq!(e2m1::decode(0x5), 3.0);
/// assert_eq!(e2m1::decode(0xf), -6.0);
/// assert!(e2m1::decode(0x8).is_sign_positive());
/// ```
#[must_use]
pub const fn decode(code: u8) -> f32 {
    const VALUES: [f32; 16] =
        [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];
    VALUES[(code & 0xf) as usize]
}

/// The code of a ratio under NVFP4's rule: to nearest, ties to the even code, saturating.
///
/// The sign bit is set when `ratio < 0`, so -0.0 gives code 0 while a negative ratio that rounds to zero
/// gives code 8. NaN gives code 7. (`formats.md` a; ModelOpt `NVFP4QTensor._cast_fp4`.)
#[must_use]
pub fn encode_nvfp4(ratio: f32) -> u8 {
    let magnitude = ratio.abs();
    if magnitude.is_nan() {
        return 7;
    }
    let mut code = 0;
    for bound in BOUNDS {
        code += u8::from(bound < magnitude);
    }
    // Three of the midpoints have the even code above them.
    code += u8::from(magnitude == 0.75 || magnitude == 1.75 || magnitude == 3.5);
    code | (u8::from(ratio < 0.0) << 3)
}

/// The code of a ratio under MXFP4's rule: to nearest, ties towards zero, saturating.
///
/// The sign bit is clear only when `ratio > 0`, so both zeros and NaN give code 8. (`formats.md` a;
/// ModelOpt `MXFP4QTensor`.)
#[must_use]
pub fn encode_mx(ratio: f32) -> u8 {
    let magnitude = ratio.abs();
    let mut code = 0;
    for bound in BOUNDS {
        code += u8::from(magnitude > bound);
    }
    let positive = ratio > 0.0;
    code | (u8::from(!positive) << 3)
}

/// Puts two codes into a byte: the even column low, the odd column high.
#[must_use]
pub const fn pack(even: u8, odd: u8) -> u8 {
    (even & 0xf) | (odd << 4)
}

/// The two codes of a byte: the even column's, then the odd column's.
#[must_use]
pub const fn unpack(byte: u8) -> (u8, u8) {
    (byte & 0xf, byte >> 4)
}
