//! Where the errors of a layer are: sums of squares over the cells of a picture.

use crate::trial::figures::mean;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Most rows of a picture.
const ROWS: u64 = 32;
/// Most columns of a picture.
const COLS: u64 = 64;

/// Where the errors of a layer are: root mean square errors of its cells, row by row; NaN where nothing was read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorMap {
    /// Rows of the picture.
    pub rows: u32,
    /// Columns of the picture.
    pub cols: u32,
    /// `rows * cols` errors.
    pub cells: Vec<f32>,
}

/// The cells of a picture that is being made.
#[derive(Debug, Clone)]
pub(crate) struct ErrorCells {
    size: [u64; 2],
    map: [u64; 2],
    cells: Vec<(f64, u64)>,
}

impl ErrorCells {
    /// Of a layer of `rows` by `cols`.
    pub(crate) fn new(rows: u64, cols: u64) -> Self {
        let map = [rows.min(ROWS), cols.min(COLS)];
        let count = usize::try_from(map[0] * map[1]).unwrap_or(0);
        Self { size: [rows, cols], map, cells: vec![(0.0, 0); count] }
    }

    /// Columns of the picture.
    pub(crate) fn across(&self) -> u64 {
        self.map[1]
    }

    /// Columns of the layer behind a column of the picture.
    pub(crate) fn columns(&self, cell: u64) -> Range<usize> {
        let at = |cell: u64| {
            let column = u128::from(self.size[1]) * u128::from(cell) / u128::from(self.map[1].max(1));
            usize::try_from(column).unwrap_or(usize::MAX)
        };
        at(cell)..at(cell + 1)
    }

    /// Takes in what a row of the layer has in a column of the picture.
    pub(crate) fn take(&mut self, row: u64, cell: u64, squares: f64, count: u64) {
        let down = u128::from(row) * u128::from(self.map[0]) / u128::from(self.size[0].max(1));
        let at = usize::try_from(down * u128::from(self.map[1]) + u128::from(cell)).unwrap_or(usize::MAX);
        if let Some((sum, number)) = self.cells.get_mut(at) {
            (*sum, *number) = (*sum + squares, *number + count);
        }
    }

    /// Takes in a row of values and what became of them.
    pub(crate) fn add(&mut self, row: u64, before: &[f32], after: &[f32]) {
        for cell in 0..self.map[1] {
            let columns = self.columns(cell);
            let end = columns.end.min(before.len()).min(after.len());
            let part =
                |values: &[f32]| -> Vec<f32> { values.get(columns.start..end).unwrap_or_default().to_vec() };
            let (before, after) = (part(before), part(after));
            let squares =
                before.iter().zip(&after).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
            self.take(row, cell, squares, u64::try_from(before.len()).unwrap_or(0));
        }
    }

    /// Values that were taken in.
    #[cfg(test)]
    pub(crate) fn counted(&self) -> u64 {
        self.cells.iter().map(|cell| cell.1).sum()
    }

    /// The picture.
    pub(crate) fn map(&self) -> ErrorMap {
        #[allow(clippy::cast_possible_truncation, reason = "a shade of a picture")]
        let shade = |&(sum, number): &(f64, u64)| {
            if number == 0 { f32::NAN } else { mean(sum, number).sqrt() as f32 }
        };
        let side = |n: u64| u32::try_from(n).unwrap_or(0);
        ErrorMap {
            rows: side(self.map[0]),
            cols: side(self.map[1]),
            cells: self.cells.iter().map(shade).collect(),
        }
    }
}
