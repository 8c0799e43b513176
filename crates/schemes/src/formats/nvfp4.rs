//! NVFP4: E2M1 codes in blocks of 16, an E4M3 scale a block, an F32 scale a tensor.
//!
//! Source: `formats.md` a, b, d and e (ModelOpt 0.47.0, NVFP4 and W4A16_NVFP4; Conv3d after pull request
//! 1809). Linears and flattened-K Conv3d look the same on disk: a U8 matrix `[N, K/2]` with the even
//! column in the low nibble.

use crate::about::{
    About, Companion, Family, INPUT_SCALE_LEAF, Match, Presence, Role, ScaleLayout, WEIGHT_LEAF,
};
use crate::decode::{Decoder, Refusal};
use crate::encode::{EncodeInput, EncodeSettings, Encoder, Encoding, Form, Matrix, Output, Shares};
use crate::layer::LayerView;
use crate::parts::fp4::{BlockDecoder, DynamicEncoder};
use crate::parts::shapes::{pushed, round_up};
use crate::scheme::Scheme;
use quantscope_numeric::Dtype;
use serde_json::{Map, Value, json};

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&W4A4, &W4A16];

/// Weights that share a block scale.
const BLOCK: u64 = 16;
/// Largest magnitude that codes and block scales reach together: 6 * 448.
const LARGEST: f32 = 2688.0;
/// Stands for a zero maximum of activations: the largest code.
const LARGEST_CODE: f32 = 6.0;

const WEIGHT: Companion = Companion {
    leaf: WEIGHT_LEAF,
    role: Role::Weight,
    dtypes: &[Dtype::U8],
    presence: Presence::Required,
    words: "packed weight, two E2M1 codes a byte",
    shape: "[N, K/2]",
};
const BLOCK_SCALE: Companion = Companion {
    leaf: "weight_scale",
    role: Role::WeightScale,
    dtypes: &[Dtype::F8_E4M3],
    presence: Presence::Required,
    words: "block scale, E4M3, one per 16 weights",
    shape: "[N, K/16]",
};
const GLOBAL_SCALE: Companion = Companion {
    leaf: "weight_scale_2",
    role: Role::GlobalScale,
    dtypes: &[Dtype::F32],
    presence: Presence::Required,
    words: "global scale, amax / 2688",
    shape: "[]",
};
const INPUT_SCALE: Companion = Companion {
    leaf: INPUT_SCALE_LEAF,
    role: Role::InputScale,
    dtypes: &[Dtype::F32],
    presence: Presence::Calibrated,
    words: "activation scale, amax / 2688",
    shape: "[]",
};

const FORMULA: &[&str] = &[
    "weight_scale_2 = amax / 2688",
    "weight_scale = E4M3(clamp(block_amax / (6 * weight_scale_2), 2^-9, 448)), 1 for a block of zeros",
    "code = E2M1(w / (weight_scale * weight_scale_2)), ties to the even code",
    "w = code * (weight_scale * weight_scale_2)",
];
const SOURCE: &str = "NVIDIA ModelOpt 0.47.0; Conv3d after its pull request 1809";

/// One of the two NVFP4 schemes; they differ in whether activations are quantized.
pub(crate) struct Nvfp4 {
    about: &'static About,
}

/// Weights and activations.
static W4A4: Nvfp4 = Nvfp4 {
    about: &About {
        id: "nvfp4",
        place: 100,
        title: "NVFP4: E2M1 in blocks of 16, E4M3 block scales, F32 global scale",
        family: Family::Fp4,
        companions: &[WEIGHT, BLOCK_SCALE, GLOBAL_SCALE, INPUT_SCALE],
        algos: &["NVFP4"],
        declared_by: "",
        quantizes_activations: true,
        can_encode: true,
        formula: FORMULA,
        source: SOURCE,
    },
};

/// Weights only.
static W4A16: Nvfp4 = Nvfp4 {
    about: &About {
        id: "w4a16-nvfp4",
        place: 140,
        title: "NVFP4 weights, 16-bit activations",
        companions: &[WEIGHT, BLOCK_SCALE, GLOBAL_SCALE],
        algos: &["W4A16_NVFP4"],
        declared_by: "",
        family: Family::Fp4,
        quantizes_activations: false,
        can_encode: true,
        formula: FORMULA,
        source: SOURCE,
    },
};

