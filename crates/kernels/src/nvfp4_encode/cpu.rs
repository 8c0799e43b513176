//! The CPU twin: a block at a time, the same comparisons as the shader.

use crate::element::{Bf16, Element, F16, F32};
use crate::engine::{FloatTile, FloatType};
use crate::nvfp4_quantize::{Nvfp4Block, Nvfp4Table};
use crate::rows::runs;
use crate::wide::{self, Stretch};

/// Writes the codes of the tile's blocks from `first_block` on, one block for each byte of `scales`.
/// `codes` has half a byte an element. Tile and room have been checked.
pub(crate) fn encode(
    tile: &FloatTile<'_>,
    table: &Nvfp4Table,
    first_block: usize,
    scales: &[u8],
    codes: &mut [u8],
) {
    #[cfg(all(target_arch = "x86_64", not(quantscope_narrow)))]
    if let (FloatType::Bf16, Some(simd)) = (tile.dtype, wide::avx2()) {
        return super::buckets::encode(simd, tile, table, first_block, scales, codes);
    }
    match (tile.dtype, table.block()) {
        (FloatType::F32, Nvfp4Block::Of16) => codes_of::<F32, 1>(tile, table, first_block, scales, codes),
        (FloatType::F32, Nvfp4Block::Of32) => codes_of::<F32, 2>(tile, table, first_block, scales, codes),
        (FloatType::Bf16, Nvfp4Block::Of16) => codes_of::<Bf16, 1>(tile, table, first_block, scales, codes),
        (FloatType::Bf16, Nvfp4Block::Of32) => codes_of::<Bf16, 2>(tile, table, first_block, scales, codes),
        (FloatType::F16, Nvfp4Block::Of16) => codes_of::<F16, 1>(tile, table, first_block, scales, codes),
        (FloatType::F16, Nvfp4Block::Of32) => codes_of::<F16, 2>(tile, table, first_block, scales, codes),
    }
}

fn codes_of<E: Element, const CHUNKS: usize>(
    tile: &FloatTile<'_>,
    table: &Nvfp4Table,
    first_block: usize,
    scales: &[u8],
    codes: &mut [u8],
) {
    let code_last = E::code_last(table);
    let (codes, _) = codes.as_chunks_mut::<8>().0.as_chunks_mut::<CHUNKS>();
    runs::<E, CHUNKS>(tile, first_block, scales.len(), |done, blocks| {
        let codes = codes.get_mut(done..).unwrap_or_default();
        let scales = scales.get(done..).unwrap_or_default();
        wide::run(Codes::<E, CHUNKS> { code_last, blocks, scales, codes });
    });
}

/// Neighbouring blocks, the scale byte of each, and the room for its codes.
struct Codes<'a, E: Element, const CHUNKS: usize> {
    code_last: &'a [[E::Pattern; 8]],
    blocks: &'a [[E::Block; CHUNKS]],
    scales: &'a [u8],
    codes: &'a mut [[[u8; 8]; CHUNKS]],
}

impl<E: Element, const CHUNKS: usize> Stretch for Codes<'_, E, CHUNKS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for ((codes, scale), block) in self.codes.iter_mut().zip(self.scales).zip(self.blocks) {
            for (codes, chunk) in codes.iter_mut().zip(block) {
                chunk_codes::<E>(chunk, *scale, self.code_last, codes);
            }
        }
    }
}

/// The codes of one chunk under a scale byte.
#[inline(always)]
pub(super) fn chunk_codes<E: Element>(
    chunk: &E::Block,
    scale: u8,
    code_last: &[[E::Pattern; 8]],
    codes: &mut [u8; 8],
) {
    if let Some(thresholds) = code_last.get(usize::from(scale & 0x7f)) {
        E::codes(E::patterns(chunk), thresholds, codes);
    }
}
