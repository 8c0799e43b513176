//! FP8 with one scale a tensor, or one an output channel.
//!
//! Source: `formats.md` a and e (ModelOpt 0.47.0, FP8 and FP8_PER_CHANNEL_PER_TOKEN).

use crate::about::{
    About, Companion, Family, INPUT_SCALE_LEAF, Match, Presence, Role, ScaleLayout, WEIGHT_LEAF,
};
use crate::decode::{Decoder, Refusal};
use crate::encode::EncodeSettings;
use crate::layer::LayerView;
use crate::parts::tiles::TileDecoder;
use crate::scheme::Scheme;
use quantscope_numeric::Dtype;
use serde_json::{Map, Value, json};

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&PER_TENSOR, &PER_CHANNEL];

pub(crate) const WEIGHT: Companion = Companion {
    leaf: WEIGHT_LEAF,
    role: Role::Weight,
    dtypes: &[Dtype::F8_E4M3],
    presence: Presence::Required,
    words: "weight, E4M3",
    shape: "[N, K]",
};
const SCALE: Companion = Companion {
    leaf: "weight_scale",
    role: Role::WeightScale,
    dtypes: &[Dtype::F32, Dtype::BF16, Dtype::F16],
    presence: Presence::Required,
    words: "weight scale, amax / 448",
    shape: "[] or [N]",
};
pub(crate) const INPUT_SCALE: Companion = Companion {
    leaf: INPUT_SCALE_LEAF,
    role: Role::InputScale,
    dtypes: &[Dtype::F32, Dtype::BF16, Dtype::F16],
    presence: Presence::Calibrated,
    words: "activation scale, amax / 448",
    shape: "[]",
};

const FORMULA: &[&str] = &[
    "weight_scale = amax / 448, of the tensor or of the row",
    "code = E4M3(w / weight_scale); per tensor the quotient is rounded to the weight's own type first",
    "w = code * weight_scale",
];
const SOURCE: &str = "NVIDIA ModelOpt 0.47.0";

/// FP8 with a scale per tensor or per output channel.
pub(crate) struct Fp8 {
    about: &'static About,
    per_channel: bool,
}

/// One scale.
pub(crate) static PER_TENSOR: Fp8 = Fp8 {
    about: &About {
        id: "fp8",
        place: 300,
        title: "FP8: E4M3, one scale for the tensor",
        family: Family::Fp8,
        companions: &[WEIGHT, SCALE, INPUT_SCALE],
        algos: &["FP8"],
        quantizes_activations: true,
        can_encode: false,
        declared_by: "",
        formula: FORMULA,
        source: SOURCE,
    },
    per_channel: false,
};

/// A scale per output channel.
pub(crate) static PER_CHANNEL: Fp8 = Fp8 {
    about: &About {
        id: "fp8-channel",
        place: 310,
        title: "FP8: E4M3, a scale per output channel",
        family: Family::Fp8,
        companions: &[WEIGHT, SCALE],
        algos: &["FP8_PER_CHANNEL_PER_TOKEN"],
        quantizes_activations: true,
        can_encode: false,
        declared_by: "",
        formula: FORMULA,
        source: SOURCE,
    },
    per_channel: true,
};

impl Scheme for Fp8 {
    fn about(&self) -> &'static About {
        self.about
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let declared = layer.facts.declared;
        let Some(weight) = layer.weight().filter(|w| w.dtype == Dtype::F8_E4M3 && w.rank() >= 2) else {
            return Match::No;
        };
        let declared_here = declared == Some(self.about.id);
        match layer.get(SCALE.leaf) {
            Some(scale) if !self.per_channel && scale.is_scalar() => Match::Full,
            Some(scale)
                if self.per_channel
                    && !scale.is_scalar()
                    && scale.rank() <= 2
                    && scale.shape.first() == weight.shape.first()
                    && scale.shape.iter().skip(1).all(|&d| d == 1) =>
            {
                Match::Full
            }
            Some(_) if declared_here => Match::Partial,
            None if layer.has("weight_scale_inv") => Match::No,
            None if declared_here || (declared.is_none() && !self.per_channel) => Match::Partial,
            _ => Match::No,
        }
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        if leaf == INPUT_SCALE.leaf || (leaf == SCALE.leaf && !self.per_channel) {
            return Some(vec![vec![], vec![1]]);
        }
        if leaf != SCALE.leaf {
            return None;
        }
        let rows = layer.weight()?.shape.first().copied()?;
        Some(vec![vec![rows], vec![rows, 1]])
    }

    fn scale_layout(&self) -> ScaleLayout {
        let rows = if self.per_channel { 1 } else { u32::MAX };
        ScaleLayout::Fp8Tiles { rows, cols: u32::MAX, scale: SCALE.leaf }
    }

    fn config_group(&self, _: &EncodeSettings, _: bool) -> Option<Map<String, Value>> {
        if self.per_channel {
            return None;
        }
        let numbers = json!({"dynamic": false, "num_bits": 8, "type": "float"});
        let mut group = Map::new();
        group.insert("input_activations".into(), numbers.clone());
        group.insert("weights".into(), numbers);
        Some(group)
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        let block_rows = if self.per_channel { 1 } else { u64::MAX };
        Ok(Box::new(TileDecoder::new(layer, WEIGHT.leaf, SCALE.leaf, [block_rows, u64::MAX])?))
    }
}
