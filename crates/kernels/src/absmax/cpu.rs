//! The CPU twin.

use crate::element::{Bf16, Element, F16, F32};
use crate::engine::{AbsMax, FloatType};
use crate::wide::{self, Stretch};
use std::marker::PhantomData;

/// The largest magnitude of whole elements in `bytes`. Patterns without their sign are compared as signed
/// numbers, the comparison every processor has.
pub(crate) fn absmax(dtype: FloatType, bytes: &[u8]) -> AbsMax {
    let pattern = match dtype {
        FloatType::F32 => wide::run(Largest::<F32> { bytes, element: PhantomData }),
        FloatType::Bf16 => wide::run(Largest::<Bf16> { bytes, element: PhantomData }),
        FloatType::F16 => wide::run(Largest::<F16> { bytes, element: PhantomData }),
    };
    AbsMax::from_pattern(pattern, dtype)
}

/// Elements whose largest pattern is wanted, without signs.
struct Largest<'a, E> {
    bytes: &'a [u8],
    element: PhantomData<E>,
}

impl<E: Element> Stretch for Largest<'_, E> {
    type Output = u32;

    /// Sixteen maxima are kept side by side. Four stretches are read at once: a processor fetches ahead of each for
    /// itself, so that together they come nearer to the memory's pace. In WebAssembly that is not worth its bytes.
    #[inline(always)]
    fn run(self) -> u32 {
        let (chunks, rest) = E::blocks(self.bytes);
        let magnitudes = |chunk: &E::Block| E::patterns(chunk).map(|pattern| pattern & E::MAGNITUDE);
        let mut lanes = magnitudes(&E::padded(rest));
        let quarter = if cfg!(target_arch = "wasm32") { 0 } else { chunks.len() / 4 };
        let (quarters, odd) = chunks.split_at(4 * quarter);
        let (front, back) = quarters.split_at(2 * quarter);
        let [(a, b), (c, d)] = [front, back].map(|half| half.split_at(quarter));
        for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
            let (a, b, c, d) = (magnitudes(a), magnitudes(b), magnitudes(c), magnitudes(d));
            for ((((lane, a), b), c), d) in lanes.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *lane = (*lane).max(a.max(b)).max(c.max(d));
            }
        }
        for chunk in odd {
            for (lane, magnitude) in lanes.iter_mut().zip(magnitudes(chunk)) {
                *lane = (*lane).max(magnitude);
            }
        }
        E::pattern_bits(lanes.into_iter().fold(E::Pattern::default(), Ord::max))
    }
}
