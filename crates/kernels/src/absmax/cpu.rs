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

    /// Sixteen maxima are kept side by side.
    #[inline(always)]
    fn run(self) -> u32 {
        let (chunks, rest) = E::blocks(self.bytes);
        let mut lanes = E::patterns(&E::padded(rest)).map(|pattern| pattern & E::MAGNITUDE);
        for chunk in chunks {
            for (lane, pattern) in lanes.iter_mut().zip(E::patterns(chunk)) {
                *lane = (*lane).max(pattern & E::MAGNITUDE);
            }
        }
        E::pattern_bits(lanes.into_iter().fold(E::Pattern::default(), Ord::max))
    }
}
