//! The CPU twin.

use super::{BlockSize, f32_bits};
use crate::element::{Bf16, Element, F16, F32};
use crate::engine::{FloatTile, FloatType};
use crate::wide::{self, Stretch};

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
    // The largest pattern so far of each column: what belongs to a block is compared once all its rows are read.
    let mut columns = vec![E::Pattern::default(); tile.cols as usize];
    for (rows, maxima) in rows_of_blocks.zip(maxima.chunks_mut(row_bytes.div_ceil(block_bytes))) {
        columns.fill(E::Pattern::default());
        wide::run(Rows::<E> {
            rows,
            row_bytes,
            block_cols: block_bytes / E::BYTES,
            columns: &mut columns,
            maxima,
        });
        for largest in maxima {
            *largest = f32_bits(*largest, tile.dtype);
        }
    }
}

/// Rows of elements, room for a pattern a column, and for the largest pattern of each block.
struct Rows<'a, E: Element> {
    rows: &'a [u8],
    row_bytes: usize,
    block_cols: usize,
    columns: &'a mut [E::Pattern],
    maxima: &'a mut [u32],
}

impl<E: Element> Stretch for Rows<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        // Several rows at once, since the columns have no room in the nearest cache beside what is read.
        let several = self.rows.chunks_exact(4 * self.row_bytes);
        for row in several.remainder().chunks(self.row_bytes) {
            E::raise(self.columns, [row]);
        }
        for rows in several {
            let (upper, lower) = rows.split_at(2 * self.row_bytes);
            let ((a, b), (c, d)) = (upper.split_at(self.row_bytes), lower.split_at(self.row_bytes));
            E::raise(self.columns, [a, b, c, d]);
        }
        for (largest, columns) in self.maxima.iter_mut().zip(self.columns.chunks(self.block_cols)) {
            *largest = E::pattern_bits(columns.iter().copied().fold(E::Pattern::default(), Ord::max));
        }
    }
}
