//! The CPU twin: it decides.
//!
//! Candidates that cannot win are passed over, which never changes the answer: the losses of the others
//! bound theirs from below by the very squares of which they are sums. What is left is first summed in F32,
//! which vectors do well; only candidates within the rounding of that are summed in F64 as the
//! specification says.

use super::Candidates;
use crate::element::{Bf16, Element, F16, F32};
use crate::engine::{FloatTile, FloatType};
use crate::rows::runs;
use std::ops::RangeInclusive;

/// The magnitudes of a block.
type Block = [f32; 16];

/// By how much a sum of sixteen F32 squares in F32 and the sum in F64 may differ, twice, and more: each of
/// fifteen additions is off by at most 2^-24, both sums by less than 2^-20.
const ROUNDING: f32 = 1.0 + 1.0 / (1 << 17) as f32;

/// Finds the scales of the tile's blocks from `first_block` on, among the candidates that `ranges` leaves of
/// each block. Tile and room have been checked.
pub(crate) fn search(
    tile: &FloatTile<'_>,
    candidates: &Candidates,
    first_block: usize,
    ranges: Option<&[u32]>,
    scales: &mut [u8],
) {
    match tile.dtype {
        FloatType::F32 => search_elements::<F32>(tile, candidates, first_block, ranges, scales),
        FloatType::Bf16 => search_elements::<Bf16>(tile, candidates, first_block, ranges, scales),
        FloatType::F16 => search_elements::<F16>(tile, candidates, first_block, ranges, scales),
    }
}

fn search_elements<E: Element>(
    tile: &FloatTile<'_>,
    candidates: &Candidates,
    first_block: usize,
    ranges: Option<&[u32]>,
    scales: &mut [u8],
) {
    runs::<E, 1>(tile, first_block, scales.len(), |done, blocks| {
        for (i, (scale, [chunk])) in (done..).zip(scales.iter_mut().skip(done).zip(blocks)) {
            let patterns = E::patterns(chunk).map(|pattern| pattern & E::MAGNITUDE);
            let block = patterns.map(|pattern| f32::from_bits(E::f32_bits(pattern)));
            let amax = block.iter().fold(0.0_f32, |amax, w| amax.max(*w));
            let left = ranges.and_then(|ranges| ranges.get(i)).map(|word| candidates.left(*word));
            let all = candidates.numbers();
            let left = left.unwrap_or_else(|| all.clone());
            let number = if left == all && candidates.can_be_passed_over() {
                sweep(candidates, &block, amax)
            } else {
                first_least(candidates, &block, amax, left)
            };
            *scale = candidates.export(number, amax);
        }
    });
}

/// The first of the candidates `left` with the smallest loss.
fn first_least(candidates: &Candidates, block: &Block, amax: f32, left: RangeInclusive<usize>) -> usize {
    let (mut best, mut least) = (*left.start(), f64::INFINITY);
    if left.start() == left.end() {
        return best;
    }
    for number in left {
        let loss = loss(block, candidates.divisor(number, amax));
        if loss < least {
            (best, least) = (number, loss);
        }
    }
    best
}

/// [`first_least`] of all candidates of a sweep whose divisors rise.
fn sweep(candidates: &Candidates, block: &Block, amax: f32) -> usize {
    const FIRST: usize = 1;
    const LAST: usize = 126;
    let middle = candidates.first_reaching(amax);
    let mut estimates = [f32::INFINITY; 128];
    let mut least = f32::INFINITY;
    let (mut low, mut high) = (middle, middle);
    for (number, slot) in estimates.iter_mut().enumerate().take(LAST + 1).skip(middle) {
        let (zeros, others) = estimate(block, candidates.divisor(number, amax));
        high = number;
        *slot = zeros + others;
        least = least.min(*slot);
        // An element that is rounded to zero is rounded to zero by every larger divisor, and its square is
        // then a part of every loss. If there is nothing else in this loss, none of those is smaller.
        if zeros > least * ROUNDING || others == 0.0 {
            break;
        }
    }
    for number in (FIRST..middle).rev() {
        let divisor = candidates.divisor(number, amax);
        // The largest element is rounded to six divisors, and farther away the smaller the divisor is.
        let beyond = amax - 6.0 * divisor;
        if beyond > 0.0 && beyond * beyond > least * ROUNDING {
            break;
        }
        low = number;
        let (zeros, others) = estimate(block, divisor);
        estimates[number] = zeros + others;
        least = least.min(estimates[number]);
    }
    if !least.is_finite() {
        return first_least(candidates, block, amax, FIRST..=LAST);
    }
    let (mut best, mut least_loss) = (low, f64::INFINITY);
    let within = least * ROUNDING;
    let mut close = (low..=high).filter(|&number| estimates[number] <= within);
    if let (Some(only), None) = (close.next(), close.next()) {
        return only;
    }
    for number in (low..=high).filter(|&number| estimates[number] <= within) {
        let loss = loss(block, candidates.divisor(number, amax));
        if loss < least_loss {
            (best, least_loss) = (number, loss);
        }
    }
    best
}

