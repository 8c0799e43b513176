//! The CPU twin: a block at a time, the same comparisons as the shader.

use super::{Nvfp4Block, Nvfp4Table};
use crate::element::{Bf16, Element, F16, F32};
use crate::engine::{FloatTile, FloatType};
use crate::nvfp4_encode;
use crate::rows::runs;
use crate::wide::{self, Stretch};

/// Blocks whose source stays in the nearest cache between its two readings.
const RUN: usize = 128;

/// Quantizes the tile's blocks from `first_block` on: as many as `scales` has room for. `codes` has half a
/// byte an element. Tile and room have been checked.
///
/// First all scales of a run, then all codes: looking a scale up takes a while, and the processor does so
/// for several blocks at once if nothing waits for the result.
pub(crate) fn quantize(
    tile: &FloatTile<'_>,
    table: &Nvfp4Table,
    first_block: usize,
    codes: &mut [u8],
    scales: &mut [u8],
) {
    #[cfg(all(target_arch = "x86_64", not(quantscope_narrow)))]
    if let (FloatType::Bf16, Some(simd)) = (tile.dtype, wide::avx2()) {
        return super::at_once::quantize(simd, tile, table, first_block, codes, scales);
    }
    let code_bytes = table.block().code_bytes();
    for (i, (codes, scales)) in codes.chunks_mut(RUN * code_bytes).zip(scales.chunks_mut(RUN)).enumerate() {
        let first_block = first_block + i * RUN;
        scale_bytes(tile, table, first_block, scales);
        nvfp4_encode::cpu::encode(tile, table, first_block, scales, codes);
    }
}

/// The scale bytes of the tile's blocks from `first_block` on.
fn scale_bytes(tile: &FloatTile<'_>, table: &Nvfp4Table, first_block: usize, scales: &mut [u8]) {
    match (tile.dtype, table.block()) {
        (FloatType::F32, Nvfp4Block::Of16) => scales_of::<F32, 1>(tile, table, first_block, scales),
        (FloatType::F32, Nvfp4Block::Of32) => scales_of::<F32, 2>(tile, table, first_block, scales),
        (FloatType::Bf16, Nvfp4Block::Of16) => scales_of::<Bf16, 1>(tile, table, first_block, scales),
        (FloatType::Bf16, Nvfp4Block::Of32) => scales_of::<Bf16, 2>(tile, table, first_block, scales),
        (FloatType::F16, Nvfp4Block::Of16) => scales_of::<F16, 1>(tile, table, first_block, scales),
        (FloatType::F16, Nvfp4Block::Of32) => scales_of::<F16, 2>(tile, table, first_block, scales),
    }
}

fn scales_of<E: Element, const CHUNKS: usize>(
    tile: &FloatTile<'_>,
    table: &Nvfp4Table,
    first_block: usize,
    scales: &mut [u8],
) {
    runs::<E, CHUNKS>(tile, first_block, scales.len(), |done, blocks| {
        let scales = scales.get_mut(done..).unwrap_or_default();
        wide::run(Scales::<E, CHUNKS> { table, blocks, scales });
    });
}

/// Neighbouring blocks and the room for their scale bytes.
struct Scales<'a, E: Element, const CHUNKS: usize> {
    table: &'a Nvfp4Table,
    blocks: &'a [[E::Block; CHUNKS]],
    scales: &'a mut [u8],
}

impl<E: Element, const CHUNKS: usize> Stretch for Scales<'_, E, CHUNKS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (scale, block) in self.scales.iter_mut().zip(self.blocks) {
            let mut amax = E::Pattern::default();
            for chunk in block {
                amax = amax.max(largest::<E>(chunk));
            }
            *scale = E::scale_byte(self.table, amax);
        }
    }
}

#[inline(always)]
fn largest<E: Element>(chunk: &E::Block) -> E::Pattern {
    let magnitudes = E::patterns(chunk).map(|pattern| pattern & E::MAGNITUDE);
    magnitudes.into_iter().fold(E::Pattern::default(), Ord::max)
}