impl Scheme for Nvfp4 {
    fn about(&self) -> &'static About {
        self.about
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let Some(weight) = layer.weight() else { return Match::No };
        if weight.rank() < 2 || !matches!(weight.dtype, Dtype::U8 | Dtype::I8) {
            return Match::No;
        }
        let declared = layer.facts.declared;
        let declared_here = declared == Some(self.about.id);
        let declared_other =
            matches!(declared, Some(d) if d == W4A4.about.id || d == W4A16.about.id) && !declared_here;
        let calibrated = layer.has(INPUT_SCALE.leaf);
        // Undeclared, an activation scale tells the two apart. An uncalibrated NVFP4 looks like weight-only
        // then, and decodes alike.
        if declared_other || (!declared_here && calibrated != self.about.quantizes_activations) {
            return Match::No;
        }
        let scale = layer.get(BLOCK_SCALE.leaf);
        let e4m3_scale = scale.is_some_and(|s| s.dtype == Dtype::F8_E4M3);
        let global = layer.has(GLOBAL_SCALE.leaf);
        match (e4m3_scale && weight.dtype == Dtype::U8, global) {
            (true, true) => Match::Full,
            (true, false) | (false, true) => Match::Partial,
            (false, false) if declared_here && scale.is_none() => Match::Partial,
            _ => Match::No,
        }
    }

    fn logical_shape(&self, layer: &LayerView<'_>) -> Vec<u64> {
        let mut shape = layer.weight().map(|w| w.shape.to_vec()).unwrap_or_default();
        if let Some(last) = shape.last_mut() {
            *last = last.saturating_mul(2);
        }
        shape
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        if leaf == GLOBAL_SCALE.leaf || leaf == INPUT_SCALE.leaf {
            return Some(vec![vec![], vec![1]]);
        }
        if leaf != BLOCK_SCALE.leaf {
            return None;
        }
        let &[rows, packed_cols] = layer.weight()?.shape else { return None };
        let blocks = packed_cols.saturating_mul(2).div_ceil(BLOCK);
        // Post-processing may pad rows and columns to 16, or tile to 128 x 4 (section f).
        let row_choices = pushed(pushed(vec![rows], round_up(rows, 16)), round_up(rows, 128));
        let col_choices = pushed(pushed(vec![blocks], round_up(blocks, 16)), round_up(blocks, 4));
        let pairs = row_choices.iter().flat_map(|&r| col_choices.iter().map(move |&c| vec![r, c]));
        Some(pairs.collect())
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Fp4Blocks { block: 16, scale: BLOCK_SCALE.leaf, global: GLOBAL_SCALE.leaf }
    }

    fn flattens_convolutions(&self) -> bool {
        true
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        let leaves = [WEIGHT.leaf, BLOCK_SCALE.leaf, GLOBAL_SCALE.leaf];
        Ok(Box::new(BlockDecoder::new(layer, leaves, BLOCK)?))
    }

    fn encoding(&self, matrix: Matrix, _: &EncodeSettings) -> Result<Encoding, Refusal> {
        // The flattened K of a convolution is padded; a linear's K must fit (`formats.md` b and d).
        if matrix.form != Form::Conv3d && !matrix.cols.is_multiple_of(BLOCK) {
            let reason = format!("has rows of {} weights, which is no multiple of {BLOCK}", matrix.cols);
            return Err(Refusal::new(reason, "leave it out"));
        }
        let blocks = matrix.cols.div_ceil(BLOCK);
        let output = |c: &Companion, shape| Output { leaf: c.leaf, role: c.role, dtype: c.dtypes[0], shape };
        Ok(Encoding {
            outputs: vec![
                output(&WEIGHT, vec![matrix.rows, blocks.saturating_mul(BLOCK / 2)]),
                output(&BLOCK_SCALE, vec![matrix.rows, blocks]),
                output(&GLOBAL_SCALE, vec![]),
            ],
            needs_maximum: true,
            shares: Shares::Always,
            nan_if_zero: true,
            block: [1, 16],
            row_unit: 1,
            column_unit: BLOCK,
        })
    }

    fn encoder(&self, input: &EncodeInput) -> Result<Box<dyn Encoder>, Refusal> {
        Ok(Box::new(DynamicEncoder::new(input, LARGEST)))
    }

    fn input_scale(&self, amax: f32) -> f32 {
        let amax = if amax == 0.0 { LARGEST_CODE } else { amax };
        amax / LARGEST
    }

    fn config_fields(&self, _: &EncodeSettings) -> Vec<(&'static str, Value)> {
        vec![("group_size", json!(BLOCK))]
    }

    fn config_group(&self, _: &EncodeSettings, _: bool) -> Option<Map<String, Value>> {
        let numbers = json!({"dynamic": false, "num_bits": 4, "type": "float", "group_size": BLOCK});
        let mut group = Map::new();
        if self.about.quantizes_activations {
            group.insert("input_activations".into(), numbers.clone());
        }
        group.insert("weights".into(), numbers);
        Some(group)
    }
}
