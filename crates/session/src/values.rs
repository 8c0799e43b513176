//! What a layer's bytes show: a histogram of decoded values, the block scales as a picture, the first
//! block by hand. A large layer is sampled by rows under a fixed budget, and the reply says so.

use crate::Session;
use crate::api::{FirstBlock, Histogram, LayerValues, ScaleMap, SessionError};
use quantscope_audit::{LayerInfo, Shard};
use quantscope_format::{Control, Progress, TensorInfo};
use quantscope_numeric::{Dtype, e4m3, f32_bits_from_bf16, f32_bits_from_f16};
use quantscope_schemes::{DecodeTile, ScaleLayout, WEIGHT_LEAF};

/// Bytes of a weight that are read for a picture.
const SAMPLE_BYTES: u64 = 4 << 20;
/// Bins of a histogram.
const BINS: usize = 61;
/// Largest picture of scales.
const MAP_ROWS: u64 = 32;
/// Largest picture of scales.
const MAP_COLS: u64 = 64;

struct Part<'a> {
    shard: &'a Shard,
    tensor: &'a TensorInfo,
}

impl Part<'_> {
    async fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>, SessionError> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        self.shard.source.read(self.tensor.begin.saturating_add(offset), &mut bytes).await?;
        Ok(bytes)
    }
}

fn part<'a>(session: &'a Session, layer: &LayerInfo, leaf: &str) -> Option<Part<'a>> {
    let (shard, tensor) = layer.tensor(&session.checkpoint, leaf)?;
    let usable = shard.header.is_readable(tensor) && tensor.byte_len() > 0;
    usable.then_some(Part { shard, tensor })
}

fn principal<'a>(session: &'a Session, layer: &LayerInfo) -> Option<Part<'a>> {
    let view = layer.view(&session.checkpoint);
    part(session, layer, view.principal()?.leaf)
}

fn floats(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let pairs = || bytes.chunks_exact(2).filter_map(|b| b.try_into().ok()).map(u16::from_le_bytes);
    match dtype {
        Dtype::F32 => {
            bytes.chunks_exact(4).filter_map(|b| b.try_into().ok()).map(f32::from_le_bytes).collect()
        }
        Dtype::BF16 => pairs().map(|b| f32::from_bits(f32_bits_from_bf16(b))).collect(),
        Dtype::F16 => pairs().map(|b| f32::from_bits(f32_bits_from_f16(b))).collect(),
        Dtype::F8_E4M3 => bytes.iter().map(|&b| e4m3::decode(b)).collect(),
        _ => Vec::new(),
    }
}

/// Rows to read of a matrix, spread evenly, so that the sample stays under the budget.
fn sample_rows(rows: u64, row_bytes: u64) -> Vec<u64> {
    let fit = (SAMPLE_BYTES / row_bytes.max(1)).clamp(1, rows.max(1));
    (0..fit).map(|i| i * rows / fit).collect()
}

pub(crate) async fn read(
    session: &Session,
    name: &str,
    control: &dyn Control,
) -> Result<LayerValues, SessionError> {
    let Some(layer) = session.model.layer(name) else {
        let message = format!("there is no layer called {name:?} in this checkpoint");
        return Err(SessionError { kind: "refused".into(), message });
    };
    let mut reply = LayerValues { name: name.to_string(), ..LayerValues::default() };
    for member in &layer.members {
        let Some(scalar) = part(session, layer, &member.leaf) else { continue };
        if scalar.tensor.elements() == Some(1) && member.leaf != WEIGHT_LEAF {
            let bytes = scalar.read(0, scalar.tensor.byte_len()).await?;
            let value = floats(scalar.tensor.dtype, &bytes).first().map(|v| format!("{v:e}"));
            reply.scalars.extend(value.map(|v| (member.leaf.clone(), v)));
        }
    }
    let Some(weight) = principal(session, layer) else { return Ok(reply) };
    let Some(sampler) = Sampler::new(session, layer, &weight).await? else { return Ok(reply) };
    sampler.fill(&mut reply, control).await?;
    reply.scale_map = scale_map(session, layer).await?;
    reply.first_block = sampler.first_block().await?;
    Ok(reply)
}

