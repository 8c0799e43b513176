//! Elements of plain floats as numbers, a stretch at a time: loops short enough to become vectors.

use crate::engine::FloatType;
use crate::nvfp4_quantize::CodeCast;
use quantscope_numeric::{f32_bits_from_bf16, f32_bits_from_f16, round_to_bf16, round_to_f16};

/// The pattern that both twins give for a result that is not a number. Which NaN an operation makes, and
/// whether it keeps a payload, depends on the processor.
pub(crate) const NAN_BITS: u32 = 0x7fc0_0000;

/// The bits of a number, those of every NaN being [`NAN_BITS`].
#[inline(always)]
pub(crate) fn bits(value: f32) -> u32 {
    if value.is_nan() { NAN_BITS } else { value.to_bits() }
}

/// Widens little-endian elements into `values`, as many as both hold. Exact.
#[inline(always)]
pub(crate) fn widen(dtype: FloatType, bytes: &[u8], values: &mut [f32]) {
    match dtype {
        FloatType::F32 => {
            for (value, &word) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(word);
            }
        }
        FloatType::Bf16 => widen_halves(bytes, values, f32_bits_from_bf16),
        FloatType::F16 => widen_halves(bytes, values, f32_bits_from_f16),
    }
}

/// Eight at a time, a length that the compiler knows: so their loads become vector loads.
#[inline(always)]
fn widen_halves(bytes: &[u8], values: &mut [f32], bits: impl Fn(u16) -> u32) {
    let runs = bytes.as_chunks::<16>().0;
    let value_runs = values.as_chunks_mut::<8>().0;
    let whole = runs.len().min(value_runs.len());
    for (values, run) in value_runs.iter_mut().zip(runs) {
        let halves: [u16; 8] = bytemuck::cast(*run);
        *values = halves.map(|half| f32::from_bits(bits(u16::from_le(half))));
    }
    let (rest, _) = bytes.get(16 * whole..).unwrap_or_default().as_chunks::<2>();
    let rest_values = values.get_mut(8 * whole..).unwrap_or_default();
    for (value, &half) in rest_values.iter_mut().zip(rest) {
        *value = f32::from_bits(bits(u16::from_le_bytes(half)));
    }
}

/// Rounds every value as the cast does.
#[inline(always)]
pub(crate) fn cast(cast: CodeCast, values: &mut [f32]) {
    match cast {
        CodeCast::Keep => {}
        CodeCast::ToBf16 => values.iter_mut().for_each(|value| *value = round_to_bf16(*value)),
        CodeCast::ToF16 => values.iter_mut().for_each(|value| *value = round_to_f16(*value)),
    }
}
