//! What packing loses: signal to quantization noise and the largest error, taken while tiles pass by.

use quantscope_kernels::FloatType;
use quantscope_numeric::{f32_bits_from_bf16, f32_bits_from_f16};

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

/// A tile's values in F32, whatever float type they are stored in.
fn values(dtype: FloatType, bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.chunks_exact(dtype.bytes()).map(move |b| {
        let bits = match (dtype, b) {
            (FloatType::Bf16, &[lo, hi]) => f32_bits_from_bf16(u16::from_le_bytes([lo, hi])),
            (FloatType::F16, &[lo, hi]) => f32_bits_from_f16(u16::from_le_bytes([lo, hi])),
            (FloatType::F32, &[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]),
            _ => f32::NAN.to_bits(),
        };
        f32::from_bits(bits)
    })
}

impl Noise {
    /// Adds a tile: rows of `cols` source values against rows of `stored_cols` decoded ones, whose padding is
    /// left out.
    pub(crate) fn add_tile(
        &mut self,
        dtype: FloatType,
        source: &[u8],
        decoded: &[f32],
        cols: u64,
        stored_cols: u64,
    ) {
        let (Ok(cols), Ok(stored)) = (usize::try_from(cols), usize::try_from(stored_cols)) else { return };
        let rows = source.chunks(cols.max(1) * dtype.bytes()).zip(decoded.chunks(stored.max(1)));
        for (row, decoded) in rows {
            for (value, &decoded) in values(dtype, row).zip(decoded) {
                self.add(value, decoded);
            }
        }
    }
}
