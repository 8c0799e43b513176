//! Reading and decoding a sample of a layer: runs of whole rows, spread evenly, each in one read.

use crate::Session;
use crate::api::{FirstBlock, LayerValues, SessionError};
use crate::histogram::histogram;
use crate::values::{Part, SAMPLE_BYTES, floats, part};
use quantscope_audit::LayerInfo;
use quantscope_format::{Control, Progress};
use quantscope_schemes::{DecodeTile, ScaleLayout};
use std::ops::Range;

/// Runs of a sample: each costs a read of the weight and one of the scales.
const RUNS: u64 = 64;
/// Values of the first block that are shown.
const SHOWN: usize = 16;

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
    layer: &'a LayerInfo,
    weight: &'a Part<'a>,
    layout: ScaleLayout,
    /// The tensor of block or tile scales.
    scale: Option<Part<'a>>,
    global_scale: f32,
    rows: u64,
    row_bytes: u64,
    /// Weights in a stored row, padding included.
    cols: u64,
    /// Weights in a row, padding left out where it is known.
    logical_cols: u64,
}

impl<'a> Sampler<'a> {
    /// `None` where the scales do not fit the weight, so that nothing can be decoded, or a single row is
    /// beyond the budget.
    pub(crate) async fn new(
        session: &'a Session,
        layer: &'a LayerInfo,
        weight: &'a Part<'a>,
    ) -> Result<Option<Self>, SessionError> {
        let layout = layer.scheme.scale_layout();
        let (rows, row_bytes) = match weight.tensor.shape.first() {
            Some(&rows) if weight.tensor.shape.len() > 1 && rows > 0 => {
                (rows, weight.tensor.byte_len() / rows)
            }
            _ => (1, weight.tensor.byte_len()),
        };
        let cols = match layout {
            ScaleLayout::Fp4Blocks { .. } => row_bytes * 2,
            _ => row_bytes * 8 / weight.tensor.dtype.bits(),
        };
        let flattened = layer.shape.iter().skip(1).fold(1_u64, |n, &d| n.saturating_mul(d));
        let logical_cols = if layer.shape.len() > 1 { flattened.min(cols) } else { cols };
        let (scale, global_scale) = (None, 1.0);
        let mut sampler =
            Self { layer, weight, layout, scale, global_scale, rows, row_bytes, cols, logical_cols };
        if row_bytes > SAMPLE_BYTES {
            return Ok(None);
        }
        let expected = match layout {
            ScaleLayout::None => return Ok(Some(sampler)),
            ScaleLayout::Fp8Tiles { rows: r, cols: c, .. } => {
                rows.div_ceil(u64::from(r)).checked_mul(cols.div_ceil(u64::from(c)))
            }
            ScaleLayout::Fp4Blocks { block, global, .. } => {
                let Some(global) = part(session, layer, global) else { return Ok(None) };
                let bytes = global.read(0, global.tensor.byte_len().min(4)).await?;
                let value = floats(global.tensor.dtype, &bytes).first().copied();
                sampler.global_scale = value.unwrap_or(f32::NAN);
                rows.checked_mul(cols / u64::from(block))
            }
        };
        sampler.scale = layout.scale_leaf().and_then(|leaf| part(session, layer, leaf));
        let fits = sampler.scale.as_ref().is_some_and(|s| s.tensor.elements() == expected);
        Ok(fits.then_some(sampler))
    }

    /// Decodes a run of rows.
    async fn decode(&self, rows: Range<u64>) -> Result<Vec<f32>, SessionError> {
        let count = rows.end - rows.start;
        let weight = self.weight.read(rows.start * self.row_bytes, count * self.row_bytes).await?;
        let (scales, scale_cols, first_row) = match (self.layout, &self.scale) {
            (ScaleLayout::Fp4Blocks { block, .. }, Some(scale)) => {
                let blocks = self.cols / u64::from(block);
                (scale.read(rows.start * blocks, count * blocks).await?, blocks, 0)
            }
            (ScaleLayout::Fp8Tiles { rows: block_rows, cols, .. }, Some(scale)) => {
                let (block_rows, across) = (u64::from(block_rows), self.cols.div_ceil(u64::from(cols)));
                let width = scale.tensor.dtype.bits() / 8;
                let (first, last) = (rows.start / block_rows, rows.end.div_ceil(block_rows));
                let bytes = scale.read(first * across * width, (last - first) * across * width).await?;
                let single = floats(scale.tensor.dtype, &bytes);
                let bytes = single.iter().flat_map(|v| v.to_le_bytes()).collect();
                (bytes, across, rows.start % block_rows)
            }
            _ => (Vec::new(), 0, 0),
        };
        let mut values = Vec::new();
        let tile = DecodeTile {
            weight: &weight,
            dtype: self.weight.tensor.dtype,
            scales: &scales,
            scale_cols,
            global_scale: self.global_scale,
            first_row,
            cols: self.cols,
        };
        self.layer.scheme.decode(&tile, &mut values);
        Ok(values)
    }

    /// Decodes the sample and counts it.
    pub(crate) async fn fill(
        &self,
        reply: &mut LayerValues,
        control: &dyn Control,
    ) -> Result<(), SessionError> {
        let runs = sample_runs(self.rows, self.row_bytes);
        let length = |run: &Range<u64>| (run.end - run.start).saturating_mul(self.row_bytes);
        let total_bytes = runs.iter().map(length).fold(0, u64::saturating_add);
        let mut done_bytes = 0;
        let mut values = Vec::new();
        for run in runs {
            if control.is_cancelled() {
                return Err(SessionError { kind: "cancelled".into(), message: "cancelled".into() });
            }
            done_bytes += length(&run);
            let decoded = self.decode(run).await?;
            let stored = usize::try_from(self.cols).unwrap_or(usize::MAX).max(1);
            let logical = usize::try_from(self.logical_cols).unwrap_or(usize::MAX);
            values.extend(decoded.chunks(stored).flat_map(|row| row.iter().take(logical)));
            let (phase, item) = ("Reading values".into(), reply.name.clone());
            control.progress(&Progress { phase, item, done_bytes, total_bytes });
        }
        reply.values_read = crate::count(values.len());
        reply.values_total = self.rows.saturating_mul(self.logical_cols);
        reply.histogram = histogram(&values);
        Ok(())
    }

    /// The first block, code by code; `None` where the scheme has no scales.
    pub(crate) async fn first_block(&self) -> Result<Option<FirstBlock>, SessionError> {
        let Some(scale) = &self.scale else { return Ok(None) };
        let mut values = self.decode(0..1).await?;
        values.truncate(SHOWN);
        let width = scale.tensor.dtype.bits() / 8;
        let stored = scale.read(0, width).await?;
        let decoded = floats(scale.tensor.dtype, &stored).first().copied().unwrap_or(f32::NAN);
        let hex: String = stored.iter().rev().map(|b| format!("{b:02X}")).collect();
        let fp4 = matches!(self.layout, ScaleLayout::Fp4Blocks { .. });
        let raw = self.weight.read(0, self.row_bytes.min(if fp4 { 8 } else { 16 })).await?;
        let codes = if fp4 { raw.iter().flat_map(|b| [b & 15, b >> 4]).collect() } else { raw.clone() };
        Ok(Some(FirstBlock {
            raw_hex: raw.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" "),
            codes,
            scale: format!("0x{hex} = {decoded}"),
            values,
        }))
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
