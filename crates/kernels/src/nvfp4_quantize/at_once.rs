//! Scales and codes of BF16 in one go, on processors with AVX2.
//!
//! A pair of chunks has its scales found some pairs before its codes: looking a scale up takes a while, and the
//! processor does so for several at once if nothing waits for the result. Four stretches are worked on by turns: the
//! processor fetches ahead of each for itself, so that together they come nearer to the memory's pace.

use super::table::Bf16Tables;
use super::{Nvfp4Block, Nvfp4Table};
use crate::element::Bf16;
use crate::engine::FloatTile;
use crate::nvfp4_encode::buckets::{Buckets, Two};
use crate::rows::runs;
use crate::wide::{self, Stretch};
use pulp::x86::V3;

/// Stretches that are worked on by turns.
const STREAMS: usize = 4;

/// In each of them, by how many pairs the scales are ahead of the codes.
const AHEAD: usize = 2;

/// Quantizes the tile's blocks from `first_block` on, as [`super::cpu::quantize`] does.
pub(crate) fn quantize(
    simd: V3,
    tile: &FloatTile<'_>,
    table: &Nvfp4Table,
    first_block: usize,
    codes: &mut [u8],
    scales: &mut [u8],
) {
    match table.block() {
        Nvfp4Block::Of16 => quantize_blocks::<1>(simd, tile, table, first_block, codes, scales),
        Nvfp4Block::Of32 => quantize_blocks::<2>(simd, tile, table, first_block, codes, scales),
    }
}

fn quantize_blocks<const CHUNKS: usize>(
    simd: V3,
    tile: &FloatTile<'_>,
    table: &Nvfp4Table,
    first_block: usize,
    codes: &mut [u8],
    scales: &mut [u8],
) {
    let (tables, codes) = (table.bf16(), codes.as_chunks_mut().0);
    runs::<Bf16, CHUNKS>(tile, first_block, scales.len(), |done, blocks| {
        let codes = codes.get_mut(done * CHUNKS..).unwrap_or_default();
        let scales = scales.get_mut(done..).unwrap_or_default();
        let chunks = blocks.as_flattened();
        wide::run(Blocks::<CHUNKS> { simd, tables, chunks, scales, codes });
        if let ([last], true) = (chunks.as_chunks::<2>().1, CHUNKS == 1) {
            // The one that has no neighbour is its own.
            let (mut own_codes, mut own_scales) = ([[0; 8]; 2], [0; 2]);
            let chunks = &[*last; 2];
            wide::run(Blocks::<1> { simd, tables, chunks, scales: &mut own_scales, codes: &mut own_codes });
            let at = blocks.len() - 1;
            if let (Some(codes), Some(scale)) = (codes.get_mut(at), scales.get_mut(at)) {
                (*codes, *scale) = (own_codes[0], own_scales[0]);
            }
        }
    });
}

/// Neighbouring chunks, `CHUNKS` of them under each scale byte, and the room for their scales and codes. What has no
/// neighbour at the end is passed over.
struct Blocks<'a, const CHUNKS: usize> {
    simd: V3,
    tables: Bf16Tables<'a>,
    chunks: &'a [[u8; 32]],
    scales: &'a mut [u8],
    codes: &'a mut [[u8; 8]],
}

impl<const CHUNKS: usize> Stretch for Blocks<'_, CHUNKS> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let pairs = self.chunks.len() / 2;
        let stream = pairs / STREAMS;
        let ahead = stream.min(AHEAD);
        for at in 0..ahead {
            for nth in 0..STREAMS {
                self.scales(nth * stream + at);
            }
        }
        for at in ahead..stream {
            for nth in 0..STREAMS {
                self.scales(nth * stream + at);
                self.codes(nth * stream + at - ahead);
            }
        }
        for at in stream - ahead..stream {
            for nth in 0..STREAMS {
                self.codes(nth * stream + at);
            }
        }
        for pair in STREAMS * stream..pairs {
            self.scales(pair);
            self.codes(pair);
        }
    }
}

impl<const CHUNKS: usize> Blocks<'_, CHUNKS> {
    /// The scales of a pair of chunks.
    #[inline(always)]
    fn scales(&mut self, pair: usize) {
        let scales = self.scales.get_mut(pair * 2 / CHUNKS..(pair + 1) * 2 / CHUNKS);
        if let (Some(chunks), Some(scales)) = (self.chunks.as_chunks().0.get(pair), scales) {
            let mut largest = Two::load(self.simd, chunks).largest(self.simd);
            if CHUNKS == 2 {
                largest = [largest[0].max(largest[1]); 2];
            }
            let bytes =
                largest.map(|largest| self.tables.scale[usize::from(largest.cast_unsigned() & 0x7fff)]);
            scales.copy_from_slice(&bytes[..2 / CHUNKS]);
        }
    }

    /// The codes of a pair of chunks whose scales are there.
    #[inline(always)]
    fn codes(&mut self, pair: usize) {
        let scales = self.scales.get(pair * 2 / CHUNKS..(pair + 1) * 2 / CHUNKS);
        let codes = self.codes.as_chunks_mut().0.get_mut(pair);
        if let (Some(chunks), Some(scales), Some(codes)) =
            (self.chunks.as_chunks().0.get(pair), scales, codes)
        {
            *codes =
                Buckets::codes_of_two(self.simd, chunks, [scales[0], scales[2 / CHUNKS - 1]], self.tables);
        }
    }
}
