//! Codes of BF16 by a look into a table of sixteen bytes, on processors with AVX2: two chunks side by side.
//!
//! Beyond the first threshold no two lie within 32 neighbouring patterns, for the bounds of a code are a factor of 1.4
//! apart at least. So patterns are put into buckets of 32, counted from the first threshold on, of which each holds one
//! threshold at the most. The byte of a bucket tells both the code at its beginning and where the next code begins:
//! added to the place of a pattern in its bucket, it carries into the code from the threshold on. Within 16 buckets lie
//! all thresholds but the first, which is where counting begins.

use super::cpu::chunk_codes;
use crate::element::Bf16;
use crate::engine::FloatTile;
use crate::nvfp4_quantize::{Bf16Tables, CodeThresholds, Nvfp4Block, Nvfp4Table};
use crate::rows::runs;
use crate::wide::{self, Stretch};
use pulp::x86::V3;
use std::arch::x86_64::{__m128i, __m256i};

/// Patterns of a bucket.
const BUCKET: u8 = 32;

/// Buckets after the first threshold that hold none, beside the first one that is kept: the second threshold is a
/// factor of 3 away.
const EMPTY: u8 = 4;

/// The thresholds of one scale as vectors take them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(32))]
pub(crate) struct Buckets {
    /// For each bucket 32 times the code at its beginning, and by how much its threshold falls short of its end.
    /// The first bucket counts for all before it, the last one for all after it.
    carry: [u8; 16],
    /// The last pattern of code 0, once for each lane; negative if there are no buckets for this scale.
    zero_last: [i16; 8],
}

impl Buckets {
    /// For a scale whose thresholds are not as [`Self::of`] wants them.
    const NONE: Self = Self { carry: [0; 16], zero_last: [-1; 8] };

    /// The buckets of these thresholds, if they are as those of plain scales are: in order, not too near, and every
    /// negative number but zero with its sign.
    pub(crate) fn of([zero_last, above @ .., sign_last]: &CodeThresholds<i16>) -> Self {
        let mut carry = [BUCKET; 16];
        let first = i32::from(*zero_last) + i32::from(EMPTY) * i32::from(BUCKET);
        // The buckets from here on are still empty. The first one stays so: it counts for all before it.
        let mut next = 1;
        for last in above {
            let begin = i32::from(*last) + 1 - first;
            let bucket = usize::try_from(begin / i32::from(BUCKET)).unwrap_or(0);
            let place = u8::try_from(begin % i32::from(BUCKET)).unwrap_or(0);
            // The last bucket has no threshold within it either: it counts for all after it.
            let there = bucket >= next && bucket + usize::from(place > 0) < carry.len();
            let Some((carry, after)) =
                carry.get_mut(bucket..).filter(|_| there).and_then(<[u8]>::split_first_mut)
            else {
                return Self::NONE;
            };
            *carry += BUCKET - place;
            after.iter_mut().for_each(|carry| *carry += BUCKET);
            next = bucket + 1;
        }
        if *zero_last < 0 || *sign_last != 0 {
            return Self::NONE;
        }
        Self { carry, zero_last: [*zero_last; 8] }
    }

    /// The codes of two chunks, each under its scale byte.
    #[inline(always)]
    pub(crate) fn codes_of_two(
        simd: V3,
        chunks: &[[u8; 32]; 2],
        scales: [u8; 2],
        tables: Bf16Tables<'_>,
    ) -> [[u8; 8]; 2] {
        let [a, b] = [0, 1].map(|i| &tables.buckets[usize::from(scales[i] & 0x7f)]);
        if a.zero_last[0] >= 0 && b.zero_last[0] >= 0 {
            return Two::load(simd, chunks).codes(simd, [a, b]);
        }
        let mut codes = [[0; 8]; 2];
        for ((codes, chunk), scale) in codes.iter_mut().zip(chunks).zip(scales) {
            chunk_codes::<Bf16>(chunk, scale, tables.code_last, codes);
        }
        codes
    }
}

/// Two chunks of sixteen elements, each in a half of the vectors: its first eight, and its other eight.
#[derive(Clone, Copy)]
pub(crate) struct Two {
    patterns: [__m256i; 2],
    magnitudes: [__m256i; 2],
}

impl Two {
    #[inline(always)]
    pub(crate) fn load(simd: V3, chunks: &[[u8; 32]; 2]) -> Self {
        let [a, b] = chunks.map(bytemuck::cast::<_, [__m128i; 2]>);
        let patterns = [both(simd, a[0], b[0]), both(simd, a[1], b[1])];
        let all_but_sign = simd.avx._mm256_set1_epi16(i16::MAX);
        Self {
            patterns,
            magnitudes: patterns.map(|pattern| simd.avx2._mm256_and_si256(pattern, all_but_sign)),
        }
    }

    /// The largest magnitude of each chunk.
    #[inline(always)]
    pub(crate) fn largest(self, simd: V3) -> [i16; 2] {
        let V3 { avx, avx2, sse4_1, .. } = simd;
        let largest = avx2._mm256_max_epi16(self.magnitudes[0], self.magnitudes[1]);
        // There is an instruction for the least of eight lanes.
        let flipped = avx2._mm256_xor_si256(largest, avx._mm256_set1_epi16(i16::MAX));
        let least = |lanes| bytemuck::cast::<_, [i16; 8]>(sse4_1._mm_minpos_epu16(lanes))[0] ^ i16::MAX;
        [least(avx._mm256_castsi256_si128(flipped)), least(avx2._mm256_extracti128_si256::<1>(flipped))]
    }

