//! The CPU twin.

use super::{BlockSize, f32_bits};
use crate::element::{Bf16, Element, F16, F32};
use crate::engine::{FloatTile, FloatType};

/// The maxima of some rows of blocks: `bytes` are their rows of elements. Tile and room have been checked.
pub(crate) fn maxima(tile: &FloatTile<'_>, block: BlockSize, bytes: &[u8], maxima: &mut [u32]) {
    match tile.dtype {
        FloatType::F32 => maxima_of::<F32>(tile, block, bytes, maxima),
        FloatType::Bf16 => maxima_of::<Bf16>(tile, block, bytes, maxima),
        FloatType::F16 => maxima_of::<F16>(tile, block, bytes, maxima),
    }
}

fn maxima_of<E: Element>(tile: &FloatTile<'_>, block: BlockSize, bytes: &[u8], maxima: &mut [u32]) {
    let row_bytes = tile.cols as usize * E::BYTES;
    let block_bytes = block.cols.min(tile.cols) as usize * E::BYTES;
    let block_rows = block.rows.min(tile.rows) as usize;
    if block_bytes == 0 || block_rows == 0 {
        return;
    }
    let rows_of_blocks = bytes.chunks(block_rows * row_bytes);
    for (rows, maxima) in rows_of_blocks.zip(maxima.chunks_mut(row_bytes.div_ceil(block_bytes))) {
        // Patterns as unsigned numbers, widened at the end.
        maxima.fill(0);
        for row in rows.chunks(row_bytes) {
            for (largest, elements) in maxima.iter_mut().zip(row.chunks(block_bytes)) {
                *largest = (*largest).max(largest_of::<E>(elements));
            }
        }
        for largest in maxima {
            *largest = f32_bits(*largest, tile.dtype);
        }
    }
}

/// The largest pattern without its sign. Sixteen maxima are kept side by side.
#[inline]
fn largest_of<E: Element>(elements: &[u8]) -> u32 {
    let (chunks, rest) = E::blocks(elements);
    let mut lanes = E::patterns(&E::padded(rest)).map(|pattern| pattern & E::MAGNITUDE);
    for chunk in chunks {
        for (lane, pattern) in lanes.iter_mut().zip(E::patterns(chunk)) {
            *lane = (*lane).max(pattern & E::MAGNITUDE);
        }
    }
    E::pattern_bits(lanes.into_iter().fold(E::Pattern::default(), Ord::max))
}