/// The loss of a block as the specification sums it.
fn loss(block: &Block, divisor: f32) -> f64 {
    let (squares, _) = squares(block, divisor);
    squares.iter().fold(0.0, |sum, square| sum + f64::from(*square))
}

/// The loss summed in F32 in an order of its own, in two parts: that of the elements that are rounded to
/// zero, and that of the others.
#[inline(always)]
fn estimate(block: &Block, divisor: f32) -> (f32, f32) {
    let (squares, rounded) = squares(block, divisor);
    let (mut zeros, mut others) = (squares, squares);
    for ((zero, other), rounded) in zeros.iter_mut().zip(&mut others).zip(rounded) {
        let is_zero = rounded == 0.0;
        *zero = if is_zero { *zero } else { 0.0 };
        *other = if is_zero { 0.0 } else { *other };
    }
    (sum(&zeros), sum(&others))
}

fn sum(values: &[f32; 16]) -> f32 {
    let mut lanes = [0.0; 4];
    for four in values.as_chunks::<4>().0 {
        for (lane, value) in lanes.iter_mut().zip(four) {
            *lane += value;
        }
    }
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
}

/// The squares of the errors, and the E2M1 magnitudes the elements are rounded to. F32, rounded after each
/// step; the loop becomes vectors.
#[inline(always)]
fn squares(block: &Block, divisor: f32) -> ([f32; 16], [f32; 16]) {
    let mut squares = [0.0; 16];
    let mut rounded = [0.0; 16];
    for ((square, rounded), weight) in squares.iter_mut().zip(&mut rounded).zip(block) {
        *rounded = e2m1_magnitude(weight / divisor);
        let error = weight - *rounded * divisor;
        *square = error * error;
    }
    (squares, rounded)
}

/// The E2M1 magnitude nearest to a ratio that is not negative, ties to the even code; 6 for NaN.
///
/// Between 0 and 2 the magnitudes are multiples of 1/2, up to 4 of 1, up to 6 of 2, and the even code is
/// the even multiple. Adding 1.5 * 2^23 such steps leaves no room for a fraction of one: the addition itself
/// rounds, ties to even.
#[inline(always)]
fn e2m1_magnitude(ratio: f32) -> f32 {
    let ratio = if ratio < 6.0 { ratio } else { 6.0 };
    let half_binade = f32::from_bits(ratio.to_bits() & 0x7f80_0000) * 0.5;
    let step = if half_binade > 0.5 { half_binade } else { 0.5 };
    let shift = step * 12_582_912.0;
    (ratio + shift) - shift
}

#[cfg(test)]
mod tests {
    use super::e2m1_magnitude;
    use quantscope_numeric::e2m1;

    /// Every ratio in steps of 257 patterns, and all patterns around the boundaries.
    #[test]
    fn magnitudes_are_those_of_the_table() {
        let around = |bound: f32| bound.to_bits() - 300..bound.to_bits() + 300;
        let bounds = [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0];
        let patterns = (0..=0x7fc0_0000).step_by(257).chain(bounds.into_iter().flat_map(around));
        for ratio in patterns.map(f32::from_bits) {
            let expected = e2m1::decode(e2m1::encode_nvfp4(ratio));
            assert_eq!(e2m1_magnitude(ratio).to_bits(), expected.to_bits(), "{ratio:e}");
        }
    }
}
