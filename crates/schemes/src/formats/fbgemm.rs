//! FP8 of FBGEMM: E4M3 under a scale per output channel, with an upper bound for activations.
//!
//! Source: `formats.md` j (transformers 5.23.0, `quant_method: fbgemm_fp8`).

use crate::about::{About, Companion, Family, Match, Role, ScaleLayout};
use crate::decode::{Decoder, Refusal};
use crate::layer::LayerView;
use crate::parts::foreign::{ABOUT, FLOATS, is_method, optional, required, typed};
use crate::parts::grid::{Grid, Number};
use crate::parts::rows::{Code, RowDecoder, rows_of};
use crate::scheme::Scheme;
use quantscope_numeric::Dtype;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&Fbgemm];

const WEIGHT: Companion = required("weight", Role::Weight, &[Dtype::F8_E4M3], "[N, K]", "weight, E4M3");
const SCALE: Companion = required("weight_scale", Role::WeightScale, FLOATS, "[N, 1]", "scale of the row");
const BOUND: Companion =
    optional("input_scale_ub", Role::InputScale, FLOATS, "[1]", "upper bound of activations");

struct Fbgemm;

impl Scheme for Fbgemm {
    fn about(&self) -> &'static About {
        const FBGEMM: About = About {
            id: "fbgemm-fp8",
            place: 580,
            title: "FBGEMM FP8: E4M3, a scale per output channel",
            family: Family::Fp8,
            companions: &[WEIGHT, SCALE, BOUND],
            declared_by: "`quant_method` `fbgemm_fp8`",
            formula: &["w = code * weight_scale"],
            source: "transformers 5.23.0",
            ..ABOUT
        };
        &FBGEMM
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let is_codes = layer.weight().is_some_and(|w| w.dtype == Dtype::F8_E4M3 && w.rank() >= 2);
        match (is_codes && is_method(layer, "fbgemm_fp8"), layer.has(SCALE.leaf)) {
            (true, true) => Match::Certain,
            (true, false) => Match::Partial,
            _ => Match::No,
        }
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        let rows = *layer.weight()?.shape.first()?;
        match leaf {
            "weight_scale" => Some(vec![vec![rows, 1], vec![rows]]),
            "input_scale_ub" => Some(vec![vec![1], vec![]]),
            _ => None,
        }
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Fp8Tiles { rows: 1, cols: u32::MAX, scale: SCALE.leaf }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        let (weight, scale) = (typed(layer, &WEIGHT)?, typed(layer, &SCALE)?);
        let sides = rows_of(weight)?;
        let grid = Grid::new(scale, SCALE.leaf, Number::Float(scale.dtype), sides, [1, u64::MAX])?;
        Ok(Box::new(RowDecoder::new(weight, WEIGHT.leaf, Code::E4M3, sides[1], grid)?))
    }
}
