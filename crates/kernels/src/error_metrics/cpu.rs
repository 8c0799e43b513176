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

fn metrics_of<E: Element>(source: &[u8], decoded: &[u32]) -> ErrorMetrics {
    let mut signal = [0; EXPONENTS];
    let mut error = [0; EXPONENTS];
    let (mut max_abs_bits, mut not_finite) = (0, 0);
    let (chunks, rest) = E::blocks(source);
    let last = E::padded(rest);
    let chunks = chunks.iter().chain(std::iter::once(&last));
    for (chunk, decoded) in chunks.zip(decoded.chunks(16)) {
        for (pattern, &decoded) in E::patterns(chunk).into_iter().zip(decoded) {
            let source = E::signed_f32_bits(pattern);
            let difference = (f32::from_bits(source) - f32::from_bits(decoded)).to_bits() & MAGNITUDE;
            let magnitude = source & MAGNITUDE;
            // The difference of what is not finite is not finite.
            if difference >= INFINITY {
                not_finite += 1;
                continue;
            }
            max_abs_bits = max_abs_bits.max(difference);
            count(&mut signal, magnitude);
            count(&mut error, difference);
        }
    }
    ErrorMetrics { not_finite, max_abs_bits, signal: Squares::new(signal), error: Squares::new(error) }
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
