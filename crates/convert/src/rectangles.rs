//! Cutting a matrix into rectangles that hold whole blocks, and finding the scales that lie over them.

use crate::plan::PackedLayer;
use quantscope_schemes::Role;
use std::ops::Range;

/// Rows and columns of a matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rectangle {
    pub(crate) rows: Range<u64>,
    pub(crate) cols: Range<u64>,
}

/// The least number that both divide; saturating.
pub(crate) fn least_common_multiple(a: u64, b: u64) -> u64 {
    let (a, b) = (a.max(1), b.max(1));
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    (a / x).saturating_mul(b)
}

/// Parts of a band in the order in which codes are stored: whole rows where `row_unit` of them fit into
/// `elements`, parts of `row_unit` rows else. No part crosses a multiple of `most_rows`, counted from the band's
/// first row; columns are cut at multiples of `column_unit`.
pub(crate) fn parts(
    band: &Rectangle,
    elements: u64,
    row_unit: u64,
    column_unit: u64,
    most_rows: u64,
) -> impl Iterator<Item = Rectangle> + use<> {
    let Rectangle { rows, cols } = band.clone();
    let (row_unit, column_unit) = (row_unit.max(1), column_unit.max(1));
    let width = cols.end.saturating_sub(cols.start).max(1);
    let fitting = elements / width.saturating_mul(row_unit);
    let columns = if fitting > 0 {
        width
    } else {
        (elements / row_unit / column_unit).max(1).saturating_mul(column_unit)
    };
    let (mut row, mut col) = (rows.start, cols.start);
    std::iter::from_fn(move || {
        if row >= rows.end || cols.is_empty() {
            return None;
        }
        let left = most_rows.saturating_sub((row - rows.start) % most_rows.max(1)).max(1);
        let height = fitting.max(1).saturating_mul(row_unit).min(left);
        let end = row.saturating_add(height).min(rows.end);
        let until = col.saturating_add(columns).min(cols.end);
        let part = Rectangle { rows: row..end, cols: col..until };
        (row, col) = if until == cols.end { (end, cols.start) } else { (row, until) };
        Some(part)
    })
}

/// How blocks and their stored scales lie over a matrix.
#[derive(Debug, Clone)]
pub(crate) struct BlockGrid {
    /// Rows of a block; 1 where a block is the whole extent.
    pub(crate) block_rows: u64,
    /// Columns at whose multiples a row may be cut without cutting a block.
    pub(crate) column_unit: u64,
    /// Columns of a block; those of the matrix where it spans them.
    block_cols: u64,
    /// Blocks across the matrix.
    across: u64,
    /// Bytes of a stored scale; 0 where all scales are 0-d.
    scale_bytes: u64,
    /// Whether a block has a fixed number of columns of one row.
    in_rows: bool,
}

fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

impl BlockGrid {
    /// The grid that a layer's encoding lays over its matrix.
    pub(crate) fn new(packed: &PackedLayer) -> Self {
        let [rows, cols] = packed.encoding.block;
        let scale =
            packed.encoding.outputs.iter().find(|o| o.role == Role::WeightScale && !o.shape.is_empty());
        let width = packed.matrix.cols.max(1);
        let block_cols = if cols == u32::MAX { width } else { u64::from(cols.max(1)).min(width) };
        let unit = packed.encoding.column_unit.max(1);
        Self {
            block_rows: if rows == u32::MAX { 1 } else { u64::from(rows.max(1)) },
            column_unit: if block_cols < width { least_common_multiple(unit, block_cols) } else { unit },
            block_cols,
            across: width.div_ceil(block_cols),
            scale_bytes: scale.map_or(0, |o| o.dtype.bits() / 8),
            in_rows: rows == 1 && cols != u32::MAX,
        }
    }

    /// Whether blocks have scales that are stored one by one.
    pub(crate) fn has_scales(&self) -> bool {
        self.scale_bytes > 0
    }

    /// Whether every block is a part of one row, so that parts of a row hold whole ones.
    pub(crate) fn blocks_lie_in_rows(&self) -> bool {
        self.in_rows
    }

    /// Bytes of a stored scale.
    pub(crate) fn scale_width(&self) -> usize {
        index(self.scale_bytes.max(1))
    }

    /// Blocks of a band.
    pub(crate) fn blocks_in(&self, band: &Rectangle) -> usize {
        let rows = band.rows.end.saturating_sub(band.rows.start).div_ceil(self.block_rows);
        index(rows.saturating_mul(self.across))
    }

