//! Cutting a stored matrix into tiles under a budget: whole rows where a row fits, parts of a row else.

use std::ops::Range;

/// A stored matrix: rows of equal length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Number of rows.
    pub rows: u64,
    /// Bytes of a row.
    pub row_bytes: u64,
}

/// One tile: rows `rows` and, of each, bytes `bytes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileSpan {
    /// Rows.
    pub rows: Range<u64>,
    /// Bytes within a row; the whole row unless a row exceeds the budget.
    pub bytes: Range<u64>,
}

impl TileSpan {
    /// Number of rows, which the budget keeps far below 2^32.
    #[must_use]
    pub fn row_count(&self) -> u32 {
        u32::try_from(self.rows.end - self.rows.start).unwrap_or(u32::MAX)
    }

    /// Bytes of the tile.
    #[must_use]
    pub fn byte_len(&self) -> u64 {
        (self.rows.end - self.rows.start).saturating_mul(self.bytes.end - self.bytes.start)
    }

    /// First byte of the tile within the tensor.
    #[must_use]
    pub fn offset(&self, grid: Grid) -> u64 {
        self.rows.start.saturating_mul(grid.row_bytes).saturating_add(self.bytes.start)
    }
}

/// Cuts a grid into tiles of at most `budget` bytes. Parts of a row are cut at multiples of `unit` bytes
/// (a block of codes, say). An empty grid has no tiles.
///
/// ```
/// use quantscope_audit::tiles::{Grid, tiles};
/// let grid = Grid { rows: 5, row_bytes: 8 };
/// let spans: Vec<_> = tiles(grid, 16, 8).map(|t| t.rows).collect();
/// assert_eq!(spans, [0..2, 2..4, 4..5]);
/// ```
pub fn tiles(grid: Grid, budget: u64, unit: u64) -> impl Iterator<Item = TileSpan> {
    let unit = unit.max(1);
    let part = (budget / unit).max(1).saturating_mul(unit).min(grid.row_bytes.max(1));
    let rows_at_once = (budget / grid.row_bytes.max(1)).max(1);
    let mut row = if grid.row_bytes == 0 { grid.rows } else { 0 };
    let mut byte = 0;
    std::iter::from_fn(move || {
        if row >= grid.rows {
            return None;
        }
        if grid.row_bytes <= part {
            let end = row.saturating_add(rows_at_once).min(grid.rows);
            let span = TileSpan { rows: row..end, bytes: 0..grid.row_bytes };
            row = end;
            return Some(span);
        }
        let end = byte + part.min(grid.row_bytes - byte);
        let span = TileSpan { rows: row..row + 1, bytes: byte..end };
        (row, byte) = if end == grid.row_bytes { (row + 1, 0) } else { (row, end) };
        Some(span)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte of the grid is in exactly one tile, in order, whatever the budget.
    #[test]
    fn tiles_cover_the_grid_once() {
        for rows in [0, 1, 3, 7] {
            for row_bytes in [0, 1, 8, 24, 40] {
                let grid = Grid { rows, row_bytes };
                for budget in [1, 8, 9, 16, 100, 1000] {
                    let mut next = 0;
                    for tile in tiles(grid, budget, 8) {
                        assert_eq!(tile.offset(grid), next, "{grid:?} {budget}");
                        assert!(tile.byte_len() <= budget.max(8), "{grid:?} {budget} {tile:?}");
                        next += tile.byte_len();
                    }
                    assert_eq!(next, rows * row_bytes, "{grid:?} {budget}");
                }
            }
        }
    }
}
