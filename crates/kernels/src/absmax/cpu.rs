//! The CPU twin.

use crate::engine::{AbsMax, FloatType};

/// The largest magnitude of whole elements in `bytes`. Patterns without their sign are compared as signed
/// numbers, the comparison every processor has.
pub(crate) fn absmax(dtype: FloatType, bytes: &[u8]) -> AbsMax {
    let pattern = match dtype {
        FloatType::F32 => {
            let elements = bytes.as_chunks().0.iter();
            elements
                .fold(0, |largest, &bytes| largest.max(i32::from_le_bytes(bytes) & i32::MAX))
                .cast_unsigned()
        }
        FloatType::Bf16 | FloatType::F16 => {
            let elements = bytes.as_chunks().0.iter();
            let largest =
                elements.fold(0, |largest, &bytes| largest.max(i16::from_le_bytes(bytes) & i16::MAX));
            u32::from(largest.cast_unsigned())
        }
    };
    AbsMax::from_pattern(pattern, dtype)
}
