//! Reading numbers from the bytes of a tensor's part, and sizes that hostile shapes cannot overflow.

use quantscope_numeric::{Dtype, widen};

/// A length as an index; the largest one where it does not fit, which no slice has.
pub(crate) fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Numbers of a float type in F32; empty for other types.
pub(crate) fn floats(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let mut values = Vec::new();
    widen(dtype, bytes, &mut values);
    values
}

/// The first number of a part; NaN where there is none, so that nothing is decoded by accident.
pub(crate) fn scalar(dtype: Dtype, bytes: Option<&[u8]>) -> f32 {
    bytes.and_then(|b| floats(dtype, b).first().copied()).unwrap_or(f32::NAN)
}

/// Room for more values behind those that are there, as the patterns that kernels write: so they are written once.
pub(crate) fn room(values: &mut Vec<f32>, count: usize) -> &mut [u32] {
    let begin = values.len();
    values.resize(begin.saturating_add(count), 0.0);
    bytemuck::cast_slice_mut(values.get_mut(begin..).unwrap_or_default())
}

/// A part as a slice; empty where the caller gave too few.
pub(crate) fn part(parts: &[Vec<u8>], at: usize) -> &[u8] {
    parts.get(at).map(Vec::as_slice).unwrap_or_default()
}
