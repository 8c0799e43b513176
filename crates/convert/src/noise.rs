//! What packing loses: signal to quantization noise and the largest error, taken while tiles pass by.

use crate::plan::PackedLayer;
use quantscope_kernels::error_metrics::ErrorMetrics;
use quantscope_kernels::{Engine, EngineError, FloatTile};
use quantscope_schemes::{Decoder, Encoding, Facts, LayerView, Region, Role, Scheme, Stored};
use std::borrow::Cow;
use std::ops::Range;

/// Round-trip error of a packed layer against its source.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LayerError {
    /// Module path.
    pub name: String,
    /// Signal to quantization noise ratio in dB; `None` where there was no noise or no signal.
    pub sqnr_db: Option<f64>,
    /// Largest absolute difference.
    pub max_abs: f64,
}

impl LayerError {
    /// The figures of a layer. They are made of sums that no order changes, so that they are the same whatever the
    /// tiles, threads and engine were.
    pub(crate) fn new(name: &str, metrics: &ErrorMetrics) -> Self {
        let known = metrics.error.total() > 0.0 && metrics.signal.total() > 0.0;
        let sqnr_db = known.then(|| metrics.sqnr_db());
        Self { name: name.to_string(), sqnr_db, max_abs: f64::from(metrics.max_abs()) }
    }
}

/// How far values are from those of a tile. Rows of them are `stored_cols` wide; padding is left out.
///
/// # Errors
/// If the engine fails.
pub(crate) async fn compare(
    engine: &dyn Engine,
    tile: FloatTile<'_>,
    values: &[f32],
    stored_cols: usize,
) -> Result<ErrorMetrics, EngineError> {
    let cols = usize::try_from(tile.cols).unwrap_or(usize::MAX);
    let bits: &[u32] = bytemuck::cast_slice(values);
    if stored_cols == cols {
        return engine.error_metrics(tile, bits).await;
    }
    let mut kept = Vec::with_capacity(bits.len());
    for row in bits.chunks(stored_cols.max(1)) {
        kept.extend_from_slice(row.get(..cols).unwrap_or(row));
    }
    engine.error_metrics(tile, &kept).await
}

/// What a tile was packed to, and where it lies in the matrix.
pub(crate) struct PackedTile<'t> {
    /// Rows of the matrix.
    pub(crate) rows: Range<u64>,
    /// Columns of the matrix, without padding.
    pub(crate) cols: Range<u64>,
    /// The values.
    pub(crate) source: FloatTile<'t>,
    /// Bytes of the packed weight.
    pub(crate) codes: &'t [u8],
    /// Bytes of the scales of the blocks it touches.
    pub(crate) scales: &'t [u8],
}

