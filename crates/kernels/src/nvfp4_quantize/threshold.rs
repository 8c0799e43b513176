//! Where a step of a rising function of a magnitude lies, as a pattern of bits.

use crate::FloatType;
use quantscope_numeric::f32_bits_from_f16;

/// A threshold no pattern exceeds.
pub(super) const NEVER: i32 = i32::MAX;
/// A threshold every pattern exceeds.
pub(super) const ALWAYS: i32 = -1;
/// The pattern of infinity, the largest that is not NaN.
const INFINITY: i32 = 0x7f80_0000;

/// The last pattern of a magnitude for which `holds` is false, given that it is true for all larger ones.
/// The search starts at `guess`; a poor guess costs time only.
pub(crate) fn last_below(guess: f32, holds: impl Fn(f32) -> bool) -> i32 {
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

/// What turns a threshold over F32 patterns into one over the patterns of `dtype`.
pub(super) fn last_pattern(dtype: FloatType) -> fn(i32) -> i32 {
    match dtype {
        FloatType::F32 => |last| last,
        FloatType::Bf16 => |last| i32::from(last_bf16(last)),
        FloatType::F16 => |last| i32::from(last_f16(last)),
    }
}

/// The last BF16 magnitude whose F32 pattern does not exceed `last`.
#[allow(clippy::cast_possible_truncation, reason = "the upper half of an i32")]
pub(super) fn last_bf16(last: i32) -> i16 {
    (last >> 16) as i16
}

/// The last F16 magnitude whose F32 pattern does not exceed `last`; -1 if there is none.
pub(super) fn last_f16(last: i32) -> i16 {
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
