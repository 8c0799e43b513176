//! FP8 in tiles of 128 x 128, weights only.
//!
//! Source: `formats.md` e (ModelOpt 0.47.0, `fp8_pb_wo`): `weight_scale` of rank 4, or 0-d for a single tile.

use crate::about::{About, Companion, Family, Match, Presence, Role, ScaleLayout};
use crate::decode::{Decoder, Refusal};
use crate::encode::{EncodeInput, EncodeSettings, Encoder, Encoding, Matrix};
use crate::layer::LayerView;
use crate::parts::config::NAME_ALONE;
use crate::parts::fp8::{FLOAT_SCALES, INPUT_SCALE, WEIGHT, fit, tile_sides};
use crate::parts::fp8_block;
use crate::scheme::Scheme;
use serde_json::{Map, Value};

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&Fp8BlockWeightOnly];

const SCALE: Companion = Companion {
    leaf: "weight_scale",
    role: Role::WeightScale,
    dtypes: FLOAT_SCALES,
    presence: Presence::Required,
    words: "tile scale, one per 128 x 128",
    shape: "[N/128, 1, K/128, 1], [] for one tile",
};
const STRAY: Companion = Companion {
    presence: Presence::Optional,
    words: "activation scale; some releases write it here too",
    ..INPUT_SCALE
};

static ABOUT: About = About {
    id: "fp8-block-wo",
    place: 330,
    title: "FP8: E4M3, a scale per 128 x 128 tile, weight only",
    family: Family::Fp8,
    companions: &[WEIGHT, SCALE, STRAY],
    algos: &["fp8_pb_wo"],
    declared_by: "",
    quantizes_activations: false,
    can_encode: true,
    formula: &[
        "weight_scale = tile_amax / 448, 1 for a tile of zeros",
        "code = E4M3(w / weight_scale)",
        "w = code * weight_scale",
    ],
    source: "NVIDIA ModelOpt 0.47.0",
};

/// FP8 in tiles.
struct Fp8BlockWeightOnly;

impl Scheme for Fp8BlockWeightOnly {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        fit(&ABOUT, layer)
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        if leaf == STRAY.leaf {
            return Some(vec![vec![], vec![1]]);
        }
        let weight = layer.weight().filter(|_| leaf == SCALE.leaf)?;
        fp8_block::scale_shapes(weight.shape, tile_sides(layer)?, true)
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Fp8Tiles { rows: 128, cols: 128, scale: SCALE.leaf }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        fp8_block::decoder(layer, SCALE.leaf)
    }

    fn encoding(&self, matrix: Matrix, _: &EncodeSettings) -> Result<Encoding, Refusal> {
        fp8_block::encoding(matrix, &ABOUT, &SCALE, true)
    }

    fn encoder(&self, input: &EncodeInput) -> Result<Box<dyn Encoder>, Refusal> {
        fp8_block::encoder(input, &ABOUT, SCALE.leaf)
    }

    fn config_fields(&self, settings: &EncodeSettings) -> Vec<(&'static str, Value)> {
        NAME_ALONE.fields(settings)
    }

    fn config_group(&self, settings: &EncodeSettings, mixed: bool) -> Option<Map<String, Value>> {
        NAME_ALONE.group(ABOUT.algos.first()?, settings, mixed)
    }
}
