//! Formats that are known by name alone: nothing of them is verified, and none is decoded.
//!
//! Source: `formats.md` j (the config's `quant_method`, and ComfyUI's other formats).

use crate::about::{About, Family, Match, ScaleLayout};
use crate::decode::{Decoder, Refusal};
use crate::layer::LayerView;
use crate::parts::foreign::{ABOUT, is_method, variant};
use crate::scheme::Scheme;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&HQQ, &AQLM, &VPTQ, &EETQ, &QUANTO, &SPQR, &COMFY];

/// A format whose layers the config names.
struct Named {
    about: &'static About,
}

const fn about(id: &'static str, place: u16, title: &'static str, source: &'static str) -> About {
    About {
        id,
        place,
        title,
        family: Family::Int,
        declared_by: "`quant_method` of this name",
        formula: &["not decoded"],
        source,
        ..ABOUT
    }
}

const HQQ: Named = Named { about: &about("hqq", 810, "HQQ, known by name and not decoded", "mobiusml/hqq") };
const AQLM: Named =
    Named { about: &about("aqlm", 820, "AQLM, known by name and not decoded", "Vahe1994/AQLM") };
const VPTQ: Named =
    Named { about: &about("vptq", 830, "VPTQ, known by name and not decoded", "microsoft/VPTQ") };
const EETQ: Named =
    Named { about: &about("eetq", 840, "EETQ, known by name and not decoded", "NetEase-FuXi/EETQ") };
const QUANTO: Named = Named {
    about: &about("quanto", 850, "quanto, known by name and not decoded", "huggingface/optimum-quanto"),
};
const SPQR: Named =
    Named { about: &about("spqr", 860, "SpQR, known by name and not decoded", "Vahe1994/SpQR") };

/// Whether a layer holds anything but plain numbers.
fn has_codes(layer: &LayerView<'_>) -> bool {
    layer.tensors.iter().any(|t| !t.dtype.is_plain_float())
}

impl Scheme for Named {
    fn about(&self) -> &'static About {
        self.about
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        if is_method(layer, self.about.id) && has_codes(layer) { Match::Certain } else { Match::No }
    }

    fn logical_shape(&self, layer: &LayerView<'_>) -> Vec<u64> {
        layer.principal().map(|t| t.shape.to_vec()).unwrap_or_default()
    }

    fn legal_shapes(&self, _: &str, _: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        None
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::None
    }

    fn decoder(&self, _: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        Err(variant(self.about.id))
    }
}

/// The formats of ComfyUI that are not decoded.
struct ComfyOther;

const COMFY: ComfyOther = ComfyOther;

/// Their names in metadata.
const COMFY_FORMATS: &[&str] =
    &["int8_blockwise", "int8_tensorwise", "asym_w4a8_int8", "awq_w4a16", "svdquant_w4a4"];

impl Scheme for ComfyOther {
    fn about(&self) -> &'static About {
        const OTHER: About = About {
            declared_by: "`_quantization_metadata` of the header, or a tensor `comfy_quant`",
            ..about(
                "comfy-other",
                725,
                "ComfyUI, an integer format that is known by name and not decoded",
                "comfy-kitchen 0.2.40",
            )
        };
        &OTHER
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let named = layer.facts.descriptor_text("format").is_some_and(|f| COMFY_FORMATS.contains(&f));
        if named && has_codes(layer) { Match::Certain } else { Match::No }
    }

    fn logical_shape(&self, layer: &LayerView<'_>) -> Vec<u64> {
        layer.principal().map(|t| t.shape.to_vec()).unwrap_or_default()
    }

    fn legal_shapes(&self, _: &str, _: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        None
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::None
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        let format = layer.facts.descriptor_text("format").unwrap_or("another format");
        let rotated = layer.facts.descriptor.is_some_and(|d| d.get("convrot").is_some_and(|v| v == true));
        let rotation = if rotated { " under a rotation (convrot) that the file does not hold" } else { "" };
        Err(variant(&format!("ComfyUI's `{format}`{rotation}")))
    }
}
