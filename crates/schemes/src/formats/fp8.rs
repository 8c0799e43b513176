//! FP8 with one scale a tensor.
//!
//! Source: `formats.md` a and e (ModelOpt 0.47.0, FP8). The scale is 0-d, so the reference rounds the quotient to
//! the weight's own type before it becomes a code. A stack of experts has a scale each.

use crate::about::{About, Companion, Family, Match, Presence, Role, ScaleLayout};
use crate::decode::{Decoder, Refusal};
use crate::encode::{EncodeInput, EncodeSettings, Encoder, Encoding, Form, Matrix, Output, Shares};
use crate::layer::{LayerView, Stored};
use crate::parts::config::{Config, GroupSize, numbers};
use crate::parts::fp8::{FLOAT_SCALES, Fp8Encoder, INPUT_SCALE, WEIGHT, expect_linear, fit, is_per_expert};
use crate::parts::scales::input_scale;
use crate::parts::tiles::TileDecoder;
use crate::scheme::Scheme;
use quantscope_numeric::{Dtype, e4m3};
use serde_json::{Map, Value};

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&Fp8];

const SCALE: Companion = Companion {
    leaf: "weight_scale",
    role: Role::WeightScale,
    dtypes: FLOAT_SCALES,
    presence: Presence::Required,
    words: "weight scale, amax / 448",
    shape: "[]; a stack [E]",
};

static ABOUT: About = About {
    id: "fp8",
    place: 300,
    title: "FP8: E4M3, one scale for the tensor",
    family: Family::Fp8,
    companions: &[WEIGHT, SCALE, INPUT_SCALE],
    algos: &["FP8"],
    declared_by: "",
    quantizes_activations: true,
    can_encode: true,
    formula: &[
        "weight_scale = amax / 448",
        "code = E4M3(round(w / weight_scale)), the quotient rounded to the weight's own type",
        "w = code * weight_scale",
        "input_scale = activation_amax / 448",
    ],
    source: "NVIDIA ModelOpt 0.47.0",
};

const CONFIG: Config = Config {
    group_size: GroupSize::None,
    smoothed: false,
    smoothed_group: false,
    alone: true,
    activations: Some(numbers(8, "float")),
    weights: Some(numbers(8, "float")),
};

/// FP8 with one scale.
struct Fp8;

/// The weight and its scale where a stack has one per expert.
fn per_expert<'a>(layer: &LayerView<'a>) -> Option<Stored<'a>> {
    layer.weight().zip(layer.get(SCALE.leaf)).filter(|(w, s)| is_per_expert(*w, *s)).map(|(w, _)| w)
}

impl Scheme for Fp8 {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        fit(&ABOUT, layer)
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        let experts = layer.weight().filter(|w| w.rank() == 3).and_then(|w| w.shape.first().copied());
        match (leaf == SCALE.leaf, experts) {
            (true, Some(experts)) => Some(vec![vec![experts], vec![experts, 1, 1], vec![], vec![1]]),
            (is_scale, _) => (is_scale || leaf == INPUT_SCALE.leaf).then(|| vec![vec![], vec![1]]),
        }
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Fp8Tiles { rows: u32::MAX, cols: u32::MAX, scale: SCALE.leaf }
    }

    fn scale_layout_of(&self, layer: &LayerView<'_>) -> ScaleLayout {
        let rows = if per_expert(layer).is_some() { 1 } else { u32::MAX };
        ScaleLayout::Fp8Tiles { rows, cols: u32::MAX, scale: SCALE.leaf }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        let rows = if per_expert(layer).is_some() { 1 } else { u64::MAX };
        Ok(Box::new(TileDecoder::new(layer, WEIGHT.leaf, SCALE.leaf, [rows, u64::MAX])?))
    }

    fn stack_matrix(&self, [experts, cols, out]: [u64; 3]) -> Option<Matrix> {
        let form = Form::Experts { sides: [cols, out] };
        Some(Matrix { rows: experts, cols: cols.checked_mul(out)?, form })
    }

    fn encoding(&self, matrix: Matrix, _: &EncodeSettings) -> Result<Encoding, Refusal> {
        let Matrix { rows, cols, form } = matrix;
        let (weight, scale, shares, block_rows) = match form {
            Form::Experts { sides: [a, b] } => (vec![rows, a, b], vec![rows], Shares::Never, 1),
            _ => {
                expect_linear(matrix, ABOUT.id)?;
                (vec![rows, cols], vec![], Shares::Experts, u32::MAX)
            }
        };
        let output = |c: &Companion, dtype, shape| Output { leaf: c.leaf, role: c.role, dtype, shape };
        Ok(Encoding {
            outputs: vec![output(&WEIGHT, Dtype::F8_E4M3, weight), output(&SCALE, Dtype::F32, scale)],
            needs_maximum: true,
            shares,
            nan_if_zero: true,
            block: [block_rows, u32::MAX],
            row_unit: 1,
            column_unit: 1,
        })
    }

    fn encoder(&self, input: &EncodeInput) -> Result<Box<dyn Encoder>, Refusal> {
        if let Form::Experts { .. } = input.matrix.form {
            return Ok(Box::new(Fp8Encoder::per_expert(input, SCALE.leaf)));
        }
        expect_linear(input.matrix, ABOUT.id)?;
        Ok(Box::new(Fp8Encoder::per_tensor(input, SCALE.leaf)))
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
}