/// Reads and decodes rows of one layer.
struct Sampler<'a> {
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
}

impl<'a> Sampler<'a> {
    /// `None` where the scales do not fit the weight, so that nothing can be decoded.
    async fn new(
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
        // A single row of a huge tensor would not be a bounded sample; vectors are read in part.
        let mut sampler =
            Self { layer, weight, layout, scale: None, global_scale: 1.0, rows, row_bytes, cols };
        match layout {
            ScaleLayout::None => return Ok((row_bytes <= SAMPLE_BYTES).then_some(sampler)),
            ScaleLayout::Fp4Blocks { scale, global, .. } => {
                let Some(global) = part(session, layer, global) else { return Ok(None) };
                let bytes = global.read(0, global.tensor.byte_len().min(4)).await?;
                sampler.global_scale =
                    floats(global.tensor.dtype, &bytes).first().copied().unwrap_or(f32::NAN);
                sampler.scale = part(session, layer, scale);
            }
            ScaleLayout::Fp8Tiles { scale, .. } => sampler.scale = part(session, layer, scale),
        }
        let expected = match layout {
            ScaleLayout::Fp8Tiles { rows: r, cols: c, .. } => {
                rows.div_ceil(u64::from(r)).checked_mul(cols.div_ceil(u64::from(c)))
            }
            ScaleLayout::Fp4Blocks { block, .. } => rows.checked_mul(cols / u64::from(block)),
            ScaleLayout::None => None,
        };
        let fits = sampler.scale.as_ref().is_some_and(|s| s.tensor.elements() == expected);
        Ok((fits && row_bytes <= SAMPLE_BYTES).then_some(sampler))
    }

    async fn decode_row(&self, row: u64, out: &mut Vec<f32>) -> Result<(), SessionError> {
        let weight = self.weight.read(row * self.row_bytes, self.row_bytes).await?;
        // Scales are read for this row alone, so the tile's own first row is 0 of what was read.
        let (scales, scale_cols) = match (self.layout, &self.scale) {
            (ScaleLayout::Fp4Blocks { block, .. }, Some(scale)) => {
                let blocks = self.cols / u64::from(block);
                (scale.read(row * blocks, blocks).await?, blocks)
            }
            (ScaleLayout::Fp8Tiles { rows, cols, .. }, Some(scale)) => {
                let across = self.cols.div_ceil(u64::from(cols));
                let width = scale.tensor.dtype.bits() / 8;
                let bytes = scale.read(row / u64::from(rows) * across * width, across * width).await?;
                let single = floats(scale.tensor.dtype, &bytes);
                (single.iter().flat_map(|v| v.to_le_bytes()).collect(), across)
            }
            _ => (Vec::new(), 0),
        };
        let tile = DecodeTile {
            weight: &weight,
            dtype: self.weight.tensor.dtype,
            scales: &scales,
            scale_cols,
            global_scale: self.global_scale,
            first_row: 0,
            cols: self.cols,
        };
        self.layer.scheme.decode(&tile, out);
        Ok(())
    }

    async fn fill(&self, reply: &mut LayerValues, control: &dyn Control) -> Result<(), SessionError> {
        let rows = sample_rows(self.rows, self.row_bytes);
        let mut values = Vec::new();
        let total = self.row_bytes.saturating_mul(crate::count(rows.len()));
        for (i, &row) in (1_u64..).zip(&rows) {
            if control.is_cancelled() {
                return Err(SessionError { kind: "cancelled".into(), message: "cancelled".into() });
            }
            self.decode_row(row, &mut values).await?;
            control.progress(&Progress {
                phase: "Reading values".into(),
                item: reply.name.clone(),
                done_bytes: i * self.row_bytes,
                total_bytes: total,
            });
        }
        reply.values_read = crate::count(values.len());
        reply.values_total = self.rows.saturating_mul(self.cols);
        reply.histogram = histogram(&values);
        Ok(())
    }

