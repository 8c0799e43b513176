//! What packing loses: signal to quantization noise and the largest error, taken while tiles pass by.

use quantscope_numeric::{Dtype, widen};

/// Round-trip error of a packed layer against its source.
#[derive(Debug, Clone, PartialEq)]
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
}

impl Noise {
    /// Adds a tile: rows of `cols` source values against rows of `stored_cols` decoded ones, whose padding is
    /// left out.
    pub(crate) fn add_tile(
        &mut self,
        dtype: Dtype,
        source: &[u8],
        decoded: &[f32],
        cols: u64,
        stored_cols: u64,
    ) {
        let Ok(stored) = usize::try_from(stored_cols) else { return };
        let Some(row_bytes) = dtype.byte_len(cols).and_then(|n| usize::try_from(n).ok()) else { return };
        let mut values = Vec::new();
        for (row, decoded) in source.chunks(row_bytes.max(1)).zip(decoded.chunks(stored.max(1))) {
            values.clear();
            widen(dtype, row, &mut values);
            for (&value, &decoded) in values.iter().zip(decoded) {
                self.add(value, decoded);
            }
        }
    }
}
