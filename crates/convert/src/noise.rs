//! What packing loses: signal to quantization noise and the largest error, taken while tiles pass by.

use crate::plan::PackedLayer;
use quantscope_kernels::{Engine, EngineError, FloatTile, FloatType};
use quantscope_numeric::{Dtype, widen};
use quantscope_schemes::{Decoder, Encoding, Facts, LayerView, Region, Role, Scheme, Stored};
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

/// Running sums of a layer's round-trip error.
#[derive(Default)]
pub(crate) struct Noise {
    signal: f64,
    noise: f64,
    max_abs: f64,
}

impl Noise {
    fn add(&mut self, source: f32, decoded: f32) {
        let (source, decoded) = (f64::from(source), f64::from(decoded));
        let error = source - decoded;
        self.signal += source * source;
        self.noise += error * error;
        self.max_abs = self.max_abs.max(error.abs());
    }

    /// The figures of a layer.
    pub(crate) fn finish(&self, name: &str) -> LayerError {
        let known = self.noise > 0.0 && self.signal > 0.0;
        let sqnr_db = known.then(|| 10.0 * (self.signal / self.noise).log10());
        LayerError { name: name.to_string(), sqnr_db, max_abs: self.max_abs }
    }

    /// Adds rows of source values against rows of `stored_cols` decoded ones, whose padding is left out.
    fn add_tile(&mut self, tile: FloatTile<'_>, decoded: &[f32], stored_cols: usize) {
        let dtype = match tile.dtype {
            FloatType::F32 => Dtype::F32,
            FloatType::Bf16 => Dtype::BF16,
            FloatType::F16 => Dtype::F16,
        };
        let row_bytes = usize::try_from(tile.cols).unwrap_or(usize::MAX).saturating_mul(tile.dtype.bytes());
        let mut values = Vec::new();
        for (row, decoded) in tile.bytes.chunks(row_bytes.max(1)).zip(decoded.chunks(stored_cols.max(1))) {
            values.clear();
            widen(dtype, row, &mut values);
            for (&value, &decoded) in values.iter().zip(decoded) {
                self.add(value, decoded);
            }
        }
    }
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
    pub(crate) noise: Noise,
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
            noise: Noise::default(),
        }
    }

    /// The bytes that a decoder asks for, out of those of the tile; `None` if it asks for others.
    fn parts(&self, decoder: &dyn Decoder, region: &Region, tile: &PackedTile<'_>) -> Option<Vec<Vec<u8>>> {
        let part = |slab: quantscope_schemes::Slab| {
            let bytes = match slab.leaf.as_ref() {
                leaf if leaf == self.weight => tile.codes.to_vec(),
                leaf if Some(leaf) == self.scale => tile.scales.to_vec(),
                leaf => self.scalars.iter().find(|(l, _)| *l == leaf)?.1.to_le_bytes().to_vec(),
            };
            let wanted = slab.run.checked_mul(slab.runs);
            (wanted == u64::try_from(bytes.len()).ok()).then_some(bytes)
        };
        decoder.needs(region).into_iter().map(part).collect()
    }

    /// Takes in a tile.
    ///
    /// # Errors
    /// If the engine fails.
    pub(crate) async fn add(&mut self, engine: &dyn Engine, tile: PackedTile<'_>) -> Result<(), EngineError> {
        if let Some((values, stored)) = self.decode(engine, &tile).await? {
            self.noise.add_tile(tile.source, &values, stored);
        }
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
        let Some(decoder) = &self.decoder else { return Ok(None) };
        let end = if tile.cols.end == self.cols { decoder.extent()[1] } else { tile.cols.end };
        let region = Region { rows: tile.rows.clone(), cols: tile.cols.start..end };
        let Some(parts) = self.parts(decoder.as_ref(), &region, tile) else { return Ok(None) };
        let mut values = Vec::new();
        decoder.decode(engine, &region, &parts, &mut values).await?;
        let stored = usize::try_from(region.cols.end.saturating_sub(region.cols.start)).unwrap_or(usize::MAX);
        Ok(Some((values, stored)))
    }
}
