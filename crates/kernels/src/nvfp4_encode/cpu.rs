//! The CPU twin: a block at a time, the same comparisons as the shader.

use crate::element::{Bf16, Element, F16, F32};
use crate::engine::{FloatTile, FloatType};
use crate::nvfp4_quantize::{Nvfp4Block, Nvfp4Table};
use crate::rows::runs;

/// Writes the codes of the tile's blocks from `first_block` on, one block for each byte of `scales`.
/// `codes` has half a byte an element. Tile and room have been checked.
pub(crate) fn encode(
    tile: &FloatTile<'_>,
    table: &Nvfp4Table,
    first_block: usize,
    scales: &[u8],
    codes: &mut [u8],
) {
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
        let places = codes.iter_mut().zip(scales).skip(done);
        for ((codes, scale), block) in places.zip(blocks) {
            if let Some(thresholds) = code_last.get(usize::from(*scale & 0x7f)) {
                for (codes, chunk) in codes.iter_mut().zip(block) {
                    chunk_codes::<E>(chunk, thresholds, codes);
                }
            }
        }
    });
}

/// Writes the codes of sixteen elements. The loops run over them side by side, which the compiler turns
/// into vectors (but not, as measured, if the codes are returned as an array).
#[inline(always)]
fn chunk_codes<E: Element>(chunk: &E::Block, thresholds: &[E::Pattern; 8], codes: &mut [u8; 8]) {
    let patterns = E::patterns(chunk);
    let mut chunk_codes = [0; 16];
    for (code, pattern) in chunk_codes.iter_mut().zip(patterns) {
        *code = E::code(pattern, thresholds);
    }
    for (byte, [even, odd]) in codes.iter_mut().zip(chunk_codes.as_chunks::<2>().0) {
        *byte = even | (odd << 4);
    }
}
