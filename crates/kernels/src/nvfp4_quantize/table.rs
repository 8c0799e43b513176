//! The thresholds that turn NVFP4 quantization of one tensor into integer comparisons.
//!
//! With the tensor's second scale fixed, a block's scale byte grows with the largest magnitude of the
//! block, and under a given scale byte an element's code grows with its magnitude: every step of the
//! formula (one division, one product, clamping, rounding, the cast of the weight) keeps the order. The
//! magnitude of a float grows with its pattern of bits. So each byte and each code begins at one pattern,
//! found here by bisection on the float formula, and a kernel only compares patterns.
//!
//! The formula is that of `formats.md` b; in ModelOpt `NVFP4QTensor.quantize` and
//! `get_weights_scaling_factor`.

use crate::FloatType;
use quantscope_numeric::{e2m1, e4m3, f32_bits_from_f16, round_to_bf16, round_to_f16};

use super::CodeCast;

/// A threshold no pattern exceeds.
const NEVER: i32 = i32::MAX;
/// A threshold every pattern exceeds.
const ALWAYS: i32 = -1;
/// The pattern of infinity, the largest that is not NaN.
const INFINITY: i32 = 0x7f80_0000;
/// The byte of 1.0: the scale of a block whose quotient is zero.
const ONE: u8 = 0x38;

/// Thresholds for one scale byte. Element `m` of the first seven is the last pattern whose code is at most
/// `m`; the eighth is the last pattern that gets no sign bit when negative.
pub(crate) type CodeThresholds<K> = [K; 8];

/// Everything about one tensor that quantizing needs beside its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nvfp4Table {
    ws2_bits: u32,
    cast: CodeCast,
    /// The scale byte of blocks up to pattern `scale_last[1]`.
    zero_scale: u8,
    /// `scale_last[i]` is the last F32 pattern of a block maximum whose scale byte is below `i`, for
    /// 1 to 126. Entry 0 is not used, entry 127 is never exceeded.
    scale_last: [i32; 128],
    /// For the upper 13 bits of a pattern, how many thresholds lie below every pattern that has them:
    /// where the search of [`Self::scale_byte`] starts. It rarely goes further than one step.
    scale_start: Box<[u8; 0x2000]>,
    /// By scale byte, over patterns of F32, BF16 and F16 magnitudes.
    code_last: Vec<CodeThresholds<i32>>,
    code_last_bf16: Vec<CodeThresholds<i16>>,
    code_last_f16: Vec<CodeThresholds<i16>>,
}

impl Nvfp4Table {
    /// Finds the thresholds for a tensor whose second scale (`weight_scale_2`) is `ws2`: its largest
    /// magnitude, or its fused group's, divided by 2688 in F32. Finite and not negative.
    ///
    /// `ws2 == 0`, an all-zero tensor, gives what the reference writes without a guard: NaN scales (0x7f)
    /// and code 7 everywhere.
    #[must_use]
    pub fn new(ws2: f32, cast: CodeCast) -> Self {
        let mut scale_last = [NEVER; 128];
        scale_last[0] = ALWAYS;
        for byte in 1..=0x7e_u8 {
            let guess = e4m3::decode(byte) * (6.0 * ws2);
            scale_last[usize::from(byte)] = last_below(guess, |amax| {
                block_scale(amax, ws2).is_some_and(|b| b != e4m3::NAN_BYTE && b >= byte)
            });
        }
        let code_last: Vec<_> = (0..128).map(|byte| code_thresholds(byte, ws2, cast)).collect();
        Self {
            ws2_bits: ws2.to_bits(),
            cast,
            zero_scale: block_scale(0.0, ws2).unwrap_or(ONE),
            scale_start: scale_start(&scale_last),
            scale_last,
            code_last_bf16: narrowed(&code_last, last_bf16),
            code_last_f16: narrowed(&code_last, last_f16),
            code_last,
        }
    }

    /// The second scale the table was made for.
    #[must_use]
    pub fn ws2(&self) -> f32 {
        f32::from_bits(self.ws2_bits)
    }

    /// The cast the codes are taken after.
    #[must_use]
    pub fn cast(&self) -> CodeCast {
        self.cast
    }

    /// The scale byte of a block whose largest magnitude has the F32 pattern `bits`.
    #[inline]
    #[must_use]
    pub fn scale_byte(&self, bits: u32) -> u8 {
        let start = self.scale_start[(bits >> 18) as usize & 0x1fff];
        let bits = bits.cast_signed();
        let exceeds = |byte: u8| bits > self.scale_last[usize::from(byte & 0x7f)];
        // One step without a jump that nobody can predict; after it nearly always none is left.
        let mut byte = start + u8::from(exceeds(start + 1));
        while exceeds(byte + 1) {
            byte += 1;
        }
        if byte == 0 { self.zero_scale } else { byte }
    }

    pub(crate) fn code_last(&self) -> &[CodeThresholds<i32>] {
        &self.code_last
    }

    pub(crate) fn code_last_bf16(&self) -> &[CodeThresholds<i16>] {
        &self.code_last_bf16
    }

    pub(crate) fn code_last_f16(&self) -> &[CodeThresholds<i16>] {
        &self.code_last_f16
    }

