//! Reading and decoding a sample of a layer: runs of whole rows, spread evenly, each in one read.

use crate::Session;
use crate::api::{LayerValues, SessionError};
use crate::census::{Codes, Counter};
use crate::histogram::histogram;
use crate::outliers::Largest;
use crate::values::SAMPLE_BYTES;
use quantscope_audit::LayerInfo;
use quantscope_audit::decoded::{DecodeError, DecodedLayer};
use quantscope_format::{Control, Progress, TensorInfo};
use quantscope_kernels::CpuEngine;
use quantscope_schemes::Region;
use std::ops::Range;

/// Runs of a sample: each costs a read of the weight and one of the scales.
const RUNS: u64 = 64;

/// Runs of rows that stay under the budget together; all rows of a small matrix.
fn sample_runs(rows: u64, row_bytes: u64) -> Vec<Range<u64>> {
    let fit = (SAMPLE_BYTES / row_bytes.max(1)).clamp(1, rows.max(1));
    let runs = RUNS.min(fit);
    let length = fit / runs;
    if fit == rows {
        // Without gaps, so that a small layer is read in full.
        let step = rows.div_ceil(runs).max(1);
        return (0..rows.div_ceil(step)).map(|i| i * step..((i + 1) * step).min(rows)).collect();
    }
    (0..runs).map(|i| i * (rows / runs)).map(|start| start..(start + length).min(rows)).collect()
}

/// Reads and decodes rows of one layer.
pub(crate) struct Sampler<'a> {
    decoded: DecodedLayer<'a>,
    layer: &'a LayerInfo,
    codes: Option<Codes>,
    rows: u64,
    /// Bytes that a row costs to read, about.
    row_bytes: u64,
    /// Weights in a stored row, padding included.
    cols: u64,
    /// Weights in a row, padding left out where it is known.
    logical_cols: u64,
}

/// What reading and decoding can fail of, at the boundary.
pub(crate) fn failed(error: DecodeError) -> SessionError {
    match error {
        DecodeError::Source(error) => error.into(),
        other => SessionError { kind: "refused".into(), message: other.to_string() },
    }
}

impl<'a> Sampler<'a> {
    /// `None` where the tensors of the layer do not fit together, so that nothing can be decoded.
    pub(crate) fn new(session: &'a Session, layer: &'a LayerInfo, weight: TensorInfo<'_>) -> Option<Self> {
        let decoded = DecodedLayer::new(&session.checkpoint, layer).ok()?;
        let codes = Codes::of(layer, layer.scale_layout(&session.checkpoint), weight.dtype);
        let [rows, cols] = decoded.decoder().extent();
        let flattened = layer.shape.iter().skip(1).fold(1_u64, |n, &d| n.saturating_mul(d));
        let padded = layer.shape.first() == Some(&rows) && layer.shape.len() > 1;
        let logical_cols = if padded { flattened.min(cols) } else { cols };
        let row_bytes = weight.byte_len() / rows.max(1);
        Some(Self { decoded, layer, codes, rows, row_bytes, cols, logical_cols })
    }

    /// The layer, open for decoding.
    pub(crate) fn decoded(&self) -> &DecodedLayer<'a> {
        &self.decoded
    }

    /// Rows.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Columns, padding left out.
    pub(crate) fn logical_cols(&self) -> u64 {
        self.logical_cols
    }

    /// The columns that have to be decoded for these.
    pub(crate) fn aligned(&self, cols: &Range<u64>) -> Range<u64> {
        let unit = self.decoded.decoder().column_unit().max(1);
        cols.start / unit * unit..cols.end.div_ceil(unit).saturating_mul(unit).min(self.cols)
    }

    /// Columns that are read of each row: all, unless a single row is beyond the budget.
    fn columns(&self) -> u64 {
        if self.row_bytes <= SAMPLE_BYTES {
            return self.cols;
        }
        let unit = self.decoded.decoder().column_unit().max(1);
        (SAMPLE_BYTES / unit).saturating_mul(unit).clamp(unit, self.cols.max(unit)).min(self.cols)
    }

    /// Decodes the sample and counts it.
    pub(crate) async fn fill(
        &self,
        reply: &mut LayerValues,
        control: &dyn Control,
    ) -> Result<(), SessionError> {
        let cols = self.columns();
        let runs = sample_runs(self.rows, self.row_bytes);
        let length = |run: &Range<u64>| (run.end - run.start).saturating_mul(self.row_bytes);
        let total_bytes = runs.iter().map(length).fold(0, u64::saturating_add);
        let engine = CpuEngine::new();
        let mut done_bytes = 0;
        let mut values = Vec::new();
        let mut counter = self.codes.map(Counter::new);
        let mut largest = Largest::default();
        for run in runs {
            if control.is_cancelled() {
                return Err(SessionError { kind: "cancelled".into(), message: "cancelled".into() });
            }
            done_bytes += length(&run);
            let region = Region { rows: run, cols: 0..cols };
            let parts = self.decoded.stored(&region).await.map_err(failed)?;
            if let Some(counter) = &mut counter {
                let slabs = self.decoded.decoder().needs(&region);
                let weight =
                    slabs.iter().zip(&parts).filter(|(slab, _)| slab.leaf == self.layer.weight_leaf());
                weight.for_each(|(_, bytes)| counter.add(bytes));
            }
            let mut decoded = Vec::new();
            let decoding = self.decoded.decoder().decode(&engine, &region, &parts, &mut decoded);
            decoding.await.map_err(|error| failed(error.into()))?;
            let stored = usize::try_from(cols).unwrap_or(usize::MAX).max(1);
            let logical = usize::try_from(self.logical_cols).unwrap_or(usize::MAX);
            for (row, stored) in (region.rows.start..).zip(decoded.chunks(stored)) {
                let row_values = stored.get(..logical).unwrap_or(stored);
                largest.add(row, 0, row_values);
                values.extend_from_slice(row_values);
            }
            let (phase, item) = ("Reading values".into(), reply.name.clone());
            control.progress(&Progress { phase, item, done_bytes, total_bytes });
        }
        reply.values_read = crate::count(values.len());
        reply.values_total = self.rows.saturating_mul(self.logical_cols);
        reply.histogram = histogram(&values);
        reply.census = counter.map(|counter| counter.census());
        reply.outliers = largest.places(&self.layer.shape, self.logical_cols);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{RUNS, SAMPLE_BYTES, sample_runs};

    #[test]
    fn small_layers_are_read_in_full_and_large_ones_in_a_few_runs() {
        for (rows, row_bytes) in [(1, 10), (7, 1), (64, 1 << 10), (4096, 1 << 10), (3, SAMPLE_BYTES)] {
            let runs = sample_runs(rows, row_bytes);
            assert!(runs.len() as u64 <= RUNS, "{rows} x {row_bytes}: {runs:?}");
            if rows * row_bytes <= SAMPLE_BYTES {
                assert_eq!((runs[0].start, runs[runs.len() - 1].end), (0, rows));
                assert!(runs.windows(2).all(|w| w[0].end == w[1].start), "{runs:?}");
            }
        }
        let runs = sample_runs(u64::MAX, 1 << 10);
        let total: u64 = runs.iter().map(|r| (r.end - r.start) << 10).sum();
        assert!(total <= SAMPLE_BYTES && runs.len() as u64 == RUNS);
        assert!(runs[63].start > u64::MAX / 64 * 62);
    }
}
