//! F32 scales that each govern a rectangle of elements: one for a tensor, one a row, one a tile of 128 by 128.

use crate::engine::EngineError;

/// The scales of a matrix, as a grid of rectangles.
///
/// The scale of element `(r, c)` of a tile is
/// `scales[((first_row + r) / block_rows) * scale_cols + c / block_cols]`.
#[derive(Debug, Clone, Copy)]
pub struct ScaleGrid<'a> {
    /// F32 scales as bits, row-major.
    pub scales: &'a [u32],
    /// Rows that share a scale; `u32::MAX` if all do.
    pub block_rows: u32,
    /// Columns that share a scale; `u32::MAX` if all do.
    pub block_cols: u32,
    /// Scales in a row of the grid.
    pub scale_cols: u32,
    /// Index of the tile's first row within the rows that `scales` governs.
    pub first_row: u32,
}

impl<'a> ScaleGrid<'a> {
    /// One scale for all elements.
    #[must_use]
    pub fn one(scale: &'a u32) -> Self {
        let scales = std::slice::from_ref(scale);
        Self { scales, block_rows: u32::MAX, block_cols: u32::MAX, scale_cols: 1, first_row: 0 }
    }

    /// A scale for each row of the tile.
    #[must_use]
    pub fn per_row(scales: &'a [u32]) -> Self {
        Self { scales, block_rows: 1, block_cols: u32::MAX, scale_cols: 1, first_row: 0 }
    }

    /// Checks that the scales reach as far as a tile of `rows` by `cols` elements.
    ///
    /// # Errors
    /// [`EngineError::TileSize`] if a group of rows or columns is empty, or if the last element's scale would
    /// lie beyond `scales`.
    pub fn check(&self, rows: u32, cols: u32) -> Result<(), EngineError> {
        if rows == 0 || cols == 0 {
            return Ok(());
        }
        let found = u64::try_from(self.scales.len()).unwrap_or(u64::MAX);
        let last_row = u64::from(self.first_row) + u64::from(rows) - 1;
        let last_col = u64::from(cols) - 1;
        let needed = last_row
            .checked_div(u64::from(self.block_rows))
            .zip(last_col.checked_div(u64::from(self.block_cols)))
            .filter(|(_, col)| *col < u64::from(self.scale_cols))
            .and_then(|(row, col)| row.checked_mul(u64::from(self.scale_cols))?.checked_add(col + 1))
            .unwrap_or(u64::MAX);
        if needed <= found { Ok(()) } else { Err(EngineError::TileSize { expected: needed, found }) }
    }

    /// Cuts `count` elements, from element `first` of a tile with `cols` columns on, into runs under one
    /// scale: how many elements, and the scale's bits. The grid has been checked.
    pub(crate) fn runs(self, cols: u32, first: usize, count: usize) -> impl Iterator<Item = (usize, u32)> {
        let places = self.places(cols, first, count);
        places.map(move |(length, row, group)| (length, self.scale(self.scale_row(row), group)))
    }

    /// The same runs: how many elements, the tile's row, and the group of columns.
    pub(crate) fn places(
        self,
        cols: u32,
        first: usize,
        count: usize,
    ) -> impl Iterator<Item = (usize, usize, usize)> {
        let cols = cols.max(1) as usize;
        let block_cols = self.block_cols.max(1) as usize;
        let (mut row, mut col) = (first / cols, first % cols);
        let mut group = col / block_cols;
        let mut next = group.saturating_add(1).saturating_mul(block_cols);
        let mut left = count;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let end = next.min(cols);
            let length = (end - col).min(left);
            let place = (length, row, group);
            left -= length;
            // What ends the count may end before `end`, but then nothing follows.
            (row, col, group, next) = if end == cols {
                (row + 1, 0, 0, block_cols)
            } else {
                (row, end, group + 1, next.saturating_add(block_cols))
            };
            Some(place)
        })
    }

    /// Whether all runs along rows of `cols` columns have `length` elements.
    pub(crate) fn is_of(&self, cols: u32, length: usize) -> bool {
        self.block_cols as usize == length && (cols as usize).is_multiple_of(length)
    }

    /// The bits of a scale, by its row and column in the grid.
    pub(crate) fn scale(&self, row: u64, col: usize) -> u32 {
        let at = row * u64::from(self.scale_cols) + col as u64;
        usize::try_from(at).ok().and_then(|at| self.scales.get(at)).copied().unwrap_or_default()
    }

    /// The row of scales that governs a row of the tile.
    pub(crate) fn scale_row(&self, row: usize) -> u64 {
        (u64::from(self.first_row) + row as u64) / u64::from(self.block_rows.max(1))
    }
}
