//! The CPU twin. It subtracts with the processor's own F32, which is IEEE 754 wherever Rust runs, and so the
//! same bits as the shader's integers.

use super::{EXPONENTS, ErrorMetrics, Squares};
use crate::element::{Bf16, Element, F16, F32};
use crate::engine::FloatType;

const MAGNITUDE: u32 = 0x7fff_ffff;
const INFINITY: u32 = 0x7f80_0000;

/// The metrics of whole elements in `source` and as many decoded ones.
pub(crate) fn metrics(dtype: FloatType, source: &[u8], decoded: &[u32]) -> ErrorMetrics {
    match dtype {
        FloatType::F32 => metrics_of::<F32>(source, decoded),
        FloatType::Bf16 => metrics_of::<Bf16>(source, decoded),
        FloatType::F16 => metrics_of::<F16>(source, decoded),
    }
}

/// Sums by exponent, kept several times over: neighbours mostly have the same exponent, and would otherwise wait for
/// each other's sum.
type Lanes = [[u64; EXPONENTS]; LANES];
const LANES: usize = 4;

fn metrics_of<E: Element>(source: &[u8], decoded: &[u32]) -> ErrorMetrics {
    let (mut signal, mut error): (Lanes, Lanes) = ([[0; EXPONENTS]; LANES], [[0; EXPONENTS]; LANES]);
    let (mut max_abs_bits, mut not_finite) = (0, 0);
    let (chunks, rest) = E::blocks(source);
    let last = E::padded(rest);
    let chunks = chunks.iter().chain(std::iter::once(&last));
    for (chunk, decoded) in chunks.zip(decoded.chunks(16)) {
        let sources = E::patterns(chunk).map(|pattern| E::value(pattern).to_bits());
        let pairs = sources.as_chunks::<LANES>().0.iter().zip(decoded.chunks(LANES));
        for (sources, decoded) in pairs {
            let lanes = signal.iter_mut().zip(&mut error);
            for (((signal, error), &source), &decoded) in lanes.zip(sources).zip(decoded) {
                let difference = (f32::from_bits(source) - f32::from_bits(decoded)).to_bits() & MAGNITUDE;
                // The difference of what is not finite is not finite.
                if difference >= INFINITY {
                    not_finite += 1;
                    continue;
                }
                max_abs_bits = max_abs_bits.max(difference);
                count(signal, source & MAGNITUDE);
                count(error, difference);
            }
        }
    }
    let summed = |lanes: Lanes| {
        let [first, others @ ..] = lanes;
        others.iter().fold(first, |mut sums, lane| {
            sums.iter_mut().zip(lane).for_each(|(sum, more)| *sum += more);
            sums
        })
    };
    let [signal, error] = [signal, error].map(|lanes| Squares::new(summed(lanes)));
    ErrorMetrics { not_finite, max_abs_bits, signal, error }
}

/// Adds the square of the leading 16 bits of a finite magnitude to the sum of its exponent.
#[inline(always)]
fn count(sums: &mut [u64; EXPONENTS], magnitude: u32) {
    // Of zero the shift is 9 and the significand 0, which adds nothing to the first sum.
    let field = magnitude >> 23;
    let (exponent, significand) = if field != 0 {
        (field + 22, (magnitude & 0x7f_ffff) | 0x80_0000)
    } else {
        let shift = (magnitude | 1).leading_zeros() - 8;
        (23 - shift, magnitude << shift)
    };
    let leading = u64::from(significand >> 8);
    if let Some(sum) = sums.get_mut(exponent as usize) {
        *sum += leading * leading;
    }
}
