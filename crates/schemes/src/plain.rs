//! Plain numbers: no scales, the stored value is the value.

use crate::layer::{LayerView, Stored};
use crate::scheme::{About, DecodeTile, Family, Match, ScaleLayout, Scheme};
use quantscope_numeric::{Dtype, widen};

/// Tensors stored as one plain element type.
pub(crate) struct Plain {
    about: &'static About,
    dtypes: &'static [Dtype],
}

const fn plain(id: &'static str, title: &'static str) -> About {
    About {
        id,
        title,
        family: Family::Plain,
        companions: &[],
        algos: &[],
        quantizes_activations: false,
        can_encode: false,
    }
}

/// bfloat16.
pub(crate) static BF16: Plain = Plain { about: &plain("bf16", "bfloat16"), dtypes: &[Dtype::BF16] };
/// binary16.
pub(crate) static F16: Plain = Plain { about: &plain("f16", "half precision"), dtypes: &[Dtype::F16] };
/// binary32.
pub(crate) static F32: Plain = Plain { about: &plain("f32", "single precision"), dtypes: &[Dtype::F32] };
/// binary64.
pub(crate) static F64: Plain = Plain { about: &plain("f64", "double precision"), dtypes: &[Dtype::F64] };
/// Eight-bit floats that no quantization scheme claims.
pub(crate) static F8: Plain = Plain {
    about: &plain("f8", "8-bit floats in no known scheme"),
    dtypes: &[Dtype::F8_E4M3, Dtype::F8_E5M2, Dtype::F8_E4M3FNUZ, Dtype::F8_E5M2FNUZ, Dtype::F8_E8M0],
};
/// Everything else: integers, booleans, complex numbers, and codes in no known scheme.
pub(crate) static INTEGER: Plain =
    Plain { about: &plain("integer", "integers, or codes in no known scheme"), dtypes: &[] };

impl Scheme for Plain {
    fn about(&self) -> &'static About {
        self.about
    }

    fn recognise(&self, layer: &LayerView<'_>, _: Option<&str>) -> Match {
        let fits = layer.principal().is_some_and(|t| self.dtypes.contains(&t.dtype));
        if fits || self.dtypes.is_empty() { Match::Partial } else { Match::No }
    }

    fn legal_shapes(&self, _: &str, _: Stored<'_>) -> Option<Vec<Vec<u64>>> {
        None
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::None
    }

    fn decode(&self, tile: &DecodeTile<'_>, out: &mut Vec<f32>) {
        // Integers, and codes in an unknown scheme, give nothing: their values would claim more than is known.
        widen(tile.dtype, tile.weight, out);
    }
}
