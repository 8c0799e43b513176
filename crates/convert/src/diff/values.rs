//! The values of a layer, or of a part of it, as rows, and how far two of them are from each other.

use crate::diff::{Job, Side};
use crate::error::ConvertError;
use crate::plan::Place;
use crate::trial::errors::ErrorCells;
use quantscope_audit::LayerInfo;
use quantscope_audit::decoded::{DecodeError, DecodedLayer};
use quantscope_kernels::Engine;
use quantscope_numeric::{Dtype, round_to_bf16, round_to_f16};
use quantscope_schemes::Region;

/// Rows of values, out of a decoded layer.
pub(crate) struct Rows<'a> {
    decoded: DecodedLayer<'a>,
    extent: [u64; 2],
    /// First value, counted over the whole layer row by row.
    start: u64,
    /// Number of rows.
    pub(crate) rows: u64,
    /// Values in a row.
    pub(crate) cols: u64,
}

fn product(sides: &[u64]) -> Option<u64> {
    sides.iter().try_fold(1_u64, |n, &side| n.checked_mul(side))
}

impl<'a> Rows<'a> {
    /// Opens a layer, or the part of its weight that stands at a place; `None` if its values cannot be told.
    pub(crate) fn open(side: Side<'a>, layer: &'a LayerInfo, part: Option<(&Place, &[u64])>) -> Option<Self> {
        let decoded = DecodedLayer::new(side.checkpoint, layer).ok()?;
        let extent @ [rows, cols] = decoded.decoder().extent();
        let Some((place, shape)) = part else {
            return Some(Self { decoded, extent, start: 0, rows, cols });
        };
        // A part keeps the share of the values that it has of the bytes.
        let (_, tensor) = side.checkpoint.tensor(place.shard, place.tensor)?;
        let whole = u128::from(rows) * u128::from(cols);
        let share = |byte: u64| -> Option<u64> {
            u64::try_from(whole * u128::from(byte) / u128::from(tensor.byte_len().max(1))).ok()
        };
        let (start, end) = (share(place.bytes.start)?, share(place.bytes.end)?);
        let width = if shape.len() > 1 && !layer.is_quantized() { product(shape.get(1..)?)? } else { cols };
        let count = end.checked_sub(start).filter(|n| width > 0 && n.is_multiple_of(width))?;
        Some(Self { decoded, extent, start, rows: count / width, cols: width })
    }

    /// The same values in rows of another length.
    fn reshaped(&mut self, cols: u64) {
        let count = self.rows.saturating_mul(self.cols);
        (self.rows, self.cols) = (count / cols.max(1), cols);
    }

    /// Some whole rows. They lie in one row of the layer, or are whole rows of it.
    async fn read(&self, engine: &dyn Engine, first: u64, count: u64) -> Result<Vec<f32>, ConvertError> {
        let [_, width] = self.extent;
        let begin = self.start.saturating_add(first.saturating_mul(self.cols));
        let length = count.saturating_mul(self.cols);
        let region = if begin.is_multiple_of(width.max(1)) && length.is_multiple_of(width.max(1)) {
            let row = begin / width.max(1);
            Region { rows: row..row.saturating_add(length / width.max(1)), cols: 0..width }
        } else {
            let (row, col) = (begin / width, begin % width);
            Region { rows: row..row.saturating_add(1), cols: col..col.saturating_add(length) }
        };
        self.decoded.values(engine, &region).await.map_err(|error| match error {
            DecodeError::Source(error) => error.into(),
            DecodeError::Engine(error) => error.into(),
            DecodeError::Refused(refusal) => ConvertError::Refused(refusal.to_string()),
        })
    }

    /// Rows that can be read at once and lie as [`Self::read`] wants them.
    fn together(&self, first: u64, wanted: u64) -> u64 {
        let [_, width] = self.extent;
        let (wanted, left) = (wanted.max(1), self.rows.saturating_sub(first));
        if self.cols == width {
            return wanted.min(left);
        }
        // Up to the end of the layer's row.
        let begin = self.start.saturating_add(first.saturating_mul(self.cols));
        let rest = (width - begin % width.max(1)) / self.cols.max(1);
        wanted.min(rest.max(1)).min(left)
    }
}

/// How far values are from each other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Distance {
    signal: f64,
    noise: f64,
    sum_abs: f64,
    pub(crate) max_abs: f64,
    count: u64,
    different: u64,
    not_rounded: u64,
    /// Rows and columns that one of the two has beyond the other.
    pub(crate) padding: [u64; 2],
    /// Values there that are not zero.
    pub(crate) padding_not_zero: u64,
}

impl Distance {
    /// Whether no value differs.
    pub(crate) fn is_equal(&self) -> bool {
        self.different == 0
    }

    /// Whether every value of the second is that of the first, rounded to its type.
    pub(crate) fn is_rounded(&self) -> bool {
        self.not_rounded == 0
    }

