//! BF16 to E4M3 under one scale without a division for each element.
//!
//! Doubling a weight doubles its quotient, and where codes are normal numbers a doubled quotient has a code that is
//! larger by eight. So the code of a BF16 is that of its mantissa under one exponent, a staircase of at most eight
//! steps, and eight for each exponent above. Where the steps lie is asked of the reference's own division and rounding
//! once a scale. What lies among the subnormal codes, and infinities and NaN, are left to the loop that divides.

use super::cpu::codes_of;
#[cfg(all(target_arch = "x86_64", not(quantscope_narrow)))]
use super::lookup::Lookup;
use super::{Fp8Rule, QuotientRounding};
use crate::element::{Bf16, Element as _};
use crate::nvfp4_quantize::CodeCast;

/// Steps of eight codes, as many as an exponent spans.
pub(super) const STEPS: usize = 8;
/// Exponents below the first normal one whose codes are neither 0 for certain nor normal.
pub(super) const SUBNORMAL: u8 = 5;
/// Exponents above which every code is saturated.
pub(super) const MOST_EXPONENTS: u8 = 15;
/// The code of 448, the largest number.
pub(super) const LARGEST: u8 = 0x7e;

/// Exponents from this one on are left to the division: infinities and NaN, and what is almost as large.
#[cfg(test)]
const HUGE: u8 = u8::MAX - SUBNORMAL + 1;

/// Elements that fill vectors of every width.
pub(super) const LANES: usize = 64;
/// Elements after which it is asked whether all were right.
pub(super) const STRETCH: usize = 2 * LANES;

/// The codes under one scale.
#[derive(Debug, Clone, Copy)]
pub(super) struct Staircase {
    /// The largest exponent all of whose codes are 0.
    zero_exponent: u8,
    /// The code of mantissa 0 under the first exponent whose quotients are normal numbers of E4M3.
    base: u8,
    /// The last mantissa below each step; 127 is never exceeded.
    last: [i8; STEPS],
    /// The same as a table, where the processor can look it up.
    #[cfg(all(target_arch = "x86_64", not(quantscope_narrow)))]
    lookup: Option<Lookup>,
}

impl Staircase {
    /// The staircase of a scale; `None` where quotients of neighbouring exponents are not alike: under scales that are
    /// no positive normal numbers or close to their end, and where F16 comes in.
    #[inline(always)]
    pub(super) fn new(scale: f32, rule: Fp8Rule) -> Option<Self> {
        let is_alike = rule.cast != CodeCast::ToF16 && rule.quotient != QuotientRounding::F16;
        let scale_exponent = u8::try_from(scale.to_bits() >> 23).ok().filter(|e| (11..255).contains(e))?;
        if !is_alike {
            return None;
        }
        // A weight of this exponent over the scale lies from 2^-6, the least normal number, to 2^-4.
        let normal_exponent = scale_exponent - 5;
        let mut codes = [0; 128];
        for (first, codes) in (0_u16..).step_by(16).zip(codes.as_chunks_mut::<16>().0) {
            let mut block = Bf16::padded(&[]);
            for (pattern, bytes) in (first..).zip(block.as_chunks_mut::<2>().0) {
                *bytes = ((u16::from(normal_exponent) << 7) | pattern).to_le_bytes();
            }
            *codes = codes_of::<Bf16>(&block, scale, rule);
        }
        let [base, ..] = codes;
        let mut last = [-1_i8; STEPS];
        for (step, last) in (1..).zip(&mut last) {
            for code in codes {
                *last += i8::from(code < base + step);
            }
        }
        // Codes below 2^-10, and 2^-10 itself, are 0: six exponents further down.
        let zero_exponent = normal_exponent - SUBNORMAL - 1;
        Some(Self {
            #[cfg(all(target_arch = "x86_64", not(quantscope_narrow)))]
            lookup: Lookup::of(zero_exponent, base, last),
            zero_exponent,
            base,
            last,
        })
    }