    /// Their codes, two in a byte, the first one low.
    #[inline(always)]
    pub(crate) fn codes(self, simd: V3, [a, b]: [&Buckets; 2]) -> [[u8; 8]; 2] {
        let V3 { avx, avx2, sse2, .. } = simd;
        let words = |word: i16| avx._mm256_set1_epi16(word);
        let bytes = |byte: i8| avx._mm256_set1_epi8(byte);
        let packed = |[low, high]: [__m256i; 2]| avx2._mm256_packus_epi16(low, high);
        let zero_last = both(simd, bytemuck::cast(a.zero_last), bytemuck::cast(b.zero_last));
        let carry = both(simd, bytemuck::cast(a.carry), bytemuck::cast(b.carry));

        // How far beyond the last zero: places in buckets, buckets, and in bytes, cut down to what fits.
        let beyond = self.magnitudes.map(|magnitude| avx2._mm256_subs_epu16(magnitude, zero_last));
        let place = packed(beyond.map(|beyond| avx2._mm256_and_si256(beyond, words(BUCKET as i16 - 1))));
        let bucket = packed(beyond.map(|beyond| avx2._mm256_srli_epi16::<5>(beyond)));
        let bucket =
            avx2._mm256_min_epu8(avx2._mm256_subs_epu8(bucket, bytes(EMPTY.cast_signed())), bytes(15));
        let carried = avx2._mm256_add_epi8(place, avx2._mm256_shuffle_epi8(carry, bucket));
        let code = avx2._mm256_and_si256(avx2._mm256_srli_epi16::<5>(carried), bytes(7));
        // Zero where nothing is beyond; from code 2 on it is more than 7.
        let code = avx2._mm256_min_epu8(code, packed(beyond));

        // Not zero for what is below zero; the sum then ends at 248 at least, whose bit of the sign is set.
        let below = packed(self.patterns.map(|pattern| avx2._mm256_subs_epu16(pattern, words(i16::MIN))));
        let sign = avx2._mm256_and_si256(avx2._mm256_adds_epu8(below, bytes(-9)), bytes(8));
        let pairs = avx2._mm256_maddubs_epi16(avx2._mm256_or_si256(code, sign), words(0x1001));
        let (first, second) = (avx._mm256_castsi256_si128(pairs), avx2._mm256_extracti128_si256::<1>(pairs));
        bytemuck::cast(sse2._mm_packus_epi16(first, second))
    }
}

#[inline(always)]
fn both(simd: V3, a: __m128i, b: __m128i) -> __m256i {
    simd.avx2._mm256_inserti128_si256::<1>(simd.avx._mm256_castsi128_si256(a), b)
}

/// Writes the codes of the tile's blocks from `first_block` on, as [`super::cpu::encode`] does.
pub(crate) fn encode(
    simd: V3,
    tile: &FloatTile<'_>,
    table: &Nvfp4Table,
    first_block: usize,
    scales: &[u8],
    codes: &mut [u8],
) {
    match table.block() {
        Nvfp4Block::Of16 => encode_blocks::<1>(simd, tile, table, first_block, scales, codes),
        Nvfp4Block::Of32 => encode_blocks::<2>(simd, tile, table, first_block, scales, codes),
    }
}

fn encode_blocks<const CHUNKS: usize>(
    simd: V3,
    tile: &FloatTile<'_>,
    table: &Nvfp4Table,
    first_block: usize,
    scales: &[u8],
    codes: &mut [u8],
) {
    let (tables, codes) = (table.bf16(), codes.as_chunks_mut().0);
    runs::<Bf16, CHUNKS>(tile, first_block, scales.len(), |done, blocks| {
        let codes = codes.get_mut(done * CHUNKS..).unwrap_or_default();
        let scales = scales.get(done..).unwrap_or_default();
        wide::run(Codes::<CHUNKS> { simd, tables, chunks: blocks.as_flattened(), scales, codes });
    });
}

/// Neighbouring chunks, `CHUNKS` of them under each scale byte, and the room for their codes.
struct Codes<'a, const CHUNKS: usize> {
    simd: V3,
    tables: Bf16Tables<'a>,
    chunks: &'a [[u8; 32]],
    scales: &'a [u8],
    codes: &'a mut [[u8; 8]],
}

impl<const CHUNKS: usize> Stretch for Codes<'_, CHUNKS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let scale = |chunk: usize| self.scales.get(chunk / CHUNKS).copied().unwrap_or_default();
        let (pairs, odd) = self.chunks.as_chunks();
        let (codes, odd_codes) = self.codes.as_chunks_mut();
        for (i, (codes, chunks)) in codes.iter_mut().zip(pairs).enumerate() {
            *codes = Buckets::codes_of_two(self.simd, chunks, [scale(2 * i), scale(2 * i + 1)], self.tables);
        }
        // Where the chunks are odd in number, the room for codes may be longer than they are.
        let odd_codes = codes.get_mut(pairs.len()).map_or(odd_codes, |codes| &mut codes[..]);
        for (codes, chunk) in odd_codes.iter_mut().zip(odd) {
            chunk_codes::<Bf16>(chunk, scale(self.chunks.len() - 1), self.tables.code_last, codes);
        }
    }
}
