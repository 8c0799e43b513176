//! The candidates of a search, made once for a tensor: their divisors and the bytes they are exported as.

use super::{ScaleSearch, SearchMethod};
use crate::nvfp4_quantize::{ScaleRange, ScaleRule, last_below};
use quantscope_numeric::e4m3;
use std::ops::RangeInclusive;

/// The multiples of a block's maximum that four-over-six tries, in order.
const MULTIPLES: [f32; 2] = [1.0, 1.5];

/// What a search chooses from.
///
/// The candidates of a sweep are the bytes 1 to 126. Those of four-over-six are 1 and 2, its two multiples;
/// their divisors depend on the block's maximum and are found by the byte they are rounded to.
#[derive(Debug, Clone)]
pub struct Candidates {
    search: ScaleSearch,
    rule: ScaleRule,
    /// Divisors by E4M3 byte. Entry 127 is not used, entry 0 not by the sweep.
    divisors: [f32; 128],
    /// By candidate of the sweep, the byte it is exported as. The candidate's own, unless rounding takes the
    /// block's share of a global maximum that is nearly or wholly zero elsewhere.
    exported: [u8; 128],
    /// Whether it is a sweep whose divisors rise: those of a tiny global maximum begin with ones for zeros.
    is_rising: bool,
    /// Four-over-six: what the share of a block is multiplied by before it is rounded to E4M3.
    factor: f32,
}

impl Candidates {
    /// The candidates of `search`.
    #[must_use]
    pub fn new(search: ScaleSearch) -> Self {
        let global = search.global;
        let byte = |i: usize| u8::try_from(i).unwrap_or(e4m3::NAN_BYTE);
        let one_for_zero = |divisor: f32| if divisor == 0.0 { 1.0 } else { divisor };
        match search.method {
            SearchMethod::SweepE4m3 => {
                let rule = ScaleRule::Static { global, range: ScaleRange::Full };
                let share = |i: usize| e4m3::decode(byte(i)) / e4m3::MAX;
                let divisors: [f32; 128] = std::array::from_fn(|i| one_for_zero((share(i) * global) / 6.0));
                Self {
                    search,
                    rule,
                    is_rising: divisors[1..127].is_sorted(),
                    divisors,
                    exported: std::array::from_fn(|i| rule.scale_byte(global * share(i))),
                    factor: 0.0,
                }
            }
            SearchMethod::FourOverSix => {
                let rule = ScaleRule::Static { global, range: ScaleRange::FourOverSix };
                let factor = 448.0 / ((global * 448.0 / 256.0) / 6.0);
                let unit = 1.0 / factor;
                Self {
                    search,
                    rule,
                    divisors: std::array::from_fn(|i| one_for_zero(e4m3::decode(byte(i)) * unit)),
                    exported: [0; 128],
                    is_rising: false,
                    factor,
                }
            }
        }
    }

    /// The search they belong to.
    #[must_use]
    pub fn search(&self) -> ScaleSearch {
        self.search
    }

    /// The numbers of the candidates.
    pub(super) fn numbers(&self) -> RangeInclusive<usize> {
        match self.search.method {
            SearchMethod::SweepE4m3 => 1..=126,
            SearchMethod::FourOverSix => 1..=2,
        }
    }

    /// The candidates that a word of the shader's leaves; all of them if the word makes no sense.
    pub(super) fn left(&self, word: u32) -> RangeInclusive<usize> {
        let [first, last, ..] = word.to_le_bytes().map(usize::from);
        let all = self.numbers();
        if first <= last && all.contains(&first) && all.contains(&last) { first..=last } else { all }
    }

    /// The divisor of a candidate for a block whose largest magnitude is `amax`.
    pub(super) fn divisor(&self, number: usize, amax: f32) -> f32 {
        let byte = match self.search.method {
            SearchMethod::SweepE4m3 => number,
            SearchMethod::FourOverSix => usize::from(self.rounded(multiple(number) * amax)),
        };
        self.divisors[byte & 0x7f]
    }

    /// The byte that a candidate is exported as.
    pub(super) fn export(&self, number: usize, amax: f32) -> u8 {
        match self.search.method {
            SearchMethod::SweepE4m3 => self.exported[number & 0x7f],
            SearchMethod::FourOverSix => self.rule.scale_byte(multiple(number) * amax),
        }
    }

    /// Whether candidates of the sweep may be passed over because of what others lose.
    pub(super) fn can_be_passed_over(&self) -> bool {
        self.is_rising
    }

    /// The first byte of the sweep whose six divisors reach `amax`; 126 if none does.
    pub(super) fn first_reaching(&self, amax: f32) -> usize {
        self.divisors[1..127].partition_point(|divisor| divisor * 6.0 < amax).min(125) + 1
    }

    /// The share of a block with this maximum, rounded to E4M3.
    fn rounded(&self, amax: f32) -> u8 {
        e4m3::encode(((amax / 6.0) * self.factor).clamp(-e4m3::MAX, e4m3::MAX))
    }

    /// The shader's `divisors`: each divisor and its reciprocal.
    #[must_use]
    pub fn divisor_words(&self) -> Vec<[f32; 2]> {
        self.divisors.iter().map(|&divisor| [divisor, 1.0 / divisor]).collect()
    }

    /// The shader's `amax_last`: for both multiples of four-over-six, the last F32 pattern of a block maximum
    /// whose share is rounded to a byte below `i`, for `i` from 1 to 126; entry 0 is always exceeded, entry
    /// 127 never. For a sweep zeros.
    #[must_use]
    pub fn amax_words(&self) -> Vec<i32> {
        let mut words = Vec::with_capacity(256);
        for multiple in MULTIPLES {
            words.push(-1);
            for byte in 1..=0x7e_u8 {
                words.push(match self.search.method {
                    SearchMethod::SweepE4m3 => 0,
                    SearchMethod::FourOverSix => {
                        let guess = e4m3::decode(byte) / self.factor * 6.0 / multiple;
                        last_below(guess, |amax| self.rounded(multiple * amax) >= byte)
                    }
                });
            }
            words.push(i32::MAX);
        }
        words
    }
}

fn multiple(number: usize) -> f32 {
    if number == 2 { MULTIPLES[1] } else { MULTIPLES[0] }
}