    /// Whether one is padded.
    pub(crate) fn is_padded(&self) -> bool {
        self.padding != [0, 0]
    }

    /// Signal to noise in dB.
    pub(crate) fn sqnr_db(&self) -> Option<f64> {
        (self.noise > 0.0 && self.signal > 0.0).then(|| 10.0 * (self.signal / self.noise).log10())
    }

    /// Mean difference.
    pub(crate) fn mean_abs(&self) -> f64 {
        crate::trial::mean(self.sum_abs, self.count)
    }

    fn add(&mut self, a: &[f32], b: &[f32], dtype: Dtype) -> f64 {
        let mut squares = 0.0;
        for (&a, &b) in a.iter().zip(b) {
            let same = a == b || (a.is_nan() && b.is_nan());
            self.different += u64::from(!same);
            let rounded = match dtype {
                Dtype::BF16 => round_to_bf16(a),
                Dtype::F16 => round_to_f16(a),
                _ => a,
            };
            self.not_rounded += u64::from(!(rounded == b || (rounded.is_nan() && b.is_nan())));
            let (exact, near) = (f64::from(a), f64::from(b));
            let error = if same { 0.0 } else { exact - near };
            if exact.is_finite() {
                self.signal += exact * exact;
            }
            squares += error * error;
            self.sum_abs += error.abs();
            self.max_abs = self.max_abs.max(error.abs());
        }
        self.noise += squares;
        self.count = self.count.saturating_add(u64::try_from(a.len().min(b.len())).unwrap_or(0));
        squares
    }
}

impl Job<'_> {
    /// Compares two sets of values, the second of which has this element type; `None` where their shapes do not go
    /// with each other.
    pub(crate) async fn distance(
        &mut self,
        mut a: Rows<'_>,
        mut b: Rows<'_>,
        dtype: Dtype,
        mut cells: Option<&mut ErrorCells>,
    ) -> Result<Option<Distance>, ConvertError> {
        let count = |rows: &Rows<'_>| rows.rows.checked_mul(rows.cols);
        let mut found = Distance::default();
        if a.rows != b.rows && a.cols != b.cols && count(&a) == count(&b) {
            let narrow = a.cols.min(b.cols);
            if narrow == 0 || !a.cols.max(b.cols).is_multiple_of(narrow) {
                return Ok(None);
            }
            a.reshaped(narrow);
            b.reshaped(narrow);
        }
        // Rows of scales and codes come in whole ones: 16 is what kernels pad to, 128 what tiles do.
        if a.rows.abs_diff(b.rows) >= 128 || a.cols.abs_diff(b.cols) >= 128 {
            return Ok(None);
        }
        found.padding = [a.rows.abs_diff(b.rows), a.cols.abs_diff(b.cols)];
        let (rows, cols) = (a.rows.min(b.rows), usize::try_from(a.cols.min(b.cols)).unwrap_or(usize::MAX));
        let wide = a.cols.max(b.cols).max(1).saturating_mul(4);
        let wanted = (self.tile_bytes() / wide).max(1);
        let mut row = 0;
        while row < a.rows.max(b.rows) {
            let mut count = wanted;
            for side in [&a, &b].into_iter().filter(|s| row < s.rows) {
                count = count.min(side.together(row, wanted));
            }
            if row < rows {
                count = count.min(rows - row);
            }
            let values_a = if row < a.rows { a.read(self.engine, row, count).await? } else { Vec::new() };
            let values_b = if row < b.rows { b.read(self.engine, row, count).await? } else { Vec::new() };
            let (width_a, width_b) = (index(a.cols), index(b.cols));
            for at in 0..index(count) {
                let line = |values: &[f32], width: usize| -> Vec<f32> {
                    let start = at.saturating_mul(width);
                    values.get(start..start.saturating_add(width)).unwrap_or_default().to_vec()
                };
                let (line_a, line_b) = (line(&values_a, width_a), line(&values_b, width_b));
                let beyond = |line: &[f32], from: usize| {
                    let rest = line.get(from..).unwrap_or_default();
                    u64::try_from(rest.iter().filter(|v| **v != 0.0).count()).unwrap_or(0)
                };
                let shared = if row < rows { cols } else { 0 };
                found.padding_not_zero += beyond(&line_a, shared) + beyond(&line_b, shared);
                let (own, other) =
                    (line_a.get(..shared).unwrap_or_default(), line_b.get(..shared).unwrap_or_default());
                found.add(own, other, dtype);
                if let Some(cells) = cells.as_deref_mut() {
                    let at = u64::try_from(at).unwrap_or(0);
                    cells.add(row.saturating_add(at), own, other);
                }
            }
            row = row.saturating_add(count.max(1));
            self.step(0)?;
        }
        Ok(Some(found))
    }
}

fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
