//! ComfyUI's FP8: bytes under one scale, in two spellings.
//!
//! Source: `formats.md` j (comfy-kitchen 0.2.40 and ComfyUI's loader). The new form has ModelOpt's names, and
//! says so in the header's metadata or in a tensor `comfy_quant`; the old form has names of its own and a
//! marker `scaled_fp8` in the file.

use crate::about::{About, Companion, Family, Match, Role, ScaleLayout};
use crate::decode::{Decoder, Refusal};
use crate::layer::LayerView;
use crate::parts::foreign::{ABOUT, FLOATS, optional, required, scalar_shapes, typed};
use crate::parts::grid::{Grid, Number};
use crate::parts::rows::{Code, RowDecoder, rows_of};
use crate::scheme::Scheme;
use quantscope_numeric::Dtype;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&ComfyFp8];

const WEIGHT: Companion =
    required("weight", Role::Weight, &[Dtype::F8_E4M3, Dtype::F8_E5M2], "[N, K]", "weight, E4M3 or E5M2");
const SCALE: Companion =
    optional("weight_scale", Role::WeightScale, FLOATS, "[]", "weight scale, of the new form");
const OLD_SCALE: Companion =
    optional("scale_weight", Role::WeightScale, FLOATS, "[] or [1]", "weight scale, of the old form");
const INPUT: Companion =
    optional("input_scale", Role::InputScale, FLOATS, "[]", "activation scale, of the new form");
const OLD_INPUT: Companion =
    optional("scale_input", Role::InputScale, FLOATS, "[] or [1]", "activation scale, of the old form");
const QUANT: Companion =
    optional("comfy_quant", Role::Layout, &[Dtype::U8], "[bytes]", "the layer's format, as JSON");

struct ComfyFp8;

/// The scale of whichever form.
fn scale_of(layer: &LayerView<'_>) -> &'static Companion {
    if layer.has(OLD_SCALE.leaf) { &OLD_SCALE } else { &SCALE }
}

impl Scheme for ComfyFp8 {
    fn about(&self) -> &'static About {
        const COMFY: About = About {
            id: "comfy-fp8",
            place: 700,
            title: "ComfyUI FP8: one scale for the tensor",
            family: Family::Fp8,
            companions: &[WEIGHT, SCALE, OLD_SCALE, INPUT, OLD_INPUT, QUANT],
            declared_by: "`_quantization_metadata` of the header or a tensor `comfy_quant` with the format \
                          `float8_e4m3fn`; a tensor `scaled_fp8` in old files",
            formula: &["w = code * weight_scale"],
            source: "comfy-kitchen 0.2.40; ComfyUI's loader",
            ..ABOUT
        };
        &COMFY
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        if !layer.weight().is_some_and(|w| WEIGHT.dtypes.contains(&w.dtype) && w.rank() >= 2) {
            return Match::No;
        }
        let format = layer.facts.descriptor_text("format");
        let said = format.is_some_and(|f| f == "float8_e4m3fn" || f == "float8_e5m2");
        match (layer.has(OLD_SCALE.leaf), layer.has(SCALE.leaf)) {
            (true, _) => Match::Certain,
            (false, true) if said => Match::Certain,
            _ => Match::No,
        }
    }

    fn markers(&self) -> &'static [&'static str] {
        &["scaled_fp8"]
    }

    fn legal_shapes(&self, leaf: &str, _: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        let scale = self.about().companion(leaf).is_some_and(|c| c.dtypes == FLOATS);
        scalar_shapes().filter(|_| scale)
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Scales { scale: SCALE.leaf, signed: false }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        let weight = typed(layer, &WEIGHT)?;
        let sides = rows_of(weight)?;
        let scale = scale_of(layer);
        let stored = typed(layer, scale)?;
        let grid = Grid::new(stored, scale.leaf, Number::Float(stored.dtype), sides, [u64::MAX; 2])?;
        let code = if weight.dtype == Dtype::F8_E5M2 { Code::E5M2 } else { Code::E4M3 };
        Ok(Box::new(RowDecoder::new(weight, WEIGHT.leaf, code, sides[1], grid)?))
    }
}
