//! Scales from maxima, as the schemes with a scale per row, tile or group make them, and scales of activations.
//!
//! Source: `formats.md` e: the zero substitution "a == 0 -> maxbound", the clamp to the smallest normal
//! number of the maximum's own type, and `input_scale`.

use quantscope_kernels::FloatType;

/// How a largest magnitude becomes a scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MaximumRule {
    /// Largest code: the divisor, and what stands for a maximum of zero.
    pub(crate) largest: f32,
    /// Smallest maximum; `None` if neither zero nor tiny maxima are replaced.
    pub(crate) smallest: Option<f32>,
}

/// The smallest normal number of a type.
pub(crate) fn smallest_normal(dtype: FloatType) -> f32 {
    match dtype {
        FloatType::F16 => 1.0 / 16384.0,
        FloatType::F32 | FloatType::Bf16 => f32::MIN_POSITIVE,
    }
}

impl MaximumRule {
    /// The scale for a magnitude given as F32 bits.
    pub(crate) fn scale(self, bits: u32) -> f32 {
        let amax = f32::from_bits(bits);
        let amax = match self.smallest {
            None => amax,
            Some(_) if amax == 0.0 => self.largest,
            Some(smallest) => amax.max(smallest),
        };
        amax / self.largest
    }

    /// Scales as stored in F32, little-endian.
    pub(crate) fn stored(self, maxima: &[u32]) -> Vec<u8> {
        maxima.iter().flat_map(|&bits| self.scale(bits).to_le_bytes()).collect()
    }
}

/// The activation scale for a largest activation of `amax`. A maximum of zero or NaN counts as the largest code.
pub(crate) fn input_scale(amax: f32, largest_code: f32, divisor: f32) -> f32 {
    let amax = if amax == 0.0 || amax.is_nan() { largest_code } else { amax };
    amax / divisor
}