    fn block_columns(&self, cols: &Range<u64>) -> Range<u64> {
        cols.start / self.block_cols..cols.end.div_ceil(self.block_cols)
    }

    /// The first block that a part touches, counted over its band, and how many lie beside it.
    pub(crate) fn first_block(&self, band: &Rectangle, part: &Rectangle) -> (usize, usize) {
        let row = part.rows.start.saturating_sub(band.rows.start) / self.block_rows;
        let cols = self.block_columns(&part.cols);
        let at = row.saturating_mul(self.across).saturating_add(cols.start);
        (index(at), index(cols.end.saturating_sub(cols.start)))
    }

    /// The row of a part within the first block it touches, and the scales of all it touches, out of those of
    /// the band.
    pub(crate) fn touched(&self, band: &Rectangle, part: &Rectangle, scales: &[u8]) -> (u32, Vec<u8>) {
        let rows =
            part.rows.start.saturating_sub(band.rows.start)..part.rows.end.saturating_sub(band.rows.start);
        let first_row = u32::try_from(rows.start % self.block_rows).unwrap_or(u32::MAX);
        let cols = self.block_columns(&part.cols);
        let mut own = Vec::new();
        for row in rows.start / self.block_rows..rows.end.div_ceil(self.block_rows) {
            let at = |col: u64| {
                index(row.saturating_mul(self.across).saturating_add(col).saturating_mul(self.scale_bytes))
            };
            own.extend_from_slice(scales.get(at(cols.start)..at(cols.end)).unwrap_or_default());
        }
        (first_row, own)
    }

    /// Runs of blocks that a rectangle covers, as first block and number, counted over the matrix.
    pub(crate) fn runs(&self, rectangle: &Rectangle) -> Vec<(u64, u64)> {
        let cols = self.block_columns(&rectangle.cols);
        let rows = rectangle.rows.start / self.block_rows..rectangle.rows.end.div_ceil(self.block_rows);
        if cols == (0..self.across) {
            let count = rows.end.saturating_sub(rows.start).saturating_mul(self.across);
            return vec![(rows.start.saturating_mul(self.across), count)];
        }
        rows.map(|row| (row.saturating_mul(self.across).saturating_add(cols.start), cols.end - cols.start))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiples() {
        assert_eq!(
            [(1, 1), (4, 6), (128, 2), (3, 5), (0, 7)].map(|(a, b)| least_common_multiple(a, b)),
            [1, 12, 128, 15, 7]
        );
    }

    /// Every element is in exactly one part, whatever the budget; parts keep to their units.
    #[test]
    fn parts_cover_a_band_once() {
        let band = Rectangle { rows: 6..14, cols: 0..40 };
        for (elements, row_unit, column_unit, most_rows) in [
            (1, 1, 16, 4),
            (20, 2, 16, u64::MAX),
            (80, 2, 16, u64::MAX),
            (200, 1, 8, 4),
            (9999, 2, 1, u64::MAX),
        ] {
            let mut seen = vec![0; 8 * 40];
            for part in parts(&band, elements, row_unit, column_unit, most_rows) {
                assert!(part.cols.start % column_unit == 0, "{part:?}");
                assert!((part.rows.start - 6) / most_rows == (part.rows.end - 7) / most_rows, "{part:?}");
                let height = part.rows.end - part.rows.start;
                assert!(height == row_unit || part.cols == (0..40), "{part:?}");
                for row in part.rows {
                    for col in part.cols.clone() {
                        seen[usize::try_from((row - 6) * 40 + col).unwrap()] += 1;
                    }
                }
            }
            assert!(seen.iter().all(|&n| n == 1), "{elements} {row_unit} {column_unit} {most_rows}");
        }
    }

    #[test]
    fn scales_lie_over_their_blocks() {
        let grid = BlockGrid {
            block_rows: 4,
            column_unit: 16,
            block_cols: 16,
            across: 3,
            scale_bytes: 2,
            in_rows: false,
        };
        let band = Rectangle { rows: 8..16, cols: 0..40 };
        assert_eq!(grid.blocks_in(&band), 6);
        let part = Rectangle { rows: 13..14, cols: 16..40 };
        let scales: Vec<u8> = (0..12).collect();
        assert_eq!(grid.touched(&band, &part, &scales), (1, vec![8, 9, 10, 11]));
        assert_eq!(grid.first_block(&band, &part), (4, 2));
        assert_eq!(grid.runs(&part), [(10, 2)]);
        assert_eq!(grid.runs(&band), [(6, 6)]);
    }
}