    async fn first_block(&self) -> Result<Option<FirstBlock>, SessionError> {
        let Some(scale) = &self.scale else { return Ok(None) };
        let mut values = Vec::new();
        self.decode_row(0, &mut values).await?;
        values.truncate(16);
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

/// Counts values in equal steps between the extremes, symmetric about zero.
fn histogram(values: &[f32]) -> Histogram {
    let finite = || values.iter().copied().filter(|v| v.is_finite()).map(f64::from);
    let extreme = finite().map(f64::abs).fold(0.0, f64::max);
    let extreme = if extreme > 0.0 { extreme } else { 1.0 };
    let mut histogram =
        Histogram { low: -extreme, high: extreme, bins: vec![0; BINS], ..Histogram::default() };
    let (mut sum, mut squares, mut number) = (0.0, 0.0, 0.0_f64);
    for value in finite() {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bin between 0 and 60")]
        let bin = ((value / extreme + 1.0) / 2.0 * BINS as f64) as usize;
        if let Some(slot) = histogram.bins.get_mut(bin.min(BINS - 1)) {
            *slot += 1;
        }
        histogram.zeros += u64::from(value == 0.0);
        (sum, squares, number) = (sum + value, squares + value * value, number + 1.0);
    }
    histogram.not_finite = crate::count(values.iter().filter(|v| !v.is_finite()).count());
    if number > 0.0 {
        histogram.mean = sum / number;
        histogram.std = (squares / number - histogram.mean * histogram.mean).max(0.0).sqrt();
    }
    histogram
}

/// The scale tensor averaged down to a picture.
async fn scale_map(session: &Session, layer: &LayerInfo) -> Result<Option<ScaleMap>, SessionError> {
    let leaf = layer.scheme.scale_layout().scale_leaf();
    let Some(scale) = leaf.and_then(|leaf| part(session, layer, leaf)) else { return Ok(None) };
    // Rank 4 as [rows, 1, columns, 1]; a vector is one column.
    let sides: Vec<u64> = scale.tensor.shape.iter().copied().filter(|&d| d != 1).collect();
    let (rows, cols) = match *sides.as_slice() {
        [rows, cols] => (rows, cols),
        [length] if scale.tensor.shape.first() == Some(&length) => (length, 1),
        [length] => (1, length),
        _ => return Ok(None),
    };
    let width = scale.tensor.dtype.bits() / 8;
    let (map_rows, map_cols) = (rows.min(MAP_ROWS), cols.min(MAP_COLS));
    let row_bytes = cols.saturating_mul(width);
    if row_bytes == 0 || row_bytes > SAMPLE_BYTES {
        return Ok(None);
    }
    let mut map = ScaleMap {
        rows: u32::try_from(map_rows).unwrap_or(0),
        cols: u32::try_from(map_cols).unwrap_or(0),
        tensor_rows: rows,
        tensor_cols: cols,
        cells: Vec::new(),
        low: f32::INFINITY,
        high: f32::NEG_INFINITY,
        dtype: scale.tensor.dtype.tag().into(),
    };
    for cell_row in 0..map_rows {
        let (first, last) = (cell_row * rows / map_rows, (cell_row + 1) * rows / map_rows);
        // Of many rows behind one row of the picture, a few under the budget stand for all.
        let step = ((last - first) * row_bytes / (SAMPLE_BYTES / MAP_ROWS)).max(1);
        let mut sums = vec![(0.0_f64, 0_u32); usize::try_from(map_cols).unwrap_or(0)];
        let mut row = first;
        while row < last {
            let values = floats(scale.tensor.dtype, &scale.read(row * row_bytes, row_bytes).await?);
            for (col, value) in (0_u64..).zip(values) {
                let cell = usize::try_from(col * map_cols / cols).unwrap_or(usize::MAX);
                if let Some((sum, number)) = sums.get_mut(cell).filter(|_| value.is_finite() && value > 0.0) {
                    (*sum, *number) = (*sum + f64::from(value), *number + 1);
                }
            }
            row += step;
        }
        for (sum, number) in sums {
            #[allow(clippy::cast_possible_truncation, reason = "a shade of a picture")]
            let shade = if number == 0 { f32::NAN } else { (sum / f64::from(number)).log2() as f32 };
            (map.low, map.high) = (map.low.min(shade), map.high.max(shade));
            map.cells.push(shade);
        }
    }
    Ok(Some(map))
}
