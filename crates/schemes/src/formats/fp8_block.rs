//! FP8 in tiles of 128 x 128, each with an F32 scale.
//!
//! Source: `formats.md` e: FP8_PB (W8A8, pull request 1807: `weight_scale_inv`, a multiplier despite its
//! name, rank 2) and `fp8_pb_wo` (weight only: `weight_scale` of rank 4). A weight of a single tile has a
//! 0-d scale in both. DeepSeek's native `quant_method: fp8` is the first of them.

use crate::about::{About, Companion, Family, Match, Presence, Role, ScaleLayout};
use crate::decode::{Decoder, Refusal};
use crate::encode::EncodeSettings;
use crate::layer::LayerView;
use crate::parts::tiles::TileDecoder;
use crate::registry::fp8::{INPUT_SCALE, WEIGHT};
use crate::scheme::Scheme;
use quantscope_numeric::Dtype;
use serde_json::{Value, json};

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&W8A8, &WEIGHT_ONLY];

/// Side of a tile.
const BLOCK: u64 = 128;

const SCALE_INV: Companion = Companion {
    leaf: "weight_scale_inv",
    role: Role::WeightScale,
    dtypes: &[Dtype::F32, Dtype::BF16],
    presence: Presence::Required,
    words: "tile scale, a multiplier despite its name, one per 128 x 128",
    shape: "[N/128, K/128], [] for one tile",
};
const SCALE: Companion = Companion {
    leaf: "weight_scale",
    role: Role::WeightScale,
    dtypes: &[Dtype::F32],
    presence: Presence::Required,
    words: "tile scale, one per 128 x 128",
    shape: "[N/128, 1, K/128, 1], [] for one tile",
};

const FORMULA: &[&str] =
    &["scale = tile_amax / 448, 1 for a tile of zeros", "code = E4M3(w / scale)", "w = code * scale"];
const SOURCE: &str = "NVIDIA ModelOpt 0.47.0 and its pull request 1807";

/// FP8 in tiles.
pub(crate) struct Fp8Block {
    about: &'static About,
    scale: &'static Companion,
    weight_only: bool,
}

/// Weights and dynamic activations.
pub(crate) static W8A8: Fp8Block = Fp8Block {
    about: &About {
        id: "fp8-block",
        place: 320,
        title: "FP8: E4M3, a scale per 128 x 128 tile, dynamic activations",
        family: Family::Fp8,
        companions: &[WEIGHT, SCALE_INV, INPUT_SCALE],
        algos: &["FP8_PB"],
        quantizes_activations: true,
        can_encode: false,
        declared_by: "",
        formula: FORMULA,
        source: SOURCE,
    },
    scale: &SCALE_INV,
    weight_only: false,
};

/// Weights only.
pub(crate) static WEIGHT_ONLY: Fp8Block = Fp8Block {
    about: &About {
        id: "fp8-block-wo",
        place: 330,
        title: "FP8: E4M3, a scale per 128 x 128 tile, weight only",
        family: Family::Fp8,
        companions: &[WEIGHT, SCALE],
        algos: &["fp8_pb_wo"],
        quantizes_activations: false,
        can_encode: false,
        declared_by: "",
        formula: FORMULA,
        source: SOURCE,
    },
    scale: &SCALE,
    weight_only: true,
};

impl Scheme for Fp8Block {
    fn about(&self) -> &'static About {
        self.about
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let declared = layer.facts.declared;
        if !layer.weight().is_some_and(|w| w.dtype == Dtype::F8_E4M3 && w.rank() == 2) {
            return Match::No;
        }
        let declared_here = declared == Some(self.about.id);
        match (layer.get(self.scale.leaf), self.weight_only) {
            // The name alone tells: nothing else is called weight_scale_inv.
            (Some(_), false) => Match::Full,
            // A rank of 4 tells; a single tile needs the config's word to be told from one tensor scale.
            (Some(scale), true) if scale.rank() == 4 || (declared_here && scale.is_scalar()) => Match::Full,
            (_, _) if declared_here => Match::Partial,
            _ => Match::No,
        }
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        if leaf == INPUT_SCALE.leaf {
            return Some(vec![vec![], vec![1]]);
        }
        if leaf != self.scale.leaf {
            return None;
        }
        let &[rows, cols] = layer.weight()?.shape else { return None };
        let (down, across) = (rows.div_ceil(BLOCK), cols.div_ceil(BLOCK));
        let grid = if self.weight_only { vec![down, 1, across, 1] } else { vec![down, across] };
        Some(if down <= 1 && across <= 1 { vec![vec![], grid] } else { vec![grid] })
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Fp8Tiles { rows: 128, cols: 128, scale: self.scale.leaf }
    }

    fn config_fields(&self, _: &EncodeSettings) -> Vec<(&'static str, Value)> {
        if self.weight_only { Vec::new() } else { vec![("group_size", json!(BLOCK))] }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        Ok(Box::new(TileDecoder::new(layer, WEIGHT.leaf, self.scale.leaf, [BLOCK, BLOCK])?))
    }
}
