//! The CPU twin: a block at a time, the same comparisons as the shader.

use super::{BLOCK, Nvfp4Table};
use crate::element::{Bf16, Element, F16, F32};
use crate::engine::{FloatTile, FloatType};

const BLOCK_ELEMS: usize = BLOCK as usize;

/// Blocks whose source stays in the nearest cache between its two readings.
const RUN: usize = 128;

/// Quantizes the tile's blocks from `first_block` on: as many as `scales` has room for. `codes` has eight
/// bytes a block. Tile and room have been checked.
pub(crate) fn quantize(
    tile: &FloatTile<'_>,
    table: &Nvfp4Table,
    first_block: usize,
    codes: &mut [u8],
    scales: &mut [u8],
) {
    match tile.dtype {
        FloatType::F32 => quantize_elements::<F32>(tile, table, first_block, codes, scales),
        FloatType::Bf16 => quantize_elements::<Bf16>(tile, table, first_block, codes, scales),
        FloatType::F16 => quantize_elements::<F16>(tile, table, first_block, codes, scales),
    }
}

fn quantize_elements<E: Element>(
    tile: &FloatTile<'_>,
    table: &Nvfp4Table,
    first_block: usize,
    codes: &mut [u8],
    scales: &mut [u8],
) {
    let code_last = E::code_last(table);
    let row_bytes = tile.cols as usize * E::BYTES;
    let row_blocks = tile.row_blocks().max(1) as usize;
    let (mut row, mut block) = (first_block / row_blocks, first_block % row_blocks);
    let (mut codes, mut scales) = (codes.as_chunks_mut::<8>().0, scales);
    while !scales.is_empty() {
        // From `block` to the end of the row, or as far as there is room.
        let begin = row * row_bytes + block * BLOCK_ELEMS * E::BYTES;
        let source = tile.bytes.get(begin..(row + 1) * row_bytes).unwrap_or_default();
        let count = scales.len().min(row_blocks - block);
        let (row_codes, row_scales);
        (row_codes, codes) = codes.split_at_mut(count);
        (row_scales, scales) = scales.split_at_mut(count);
        let (whole, rest) = E::blocks(source);
        let whole = whole.get(..count).unwrap_or(whole);
        let (whole_codes, last_codes) = row_codes.split_at_mut(whole.len());
        let (whole_scales, last_scales) = row_scales.split_at_mut(whole.len());
        let places = whole_codes.chunks_mut(RUN).zip(whole_scales.chunks_mut(RUN));
        for (blocks, (codes, scales)) in whole.chunks(RUN).zip(places) {
            quantize_run::<E>(blocks, table, code_last, codes, scales);
        }
        // What is left of the row is nothing, or one block that the row fills in part.
        quantize_run::<E>(&[E::padded(rest)], table, code_last, last_codes, last_scales);
        (row, block) = (row + 1, 0);
    }
}

/// Quantizes whole blocks, as many as there is room for. First all scales, then all codes: looking a scale
/// up takes a while, and the processor does so for several blocks at once if nothing waits for the result.
fn quantize_run<E: Element>(
    blocks: &[E::Block],
    table: &Nvfp4Table,
    code_last: &[[E::Pattern; 8]],
    codes: &mut [[u8; 8]],
    scales: &mut [u8],
) {
    for (scale, block) in scales.iter_mut().zip(blocks) {
        let magnitudes = E::patterns(block).map(|pattern| pattern & E::MAGNITUDE);
        let amax = magnitudes.into_iter().fold(E::Pattern::default(), Ord::max);
        *scale = table.scale_byte(E::f32_bits(amax));
    }
    for ((codes, scale), block) in codes.iter_mut().zip(scales).zip(blocks) {
        if let Some(thresholds) = code_last.get(usize::from(*scale)) {
            quantize_block::<E>(block, thresholds, codes);
        }
    }
}

/// Writes the codes of one block. The loops run over the sixteen elements side by side, which the compiler
/// turns into vectors (but not, as measured, if the codes are returned as an array).
#[inline(always)]
fn quantize_block<E: Element>(block: &E::Block, thresholds: &[E::Pattern; 8], codes: &mut [u8; 8]) {
    let patterns = E::patterns(block);
    let mut block_codes = [0; BLOCK_ELEMS];
    for (code, pattern) in block_codes.iter_mut().zip(patterns) {
        *code = E::code(pattern, thresholds);
    }
    for (byte, [even, odd]) in codes.iter_mut().zip(block_codes.as_chunks::<2>().0) {
        *byte = even | (odd << 4);
    }
}
