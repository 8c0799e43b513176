//! Where a step of a rising function of a magnitude lies, as a pattern of bits.

use crate::FloatType;

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
    let guess = if guess.is_finite() { guess.to_bits().cast_signed().max(0) } else { 0 };
    // Strides grow away from the guess until `low` does not hold (or is ALWAYS) and `high` does.
    let mut stride = 1_i32;
    let (mut low, mut high);
    if holds(guess) {
        (low, high) = (guess - 1, guess);
        while low > ALWAYS && holds(low) {
            high = low;
            low = low.saturating_sub(stride).max(ALWAYS);
            stride = stride.saturating_mul(2);
        }
    } else {
        (low, high) = (guess, guess + 1);
        while !holds(high) {
            if high >= INFINITY {
                return NEVER;
            }
            low = high;
            high = high.saturating_add(stride).min(INFINITY);
            stride = stride.saturating_mul(2);
        }
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
    /// F32 patterns of the first normal F16, of the first number beyond the last finite one, and of infinity.
    const NORMAL: i32 = 113 << 23;
    const BEYOND: i32 = 143 << 23;
    let pattern = match last {
        ..0 => -1,
        // Multiples of 2^-24: the fraction with its leading one, shifted to that unit.
        0..NORMAL => {
            let fraction = 0x80_0000 | (last & 0x7f_ffff);
            fraction.checked_shr((126 - (last >> 23)).cast_unsigned()).unwrap_or(0)
        }
        // The same fraction with another bias, cut.
        NORMAL..BEYOND => (last - (112 << 23)) >> 13,
        BEYOND..INFINITY => 0x7bff,
        INFINITY.. => 0x7c00 + ((last - INFINITY) >> 13),
    };
    i16::try_from(pattern).unwrap_or(i16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quantscope_numeric::f32_bits_from_f16;

    /// Both ends of the stretch of F32 patterns that each F16 magnitude is the last of, infinity and NaN included.
    #[test]
    fn f16_thresholds_are_those_of_the_patterns() {
        assert_eq!(last_f16(ALWAYS), -1);
        for pattern in 0..=i16::MAX {
            let own = f32_bits_from_f16(pattern.cast_unsigned()).cast_signed();
            assert_eq!(last_f16(own), pattern);
            assert_eq!(last_f16(own - 1), pattern - 1);
        }
        assert_eq!(last_f16(NEVER), i16::MAX);
    }

    /// Whatever the guess: the last pattern for which it is false.
    #[test]
    fn the_step_is_found_from_any_guess() {
        for step in [0, 1, 2, 0x80_0000, 0x3f80_0000, INFINITY - 1, INFINITY] {
            for guess in [0.0, 1e-45, 1.0, 1.5, 3e38, f32::INFINITY, f32::NAN] {
                let found = last_below(guess, |magnitude| magnitude.to_bits().cast_signed() >= step);
                assert_eq!(found, step - 1, "from {guess}");
            }
        }
        assert_eq!(last_below(1.0, |_| false), NEVER);
    }
}
