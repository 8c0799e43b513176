//! FP8 in tiles of 128 x 128, with activations in groups of 128 that are scaled when the model runs.
//!
//! Source: `formats.md` e and j: FP8_PB of ModelOpt's pull request 1807, which is the native `quant_method: fp8` of
//! DeepSeek-V3 and others. `weight_scale_inv` multiplies, despite its name.

use crate::about::{About, Companion, Family, Match, Presence, Role, ScaleLayout};
use crate::decode::{Decoder, Refusal};
use crate::encode::{Activations, EncodeInput, EncodeSettings, Encoder, Encoding, Matrix};
use crate::layer::LayerView;
use crate::parts::config::{Config, GroupSize, Numbers, Strategy, numbers};
use crate::parts::fp8::{FLOAT_SCALES, INPUT_SCALE, TILE, WEIGHT, fit, tile_sides};
use crate::parts::fp8_block;
use crate::parts::scales::input_scale;
use crate::scheme::Scheme;
use quantscope_numeric::{Dtype, e4m3};
use serde_json::{Map, Value, json};

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&Fp8Block];

const SCALE: Companion = Companion {
    leaf: "weight_scale_inv",
    role: Role::WeightScale,
    dtypes: &[Dtype::F32, Dtype::BF16, Dtype::F8_E8M0, Dtype::U8],
    presence: Presence::Required,
    words: "tile scale, a multiplier despite its name, one per 128 x 128 or as the config says; bytes are powers of two",
    shape: "[N/128, K/128], [] for one tile",
};
const CALIBRATED: Companion = Companion {
    presence: Presence::Optional,
    words: "activation scale, amax / 448; written if calibrated, not needed",
    ..INPUT_SCALE
};
const ACTIVATION_SCALE: Companion = Companion {
    leaf: "activation_scale",
    role: Role::InputScale,
    dtypes: FLOAT_SCALES,
    presence: Presence::Optional,
    words: "activation scale of native models with static activations",
    shape: "[]",
};

static ABOUT: About = About {
    id: "fp8-block",
    place: 320,
    title: "FP8: E4M3, a scale per 128 x 128 tile, dynamic activations",
    family: Family::Fp8,
    companions: &[WEIGHT, SCALE, CALIBRATED, ACTIVATION_SCALE],
    algos: &["FP8_PB"],
    declared_by: "or `quant_method` `fp8` with its `weight_block_size`",
    quantizes_activations: true,
    can_encode: true,
    formula: &[
        "weight_scale_inv = tile_amax / 448, 1 for a tile of zeros",
        "code = E4M3(w / weight_scale_inv)",
        "w = code * weight_scale_inv",
    ],
    source: "NVIDIA ModelOpt, pull request 1807",
};

const CONFIG: Config = Config {
    group_size: GroupSize::Fixed(TILE),
    smoothed: false,
    smoothed_group: false,
    alone: false,
    activations: None,
    weights: Some(Numbers { strategy: Strategy::Block([TILE, TILE]), ..numbers(8, "float") }),
};

/// FP8 in tiles, activations too.
struct Fp8Block;

/// Whether the config says that one scale governs a tensor.
fn is_per_tensor(layer: &LayerView<'_>) -> bool {
    let sides = layer.facts.config.get("weight_block_size");
    layer.facts.config_text("quant_method") == Some("fp8") && sides.is_none_or(Value::is_null)
}

impl Scheme for Fp8Block {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        fit(&ABOUT, layer)
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        if leaf == INPUT_SCALE.leaf || leaf == ACTIVATION_SCALE.leaf {
            return Some(vec![vec![], vec![1]]);
        }
        let weight = layer.weight().filter(|_| leaf == SCALE.leaf)?;
        if is_per_tensor(layer) {
            return Some(vec![vec![], vec![1]]);
        }
        fp8_block::scale_shapes(weight.shape, tile_sides(layer)?, false)
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Fp8Tiles { rows: 128, cols: 128, scale: SCALE.leaf }
    }

    fn scale_layout_of(&self, layer: &LayerView<'_>) -> ScaleLayout {
        let one = layer.get(SCALE.leaf).is_some_and(|scale| scale.is_scalar());
        let sides = tile_sides(layer).filter(|_| !one);
        let side = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let [rows, cols] = sides.map_or([u32::MAX; 2], |sides| sides.map(side));
        ScaleLayout::Fp8Tiles { rows, cols, scale: SCALE.leaf }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        fp8_block::decoder(layer, SCALE.leaf)
    }

    fn encoding(&self, matrix: Matrix, _: &EncodeSettings) -> Result<Encoding, Refusal> {
        fp8_block::encoding(matrix, &ABOUT, &SCALE, false)
    }

    fn encoder(&self, input: &EncodeInput) -> Result<Box<dyn Encoder>, Refusal> {
        fp8_block::encoder(input, &ABOUT, SCALE.leaf)
    }

    fn input_scale(&self, amax: f32) -> f32 {
        input_scale(amax, e4m3::MAX, e4m3::MAX)
    }

    fn config_fields(&self, settings: &EncodeSettings) -> Vec<(&'static str, Value)> {
        CONFIG.fields(settings)
    }

    fn config_group(&self, settings: &EncodeSettings, mixed: bool) -> Option<Map<String, Value>> {
        CONFIG.group(ABOUT.algos.first()?, settings, mixed)
    }

    fn own_config(&self, kept: &[String], producer: &Value, _: &[(&str, Activations)]) -> Option<Value> {
        Some(json!({
            "quant_method": "fp8",
            "fmt": "e4m3",
            "activation_scheme": "dynamic",
            "weight_block_size": [TILE, TILE],
            "modules_to_not_convert": kept,
            "producer": producer,
        }))
    }
}
