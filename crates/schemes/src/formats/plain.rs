//! Plain numbers: no scales, the stored value is the value.

use crate::about::{About, Family, Match, ScaleLayout};
use crate::decode::{Decoder, Refusal, Region, Slab};
use crate::layer::LayerView;
use crate::parts::bytes::{floats, part};
use crate::scheme::Scheme;
use futures_util::future::{LocalBoxFuture, ready};
use quantscope_kernels::{Engine, EngineError};
use quantscope_numeric::Dtype;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&BF16, &F16, &F32, &F64, &F8, &INTEGER];

/// Tensors stored as one plain element type.
pub(crate) struct Plain {
    about: &'static About,
    dtypes: &'static [Dtype],
}

const fn plain(id: &'static str, place: u16, title: &'static str) -> About {
    About {
        id,
        place,
        title,
        family: Family::Plain,
        companions: &[],
        algos: &[],
        quantizes_activations: false,
        can_encode: false,
        declared_by: "no quantization config, or an exclude list",
        formula: &["the stored value is the value"],
        source: "safetensors",
    }
}

/// bfloat16.
pub(crate) static BF16: Plain = Plain { about: &plain("bf16", 900, "bfloat16"), dtypes: &[Dtype::BF16] };
/// binary16.
pub(crate) static F16: Plain = Plain { about: &plain("f16", 910, "half precision"), dtypes: &[Dtype::F16] };
/// binary32.
pub(crate) static F32: Plain = Plain { about: &plain("f32", 920, "single precision"), dtypes: &[Dtype::F32] };
/// binary64.
pub(crate) static F64: Plain = Plain { about: &plain("f64", 930, "double precision"), dtypes: &[Dtype::F64] };
/// Eight-bit floats that no quantization scheme claims.
pub(crate) static F8: Plain = Plain {
    about: &plain("f8", 940, "8-bit floats in no known scheme"),
    dtypes: &[Dtype::F8_E4M3, Dtype::F8_E5M2, Dtype::F8_E4M3FNUZ, Dtype::F8_E5M2FNUZ, Dtype::F8_E8M0],
};
/// Everything else: integers, booleans, complex numbers, and codes in no known scheme.
pub(crate) static INTEGER: Plain =
    Plain { about: &plain("integer", 950, "integers, or codes in no known scheme"), dtypes: &[] };

impl Scheme for Plain {
    fn about(&self) -> &'static About {
        self.about
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let fits = layer.principal().is_some_and(|t| self.dtypes.contains(&t.dtype));
        if fits || self.dtypes.is_empty() { Match::Fallback } else { Match::No }
    }

    fn legal_shapes(&self, _: &str, _: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        None
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::None
    }

    fn logical_shape(&self, layer: &LayerView<'_>) -> Vec<u64> {
        layer.principal().map(|t| t.shape.to_vec()).unwrap_or_default()
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        // Integers, and codes in an unknown scheme: their values would claim more than is known.
        let float = matches!(self.about.id, "bf16" | "f16" | "f32" | "f64");
        let Some(tensor) = layer.principal().filter(|_| float) else {
            return Err(Refusal::new("holds no numbers of a known meaning", "leave it as it is"));
        };
        let rows = tensor.shape.first().copied().unwrap_or(1);
        let cols = tensor.shape.iter().skip(1).fold(1_u64, |n, &d| n.saturating_mul(d));
        Ok(Box::new(PlainDecoder {
            leaf: tensor.leaf.to_string(),
            dtype: tensor.dtype,
            shape: tensor.shape.to_vec(),
            rows,
            cols,
        }))
    }
}

/// Widens to F32.
struct PlainDecoder {
    leaf: String,
    dtype: Dtype,
    shape: Vec<u64>,
    rows: u64,
    cols: u64,
}

impl Decoder for PlainDecoder {
    fn shape(&self) -> Vec<u64> {
        self.shape.clone()
    }

    fn extent(&self) -> [u64; 2] {
        [self.rows, self.cols]
    }

    fn needs(&self, region: &Region) -> Vec<Slab> {
        let width = self.dtype.bits() / 8;
        let bytes = region.cols.start.saturating_mul(width)..region.cols.end.saturating_mul(width);
        vec![Slab::rectangle(self.leaf.clone(), self.cols.saturating_mul(width), region.rows.clone(), bytes)]
    }

    fn decode<'a>(
        &'a self,
        _engine: &'a dyn Engine,
        _region: &'a Region,
        parts: &'a [Vec<u8>],
        out: &'a mut Vec<f32>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        out.extend(floats(self.dtype, part(parts, 0)));
        Box::pin(ready(Ok(())))
    }
}
