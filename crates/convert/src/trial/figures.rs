//! What a trial counts: errors, values lost at both ends of a scale, a picture of where errors are, histograms.

use crate::trial::errors::{ErrorCells, ErrorMap};
use std::ops::Range;

/// Bins of a histogram, an odd number, so that zero has one of its own.
pub const BINS: usize = 61;
/// Sums over the values of a layer under one scheme.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    pub(crate) signal: f64,
    pub(crate) noise: f64,
    pub(crate) sum_abs: f64,
    pub(crate) max_abs: f64,
    pub(crate) count: u64,
    pub(crate) saturated: u64,
    pub(crate) zeroed: u64,
    pub(crate) bins: Vec<u64>,
    cells: ErrorCells,
}

/// The bin of a value in equal steps from `-extreme` to `extreme`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bin between 0 and 60")]
pub(crate) fn bin(value: f64, extreme: f64) -> usize {
    (((value / extreme + 1.0) / 2.0 * BINS as f64) as usize).min(BINS - 1)
}

/// Counts values in equal steps.
pub(crate) fn count_bins(bins: &mut [u64], values: &[f32], extreme: f64) {
    for &value in values {
        if let Some(slot) = bins.get_mut(bin(f64::from(value), extreme)) {
            *slot += 1;
        }
    }
}

/// Whether a value exceeds an end by more than the rounding of a scale: 2^-20 of it.
fn is_beyond(value: f32, end: f32) -> bool {
    f64::from(value) > f64::from(end) * (1.0 + 1.0 / 1_048_576.0)
}

/// A row of values, what became of it, and the largest and least values its codes could have stood for.
pub(crate) struct Row<'v> {
    pub(crate) source: &'v [f32],
    pub(crate) decoded: &'v [f32],
    pub(crate) top: &'v [f32],
    pub(crate) bottom: &'v [f32],
}

fn part<'v>(values: &'v [f32], columns: &Range<usize>) -> &'v [f32] {
    values.get(columns.clone()).unwrap_or_default()
}

impl Figures {
    /// For a layer of `rows` by `cols`.
    pub(crate) fn new(rows: u64, cols: u64) -> Self {
        Self {
            signal: 0.0,
            noise: 0.0,
            sum_abs: 0.0,
            max_abs: 0.0,
            count: 0,
            saturated: 0,
            zeroed: 0,
            bins: vec![0; BINS],
            cells: ErrorCells::new(rows, cols),
        }
    }

    /// Takes in row `index` of the layer.
    pub(crate) fn add(&mut self, index: u64, row: &Row<'_>, extreme: f64) {
        for cell in 0..self.cells.across() {
            let columns = self.cells.columns(cell);
            let end = columns.end.min(row.source.len());
            let at_columns = columns.start..end;
            let (source, decoded) = (part(row.source, &at_columns), part(row.decoded, &at_columns));
            let (top, bottom) = (part(row.top, &at_columns), part(row.bottom, &at_columns));
            let mut squares = 0.0;
            for (((&source, &decoded), &top), &bottom) in source.iter().zip(decoded).zip(top).zip(bottom) {
                let (exact, near) = (f64::from(source), f64::from(decoded));
                let error = exact - near;
                self.signal += exact * exact;
                squares += error * error;
                self.sum_abs += error.abs();
                self.max_abs = self.max_abs.max(error.abs());
                self.saturated += u64::from(is_beyond(source, top) || is_beyond(-source, -bottom));
                self.zeroed += u64::from(source != 0.0 && decoded == 0.0);
            }
            count_bins(&mut self.bins, decoded, extreme);
            self.noise += squares;
            let counted = u64::try_from(source.len()).unwrap_or(0);
            self.count += counted;
            self.cells.take(index, cell, squares, counted);
        }
    }

    /// Signal to noise in dB; `None` where nothing was lost or there is no signal.
    pub(crate) fn sqnr_db(&self) -> Option<f64> {
        (self.noise > 0.0 && self.signal > 0.0).then(|| 10.0 * (self.signal / self.noise).log10())
    }

    /// Mean magnitude of the errors.
    pub(crate) fn mean_abs(&self) -> f64 {
        mean(self.sum_abs, self.count)
    }

    /// The picture.
    pub(crate) fn map(&self) -> ErrorMap {
        self.cells.map()
    }
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn mean(sum: f64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::{Figures, Row};

    #[test]
    fn cells_cover_every_value_once() {
        for (rows, cols) in [(1, 1), (3, 100), (40, 65), (33, 7)] {
            let mut figures = Figures::new(rows, cols);
            let length = usize::try_from(cols).unwrap();
            let (source, decoded) = (vec![2.0; length], vec![1.0; length]);
            let (top, bottom) = (vec![1.5; length], vec![-9.0; length]);
            for row in 0..rows {
                let row_values = Row { source: &source, decoded: &decoded, top: &top, bottom: &bottom };
                figures.add(row, &row_values, 2.0);
            }
            assert_eq!((figures.count, figures.saturated, figures.zeroed), (rows * cols, rows * cols, 0));
            assert_eq!(figures.cells.counted(), rows * cols);
            assert!(figures.map().cells.iter().all(|&cell| cell == 1.0), "{rows} x {cols}");
            assert!((figures.sqnr_db().unwrap() - 6.020_599_913).abs() < 1e-6);
            assert_eq!((figures.mean_abs(), figures.max_abs), (1.0, 1.0));
        }
    }
}
