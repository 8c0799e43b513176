//! NVFP4: E2M1 codes in blocks of 16, an E4M3 scale a block, an F32 scale a tensor.
//!
//! Source: `formats.md` a, b, d and e (ModelOpt 0.47.0, NVFP4 and W4A16_NVFP4; Conv3d after pull request
//! 1809). Linears and flattened-K Conv3d look the same on disk: a U8 matrix `[N, K/2]` with the even
//! column in the low nibble.

use crate::layer::{LayerView, Stored};
use crate::scheme::{
    About, Companion, DecodeTile, Family, INPUT_SCALE_LEAF, Match, Output, Presence, Role, ScaleLayout,
    Scheme, WEIGHT_LEAF,
};
use quantscope_numeric::{Dtype, e2m1, e4m3};
use serde_json::{Map, Value, json};

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
};
const BLOCK_SCALE: Companion = Companion {
    leaf: "weight_scale",
    role: Role::WeightScale,
    dtypes: &[Dtype::F8_E4M3],
    presence: Presence::Required,
    words: "block scale, E4M3, one per 16 weights",
};
const GLOBAL_SCALE: Companion = Companion {
    leaf: "weight_scale_2",
    role: Role::GlobalScale,
    dtypes: &[Dtype::F32],
    presence: Presence::Required,
    words: "global scale, amax / 2688",
};
const INPUT_SCALE: Companion = Companion {
    leaf: INPUT_SCALE_LEAF,
    role: Role::InputScale,
    dtypes: &[Dtype::F32],
    presence: Presence::Calibrated,
    words: "activation scale, amax / 2688",
};

/// One of the two NVFP4 schemes; they differ in whether activations are quantized.
pub(crate) struct Nvfp4 {
    about: &'static About,
}

/// Weights and activations.
pub(crate) static W4A4: Nvfp4 = Nvfp4 {
    about: &About {
        id: "nvfp4",
        title: "NVFP4: E2M1 in blocks of 16, E4M3 block scales, F32 global scale",
        family: Family::Fp4,
        companions: &[WEIGHT, BLOCK_SCALE, GLOBAL_SCALE, INPUT_SCALE],
        algos: &["NVFP4"],
        quantizes_activations: true,
        can_encode: true,
    },
};

/// Weights only.
pub(crate) static W4A16: Nvfp4 = Nvfp4 {
    about: &About {
        id: "w4a16-nvfp4",
        title: "NVFP4 weights, 16-bit activations",
        companions: &[WEIGHT, BLOCK_SCALE, GLOBAL_SCALE],
        algos: &["W4A16_NVFP4"],
        family: Family::Fp4,
        quantizes_activations: false,
        can_encode: true,
    },
};

/// Rounds up to a multiple; saturating, since shapes may be hostile.
fn round_up(n: u64, multiple: u64) -> u64 {
    n.div_ceil(multiple).saturating_mul(multiple)
}

fn pushed(mut list: Vec<u64>, value: u64) -> Vec<u64> {
    if !list.contains(&value) {
        list.push(value);
    }
    list
}

impl Scheme for Nvfp4 {
    fn about(&self) -> &'static About {
        self.about
    }

    fn recognise(&self, layer: &LayerView<'_>, declared: Option<&str>) -> Match {
        let Some(weight) = layer.weight() else { return Match::No };
        if weight.rank() < 2 || !matches!(weight.dtype, Dtype::U8 | Dtype::I8) {
            return Match::No;
        }
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

    fn logical_shape(&self, weight: Stored<'_>) -> Vec<u64> {
        let mut shape = weight.shape.to_vec();
        if let Some(last) = shape.last_mut() {
            *last = last.saturating_mul(2);
        }
        shape
    }

    fn legal_shapes(&self, leaf: &str, weight: Stored<'_>) -> Option<Vec<Vec<u64>>> {
        if leaf == GLOBAL_SCALE.leaf || leaf == INPUT_SCALE.leaf {
            return Some(vec![vec![], vec![1]]);
        }
        if leaf != BLOCK_SCALE.leaf {
            return None;
        }
        let &[rows, packed_cols] = weight.shape else { return None };
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

    fn outputs(&self, rows: u64, cols: u64, calibrated: bool) -> Vec<Output> {
        let blocks = cols.div_ceil(BLOCK);
        let shape = |role| match role {
            Role::Weight => vec![rows, blocks.saturating_mul(BLOCK / 2)],
            Role::WeightScale => vec![rows, blocks],
            _ => vec![],
        };
        let wanted = self.about.companions.iter().filter(|c| calibrated || c.presence == Presence::Required);
        let output = |c: &Companion| {
            let dtype = c.dtypes.first().copied()?;
            Some(Output { leaf: c.leaf, role: c.role, dtype, shape: shape(c.role) })
        };
        wanted.filter_map(output).collect()
    }

    fn global_scale(&self, amax: f32) -> f32 {
        amax / LARGEST
    }

    fn input_scale(&self, amax: f32) -> f32 {
        let amax = if amax == 0.0 { LARGEST_CODE } else { amax };
        amax / LARGEST
    }

    fn config_fields(&self) -> Vec<(&'static str, Value)> {
        vec![("group_size", json!(BLOCK))]
    }

    fn config_group(&self) -> Option<Map<String, Value>> {
        let numbers = json!({"dynamic": false, "num_bits": 4, "type": "float", "group_size": BLOCK});
        let mut group = Map::new();
        if self.about.quantizes_activations {
            group.insert("input_activations".into(), numbers.clone());
        }
        group.insert("weights".into(), numbers);
        Some(group)
    }

    fn decode(&self, tile: &DecodeTile<'_>, out: &mut Vec<f32>) {
        // f32(f32(dec(scale) * ws2) * value): one rounding for the scale, one for the product.
        for (block, &scale) in tile.weight.chunks(8).zip(tile.scales) {
            let scale = e4m3::decode(scale) * tile.global_scale;
            for &byte in block {
                out.push(e2m1::decode(byte & 15) * scale);
                out.push(e2m1::decode(byte >> 4) * scale);
            }
        }
    }
}