    /// The codes of elements, and whether all of them are right: none has a subnormal code, none is huge, infinite or
    /// NaN. One loop over bytes, so that a vector holds as many elements as it has bytes.
    #[inline(always)]
    pub(super) fn encode<const N: usize>(&self, elements: &[[u8; 2]; N], codes: &mut [u8; N]) -> bool {
        #[cfg(all(target_arch = "x86_64", not(quantscope_narrow)))]
        if let Some(lookup) = &self.lookup {
            return lookup.encode(elements, codes);
        }
        let Self { zero_exponent, base, last, .. } = *self;
        let mut least = u8::MAX;
        for (code, &[low, high]) in codes.iter_mut().zip(elements) {
            let exponent = (high << 1) | (low >> 7);
            let mantissa = (low & 0x7f).cast_signed();
            let above = exponent.saturating_sub(zero_exponent);
            let mut magnitude = base;
            for last in last {
                magnitude += u8::from(mantissa > last);
            }
            magnitude += above.saturating_sub(SUBNORMAL + 1).min(MOST_EXPONENTS) << 3;
            magnitude = magnitude.min(LARGEST);
            magnitude = if above == 0 { 0 } else { magnitude };
            *code = magnitude | (high & 0x80);
            // 0 becomes the largest: it is no subnormal. What is left above an exponent is as small where it is huge.
            least = least.min(above.wrapping_sub(1)).min(!exponent);
        }
        least >= SUBNORMAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quantscope_numeric::{e4m3, f32_bits_from_bf16, round_to_bf16};

    /// The definition, an element at a time.
    fn expected(pattern: u16, scale: f32, rule: Fp8Rule) -> u8 {
        let quotient = f32::from_bits(f32_bits_from_bf16(pattern)) / scale;
        let rounded = match rule.quotient {
            QuotientRounding::None => quotient,
            _ => round_to_bf16(quotient),
        };
        if rounded.is_nan() { e4m3::NAN_BYTE } else { e4m3::encode(rounded) }
    }

    /// How many of all 65,536 elements the staircase encodes; what it says to be right is the definition's.
    fn check(scale: f32, rule: Fp8Rule) -> usize {
        let Some(staircase) = Staircase::new(scale, rule) else { return 0 };
        let mut encoded = 0;
        for pattern in 0..=u16::MAX {
            let mut codes = [0xa5; LANES];
            if staircase.encode(&[pattern.to_le_bytes(); LANES], &mut codes) {
                assert_eq!(codes, [expected(pattern, scale, rule); LANES], "{pattern:#x} {scale:e} {rule:?}");
                encoded += 1;
            }
        }
        encoded
    }

    fn rule(cast: CodeCast, quotient: QuotientRounding) -> Fp8Rule {
        Fp8Rule { cast, quotient }
    }

    #[test]
    fn codes_are_those_of_the_definition() {
        use QuotientRounding::{Bf16, None};
        // Scales of BF16 maxima, in the lowest, a common and the highest exponents.
        let maxima = (0x80..0x100_u16).step_by(3).map(|mantissa| f32::from(mantissa) / 448.0);
        let scales = maxima.flat_map(|scale| [1e-33, 1e-6, 1e36].map(|factor| scale * factor));
        let others = [1.0, 1.0_f32.next_up(), 2.0_f32.next_down(), f32::MAX];
        for scale in scales.chain(others) {
            for rule in [rule(CodeCast::Keep, None), rule(CodeCast::ToBf16, Bf16)] {
                // Five exponents of each sign are subnormal.
                assert_eq!(check(scale, rule), 2 * (usize::from(HUGE) - 5) * 128, "{scale:e} {rule:?}");
            }
        }
    }

    #[test]
    fn scales_out_of_the_common_are_left_to_the_division() {
        let keep = rule(CodeCast::Keep, QuotientRounding::None);
        for scale in [0.0, -1.0, f32::INFINITY, f32::NAN, f32::MIN_POSITIVE, 1e-40, -f32::NAN] {
            assert!(Staircase::new(scale, keep).is_none(), "{scale:e}");
        }
        assert!(Staircase::new(1.0, rule(CodeCast::ToF16, QuotientRounding::None)).is_none());
        assert!(Staircase::new(1.0, rule(CodeCast::Keep, QuotientRounding::F16)).is_none());
    }

    #[test]
    fn one_element_among_others_is_noticed() {
        let staircase = Staircase::new(1.0, rule(CodeCast::Keep, QuotientRounding::None)).unwrap();
        let mut codes = [0; LANES];
        for odd in [2.0_f32.powi(-8), -2.0_f32.powi(-10), f32::INFINITY, f32::NAN] {
            for at in 0..LANES {
                let mut elements = [[0x3f; 2]; LANES];
                assert!(staircase.encode(&elements, &mut codes));
                let [.., low, high] = odd.to_le_bytes();
                elements[at] = [low, high];
                assert!(!staircase.encode(&elements, &mut codes), "{odd} at {at}");
            }
        }
    }
}
