//! Staircases by a look into a table of sixteen bytes, on processors with AVX-512.
//!
//! Steps are at least eight mantissas apart: between 1 and 2 codes are an eighth apart, below 1 a sixteenth, and the
//! 128 mantissas of an exponent reach over both at the most. So mantissas are put into buckets of eight, of which each
//! holds one step at the most, and the byte of a bucket tells both the code at its beginning and where the step lies:
//! added to the place of a mantissa in its bucket, it carries into the code from the step on.

use super::staircase::{LANES, LARGEST, MOST_EXPONENTS, STEPS, SUBNORMAL};
use crate::wide;
use pulp::x86::V4;
use std::arch::x86_64::__m512i;

/// Mantissas of a bucket.
const BUCKET: u8 = 8;

/// A staircase as vectors take it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lookup {
    simd: V4,
    /// For each bucket eight times the code at its beginning, and by how much its step falls short of its end.
    carry: [u8; 16],
    /// The largest exponent all of whose codes are 0.
    zero_exponent: u8,
}

impl Lookup {
    /// The staircase with these codes, if the processor can look it up and its steps are far enough from each other.
    #[inline(always)]
    pub(super) fn of(zero_exponent: u8, base: u8, last: [i8; STEPS]) -> Option<Self> {
        let simd = wide::avx512()?;
        let mut carry = [base.checked_mul(BUCKET)?; 16];
        let mut next = 0;
        for last in last.into_iter().filter(|last| *last < i8::MAX) {
            let begin = u8::try_from(last + 1).ok()?;
            let bucket = usize::from(begin / BUCKET);
            let (carry, after) = carry.get_mut(bucket..).filter(|_| bucket >= next)?.split_first_mut()?;
            *carry = carry.checked_add(BUCKET - begin % BUCKET)?;
            for carry in after {
                *carry = carry.checked_add(BUCKET)?;
            }
            next = bucket + 1;
        }
        // A place within a bucket must still fit.
        carry.iter().all(|carry| *carry <= u8::MAX - (BUCKET - 1)).then_some(Self {
            simd,
            carry,
            zero_exponent,
        })
    }

    /// What [`super::staircase::Staircase::encode`] answers. `N` is a multiple of 64.
    #[inline(always)]
    pub(super) fn encode<const N: usize>(&self, elements: &[[u8; 2]; N], codes: &mut [u8; N]) -> bool {
        let Self { simd: V4 { avx512f, avx512bw, .. }, carry, zero_exponent } = *self;
        let bytes = |byte: u8| avx512f._mm512_set1_epi8(byte.cast_signed());
        let and = |a, b| avx512f._mm512_and_si512(a, b);
        let packed = |[low, high]: [__m512i; 2]| avx512bw._mm512_packus_epi16(low, high);
        let carry = avx512f._mm512_broadcast_i32x4(bytemuck::cast(carry));
        let in_order = bytemuck::cast([0_u64, 2, 4, 6, 1, 3, 5, 7]);
        let mut least = bytes(u8::MAX);
        for (elements, codes) in elements.as_chunks::<LANES>().0.iter().zip(codes.as_chunks_mut::<LANES>().0)
        {
            let patterns: [__m512i; 2] = bytemuck::cast(*elements);
            let doubled = patterns.map(|pattern| avx512bw._mm512_add_epi16(pattern, pattern));
            let exponent = packed(doubled.map(|doubled| avx512bw._mm512_srli_epi16::<8>(doubled)));
            let mantissa = packed(patterns.map(|pattern| and(pattern, avx512f._mm512_set1_epi16(0x7f))));

            let bucket = and(avx512bw._mm512_srli_epi16::<3>(mantissa), bytes(15));
            let place = and(mantissa, bytes(BUCKET - 1));
            let carried = avx512bw._mm512_add_epi8(place, avx512bw._mm512_shuffle_epi8(carry, bucket));
            let step = and(avx512bw._mm512_srli_epi16::<3>(carried), bytes(31));

            let above = avx512bw._mm512_subs_epu8(exponent, bytes(zero_exponent));
            let normal = avx512bw._mm512_subs_epu8(above, bytes(SUBNORMAL + 1));
            let normal = avx512bw._mm512_min_epu8(normal, bytes(MOST_EXPONENTS));
            let magnitude = avx512bw._mm512_add_epi8(step, avx512bw._mm512_slli_epi16::<3>(normal));
            let is_above = avx512bw._mm512_test_epi8_mask(above, above);
            let magnitude = avx512bw._mm512_maskz_min_epu8(is_above, magnitude, bytes(LARGEST));
            // Packing keeps what is below zero below it.
            let sign = avx512bw._mm512_packs_epi16(patterns[0], patterns[1]);
            let code = avx512f._mm512_or_si512(magnitude, and(sign, bytes(0x80)));
            // Packing took quarters by turns.
            *codes = bytemuck::cast(avx512f._mm512_permutexvar_epi64(in_order, code));

            // 0 becomes the largest: it is no subnormal. What is left above an exponent is as small where it is huge.
            let above = avx512bw._mm512_sub_epi8(above, bytes(1));
            let short_of_huge = avx512bw._mm512_sub_epi8(bytes(u8::MAX), exponent);
            least = avx512bw._mm512_min_epu8(least, avx512bw._mm512_min_epu8(above, short_of_huge));
        }
        avx512bw._mm512_cmplt_epu8_mask(least, bytes(SUBNORMAL)) == 0
    }
}