/// Decodes what was packed, and compares.
pub(crate) struct Gauge {
    decoder: Option<Box<dyn Decoder>>,
    weight: &'static str,
    scale: Option<&'static str>,
    scalars: Vec<(&'static str, f32)>,
    cols: u64,
    /// Values of the last tile, whose memory the next one takes.
    values: Vec<f32>,
    /// What it has measured; `None` if the layer cannot be opened.
    pub(crate) metrics: Option<ErrorMetrics>,
}

impl Gauge {
    /// Opens the layer as the plan promises it, with its 0-d scales.
    pub(crate) fn new(packed: &PackedLayer, scalars: Vec<(&'static str, f32)>) -> Self {
        Self::of(packed.scheme, &packed.name, &packed.encoding, packed.matrix.cols, scalars)
    }

    /// Opens what an encoding of a matrix of `cols` columns promises.
    pub(crate) fn of(
        scheme: &dyn Scheme,
        name: &str,
        encoding: &Encoding,
        cols: u64,
        scalars: Vec<(&'static str, f32)>,
    ) -> Self {
        let outputs = &encoding.outputs;
        let stored = outputs.iter().map(|o| Stored { leaf: o.leaf, dtype: o.dtype, shape: &o.shape });
        let facts = Facts { declared: Some(scheme.id()), ..Facts::default() };
        let view = LayerView { module: name, tensors: stored.collect(), facts };
        let leaf = |role| outputs.iter().find(|o| o.role == role && !o.shape.is_empty()).map(|o| o.leaf);
        Self {
            decoder: scheme.decoder(&view).ok(),
            weight: leaf(Role::Weight).unwrap_or_default(),
            scale: leaf(Role::WeightScale),
            scalars,
            cols,
            values: Vec::new(),
            metrics: None,
        }
    }

    /// The bytes that a decoder asks for, out of those of the tile; `None` if it asks for others.
    fn parts<'t>(
        &self,
        decoder: &dyn Decoder,
        region: &Region,
        tile: &PackedTile<'t>,
    ) -> Option<Vec<Cow<'t, [u8]>>> {
        let part = |slab: quantscope_schemes::Slab| {
            let bytes = match slab.leaf.as_ref() {
                leaf if leaf == self.weight => Cow::Borrowed(tile.codes),
                leaf if Some(leaf) == self.scale => Cow::Borrowed(tile.scales),
                leaf => Cow::Owned(self.scalars.iter().find(|(l, _)| *l == leaf)?.1.to_le_bytes().to_vec()),
            };
            let wanted = slab.run.checked_mul(slab.runs);
            (wanted == u64::try_from(bytes.len()).ok()).then_some(bytes)
        };
        decoder.needs(region).into_iter().map(part).collect()
    }

    /// The part of the matrix as stored that a tile is, padding included.
    fn region(&self, decoder: &dyn Decoder, tile: &PackedTile<'_>) -> Region {
        let end = if tile.cols.end == self.cols { decoder.extent()[1] } else { tile.cols.end };
        Region { rows: tile.rows.clone(), cols: tile.cols.start..end }
    }

    /// Takes in a tile.
    ///
    /// # Errors
    /// If the engine fails.
    pub(crate) async fn add(&mut self, engine: &dyn Engine, tile: PackedTile<'_>) -> Result<(), EngineError> {
        let Some(decoder) = self.decoder.as_deref() else { return Ok(()) };
        let region = self.region(decoder, &tile);
        let Some(parts) = self.parts(decoder, &region, &tile) else { return Ok(()) };
        if let Some(found) = decoder.errors(engine, &region, &parts, tile.source).await? {
            self.metrics.get_or_insert_default().add(&found);
            return Ok(());
        }
        let mut values = std::mem::take(&mut self.values);
        if let Some(stored) = self.decode_into(engine, &tile, &mut values).await? {
            let found = compare(engine, tile.source, &values, stored).await?;
            self.metrics.get_or_insert_default().add(&found);
        }
        self.values = values;
        Ok(())
    }

    /// The values of a tile as stored, and how many there are in a row, padding included; `None` where the
    /// layer cannot be opened.
    ///
    /// # Errors
    /// If the engine fails.
    pub(crate) async fn decode(
        &self,
        engine: &dyn Engine,
        tile: &PackedTile<'_>,
    ) -> Result<Option<(Vec<f32>, usize)>, EngineError> {
        let mut values = Vec::new();
        Ok(self.decode_into(engine, tile, &mut values).await?.map(|stored| (values, stored)))
    }

    /// The same into a buffer, whose memory is used again.
    async fn decode_into(
        &self,
        engine: &dyn Engine,
        tile: &PackedTile<'_>,
        values: &mut Vec<f32>,
    ) -> Result<Option<usize>, EngineError> {
        values.clear();
        let Some(decoder) = &self.decoder else { return Ok(None) };
        let region = self.region(decoder.as_ref(), tile);
        let Some(parts) = self.parts(decoder.as_ref(), &region, tile) else { return Ok(None) };
        let parts: Vec<Vec<u8>> = parts.into_iter().map(Cow::into_owned).collect();
        decoder.decode(engine, &region, &parts, values).await?;
        let stored = usize::try_from(region.cols.end.saturating_sub(region.cols.start)).unwrap_or(usize::MAX);
        Ok(Some(stored))
    }
}