    /// The scale byte of blocks below the first threshold, for the shader's `zero_scale`.
    #[must_use]
    pub fn zero_scale(&self) -> u8 {
        self.zero_scale
    }

    /// The shader's `scale_last`: 128 thresholds over patterns of the source's own type, little-endian.
    #[must_use]
    pub fn scale_words(&self, dtype: FloatType) -> Vec<i32> {
        let pattern = last_pattern(dtype);
        self.scale_last.iter().map(|&last| pattern(last)).collect()
    }

    /// The shader's `code_last`: eight thresholds for each of 128 scale bytes, over patterns of the
    /// source's own type.
    #[must_use]
    pub fn code_words(&self, dtype: FloatType) -> Vec<i32> {
        let pattern = last_pattern(dtype);
        self.code_last.as_flattened().iter().map(|&last| pattern(last)).collect()
    }
}

/// The scale byte of a block, as the reference computes it; `None` where its quotient is zero. Of the two
/// NaN bytes always the positive one: which of them 0/0 gives depends on the processor.
fn block_scale(amax: f32, ws2: f32) -> Option<u8> {
    let quotient = amax / (6.0 * ws2);
    if quotient.is_nan() {
        return Some(e4m3::NAN_BYTE);
    }
    (quotient != 0.0).then(|| e4m3::encode(quotient.clamp(e4m3::MIN_POSITIVE, e4m3::MAX)))
}

fn code_thresholds(byte: u8, ws2: f32, cast: CodeCast) -> CodeThresholds<i32> {
    let divisor = e4m3::decode(byte) * ws2;
    let code = |weight: f32| e2m1::encode_nvfp4(cast.apply(weight) / divisor);
    std::array::from_fn(|m| match e2m1::MAGNITUDES.get(m + 1) {
        Some(above) => {
            let guess = f32::midpoint(e2m1::MAGNITUDES[m], *above) * divisor;
            last_below(guess, |magnitude| usize::from(code(magnitude) & 7) > m)
        }
        None => last_below(0.0, |magnitude| code(-magnitude) & 8 != 0),
    })
}

/// The last pattern of a magnitude for which `holds` is false, given that it is true for all larger ones.
/// The search starts at `guess`; a poor guess costs time only.
fn last_below(guess: f32, holds: impl Fn(f32) -> bool) -> i32 {
    let holds = |pattern: i32| holds(f32::from_bits(pattern.cast_unsigned()));
    if !holds(INFINITY) {
        return NEVER;
    }
    let guess = if guess.is_finite() { guess.to_bits().cast_signed().max(0) } else { 0 };
    // Strides grow away from the guess until `low` does not hold (or is ALWAYS) and `high` does.
    let (mut low, mut high) = if holds(guess) { (guess - 1, guess) } else { (guess, guess + 1) };
    let mut stride = 1_i32;
    while low > ALWAYS && holds(low) {
        high = low;
        low = low.saturating_sub(stride).max(ALWAYS);
        stride = stride.saturating_mul(2);
    }
    while high < INFINITY && !holds(high) {
        low = high;
        high = high.saturating_add(stride).min(INFINITY);
        stride = stride.saturating_mul(2);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    low
}

/// How many of the scale thresholds lie below the first pattern with each of the upper 13 bits.
fn scale_start(scale_last: &[i32; 128]) -> Box<[u8; 0x2000]> {
    let mut start = Box::new([0; 0x2000]);
    let mut byte = 0;
    for (start, first) in start.iter_mut().zip((0_i32..).step_by(1 << 18)) {
        // Entry 127 is never exceeded.
        while first > scale_last[usize::from(byte) + 1] {
            byte += 1;
        }
        *start = byte;
    }
    start
}

fn last_pattern(dtype: FloatType) -> fn(i32) -> i32 {
    match dtype {
        FloatType::F32 => |last| last,
        FloatType::Bf16 => |last| i32::from(last_bf16(last)),
        FloatType::F16 => |last| i32::from(last_f16(last)),
    }
}

fn narrowed(wide: &[CodeThresholds<i32>], last: fn(i32) -> i16) -> Vec<CodeThresholds<i16>> {
    wide.iter().map(|thresholds| thresholds.map(last)).collect()
}

/// The last BF16 magnitude whose F32 pattern does not exceed `last`.
#[allow(clippy::cast_possible_truncation, reason = "the upper half of an i32")]
fn last_bf16(last: i32) -> i16 {
    (last >> 16) as i16
}

/// The last F16 magnitude whose F32 pattern does not exceed `last`; -1 if there is none.
fn last_f16(last: i32) -> i16 {
    let (mut low, mut high) = (-1_i16, i16::MAX);
    while low < high {
        let middle = high - (high.abs_diff(low) / 2).cast_signed();
        if f32_bits_from_f16(middle.cast_unsigned()).cast_signed() <= last {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

impl CodeCast {
    fn apply(self, weight: f32) -> f32 {
        match self {
            Self::Keep => weight,
            Self::ToBf16 => round_to_bf16(weight),
            Self::ToF16 => round_to_f16(weight),
        }
    }
}
