//! FP8 with a scale per output channel; activations are scaled per token when the model runs.
//!
//! Source: `formats.md` e (ModelOpt 0.47.0, FP8_PER_CHANNEL_PER_TOKEN).

use crate::about::{About, Companion, Family, Match, Presence, Role, ScaleLayout};
use crate::decode::{Decoder, Refusal};
use crate::encode::{EncodeInput, EncodeSettings, Encoder, Encoding, Matrix, Output, Shares};
use crate::layer::LayerView;
use crate::parts::config::{Config, GroupSize, Numbers, Strategy, numbers};
use crate::parts::fp8::{FLOAT_SCALES, Fp8Encoder, WEIGHT, expect_linear, fit};
use crate::parts::tiles::TileDecoder;
use crate::scheme::Scheme;
use quantscope_numeric::Dtype;
use serde_json::{Map, Value};

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&Fp8Channel];

const SCALE: Companion = Companion {
    leaf: "weight_scale",
    role: Role::WeightScale,
    dtypes: FLOAT_SCALES,
    presence: Presence::Required,
    words: "scale per output channel, amax of the row / 448",
    shape: "[N]",
};

static ABOUT: About = About {
    id: "fp8-channel",
    place: 310,
    title: "FP8: E4M3, a scale per output channel",
    family: Family::Fp8,
    companions: &[WEIGHT, SCALE],
    algos: &["FP8_PER_CHANNEL_PER_TOKEN"],
    declared_by: "",
    quantizes_activations: false,
    can_encode: true,
    formula: &[
        "weight_scale = row_amax / 448, 1 for a row of zeros",
        "code = E4M3(w / weight_scale)",
        "w = code * weight_scale",
    ],
    source: "NVIDIA ModelOpt 0.47.0",
};

const CONFIG: Config = Config {
    group_size: GroupSize::None,
    smoothed: false,
    smoothed_group: false,
    alone: false,
    activations: Some(numbers(8, "float")),
    weights: Some(Numbers { strategy: Strategy::Channel, ..numbers(8, "float") }),
};

/// FP8 with a scale per row.
struct Fp8Channel;

impl Scheme for Fp8Channel {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        fit(&ABOUT, layer)
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        let rows = layer.weight()?.shape.first().copied()?;
        (leaf == SCALE.leaf).then(|| vec![vec![rows], vec![rows, 1]])
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Fp8Tiles { rows: 1, cols: u32::MAX, scale: SCALE.leaf }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        Ok(Box::new(TileDecoder::new(layer, WEIGHT.leaf, SCALE.leaf, [1, u64::MAX])?))
    }

    fn encoding(&self, matrix: Matrix, _: &EncodeSettings) -> Result<Encoding, Refusal> {
        expect_linear(matrix, ABOUT.id)?;
        let output = |c: &Companion, dtype, shape| Output { leaf: c.leaf, role: c.role, dtype, shape };
        Ok(Encoding {
            outputs: vec![
                output(&WEIGHT, Dtype::F8_E4M3, vec![matrix.rows, matrix.cols]),
                output(&SCALE, Dtype::F32, vec![matrix.rows]),
            ],
            needs_maximum: false,
            shares: Shares::Never,
            nan_if_zero: false,
            block: [1, u32::MAX],
            row_unit: 1,
            column_unit: 1,
        })
    }

    fn encoder(&self, input: &EncodeInput) -> Result<Box<dyn Encoder>, Refusal> {
        expect_linear(input.matrix, ABOUT.id)?;
        Ok(Box::new(Fp8Encoder::grid(input, SCALE.leaf, [1, u32::MAX])))
    }

    fn config_fields(&self, settings: &EncodeSettings) -> Vec<(&'static str, Value)> {
        CONFIG.fields(settings)
    }

    fn config_group(&self, settings: &EncodeSettings, mixed: bool) -> Option<Map<String, Value>> {
        CONFIG.group(ABOUT.algos.first()?, settings, mixed)
    }
}
