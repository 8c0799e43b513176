//! A sum of squares that is exact, and so the same in whatever order and parts it is taken.

use super::{EXPONENTS, LEAST_EXPONENT};
use serde::{Deserialize, Serialize};

/// Words of a sum: the largest square has 592 bits above the unit, and more summands than 2^64 there are not.
const WORDS: usize = 11;

/// The exponent of the unit, twice that of the last of the 16 bits of the least magnitude.
const UNIT: i32 = 2 * (LEAST_EXPONENT - 15);

/// A sum of squares of magnitudes cut to 16 bits, as one whole number of 704 bits in units of 2^-328.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Squares {
    /// The least significant first.
    words: [u64; WORDS],
}

impl Squares {
    /// From the sums of `m * m` by exponent, where a magnitude is `m * 2^(exponent - 15)` and `m` has 16
    /// bits; the first exponent is -149. Sums beyond [`EXPONENTS`] are left out.
    #[must_use]
    pub fn new(sums: impl IntoIterator<Item = u64>) -> Self {
        let mut squares = Self::default();
        for (exponent, sum) in sums.into_iter().take(EXPONENTS).enumerate() {
            if sum != 0 {
                squares.add_shifted(u128::from(sum), 2 * exponent);
            }
        }
        squares
    }

    /// Adds `value << shift`.
    pub(crate) fn add_shifted(&mut self, value: u128, shift: usize) {
        let (skipped, shift) = (shift / 64, shift % 64);
        // What is shifted out of the second word is the third.
        let (two, third) =
            (value << shift, value.unbounded_shr(128 - u32::try_from(shift).unwrap_or_default()));
        #[allow(clippy::cast_possible_truncation, reason = "words of a number")]
        self.add_words(skipped, [two as u64, (two >> 64) as u64, third as u64]);
    }

    /// Adds words from the one at `first` on, and carries.
    fn add_words(&mut self, first: usize, more: impl IntoIterator<Item = u64>) {
        let mut more = more.into_iter().fuse();
        let mut carry = false;
        for word in self.words.iter_mut().skip(first) {
            let next = more.next();
            if next.is_none() && !carry {
                break;
            }
            let (sum, over) = word.overflowing_add(next.unwrap_or(0));
            let (sum, carried) = sum.overflowing_add(u64::from(carry));
            (*word, carry) = (sum, over || carried);
        }
    }

    /// Adds another sum.
    pub fn add(&mut self, other: &Self) {
        self.add_words(0, other.words);
    }

    /// The sum as a number.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "53 bits are more than the 16 that each square is made of")]
    pub fn total(&self) -> f64 {
        let exponents = (UNIT..).step_by(64);
        self.words.iter().zip(exponents).map(|(word, k)| *word as f64 * 2.0_f64.powi(k)).sum()
    }
}
