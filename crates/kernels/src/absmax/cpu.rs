//! The CPU twin.

use crate::element::{Bf16, Element, F16, F32};
use crate::engine::{AbsMax, FloatType};

/// The largest magnitude of whole elements in `bytes`.
pub(crate) fn absmax(dtype: FloatType, bytes: &[u8]) -> AbsMax {
    let bits = match dtype {
        FloatType::F32 => F32::f32_bits(largest::<F32>(bytes)),
        FloatType::Bf16 => Bf16::f32_bits(largest::<Bf16>(bytes)),
        FloatType::F16 => F16::f32_bits(largest::<F16>(bytes)),
    };
    AbsMax { bits }
}

fn largest<E: Element>(bytes: &[u8]) -> E::Pattern {
    let mut largest = E::Pattern::default();
    for element in bytes.chunks_exact(E::BYTES) {
        largest = largest.max(E::split(element).0);
    }
    largest
}
