//! The layout that all NVFP4 schemes store, and which of them a layer is.
//!
//! Source: `formats.md` b, e and j, "Disambiguation". The tensors show the block size, the low-rank part, the
//! factors on columns and whether activations were calibrated; what they do not show the config tells.

use crate::about::{Companion, INPUT_SCALE_LEAF, Match, Presence, Role, WEIGHT_LEAF};
use crate::layer::LayerView;
use crate::parts::correction::{LORA_A, LORA_B, PRE_QUANT_SCALE};
use crate::parts::fp4::{ColumnBlocks, packed_form};
use crate::parts::marks::is_foreign;
use crate::parts::shapes::{pushed, round_up};
use quantscope_numeric::Dtype;

/// The codes.
pub(crate) const WEIGHT: Companion = Companion {
    leaf: WEIGHT_LEAF,
    role: Role::Weight,
    dtypes: &[Dtype::U8],
    presence: Presence::Required,
    words: "packed weight, two E2M1 codes a byte",
    shape: "[N, K/2]; a stack [E, K/2, N]",
};
/// Scales of blocks of 16.
pub(crate) const BLOCK_SCALE: Companion = Companion {
    leaf: "weight_scale",
    role: Role::WeightScale,
    dtypes: &[Dtype::F8_E4M3],
    presence: Presence::Required,
    words: "block scale, E4M3, one per 16 weights",
    shape: "[N, K/16]; a stack [E, K/16, N]",
};
/// Scale of the block scales.
pub(crate) const GLOBAL_SCALE: Companion = Companion {
    leaf: "weight_scale_2",
    role: Role::GlobalScale,
    dtypes: &[Dtype::F32],
    presence: Presence::Required,
    words: "global scale, amax / 2688",
    shape: "[]",
};
/// Scale of the activations.
pub(crate) const INPUT_SCALE: Companion = Companion {
    leaf: INPUT_SCALE_LEAF,
    role: Role::InputScale,
    dtypes: &[Dtype::F32],
    presence: Presence::Calibrated,
    words: "activation scale, amax / 2688",
    shape: "[]",
};

/// The schemes that are told apart here, by id.
const WEIGHTS_AND_ACTIVATIONS: &str = "nvfp4";
const WEIGHTS: &str = "w4a16-nvfp4";
const FP8_ACTIVATIONS: &str = "w4a8-nvfp4-fp8";
const SMOOTHED: &str = "nvfp4-awq";
const LOW_RANK: &str = "nvfp4-svdquant";

/// Whether the scales say blocks of 32.
fn has_wide_blocks(layer: &LayerView<'_>) -> bool {
    let shapes = layer.weight().zip(layer.get(BLOCK_SCALE.leaf));
    shapes.is_some_and(|(weight, scale)| match (weight.shape, scale.shape) {
        (&[rows, bytes], &[r, blocks]) => rows == r && blocks > 0 && blocks.checked_mul(16) == Some(bytes),
        (codes, scales) => ColumnBlocks::fits(codes, scales, 32),
    })
}

/// Which scheme of this layout a layer is, by id, and how well it fits.
pub(crate) fn which(layer: &LayerView<'_>) -> Option<(&'static str, Match)> {
    let weight = layer.weight().filter(|w| w.rank() >= 2 && matches!(w.dtype, Dtype::U8 | Dtype::I8))?;
    if is_foreign(layer) {
        return None;
    }
    let family = [WEIGHTS_AND_ACTIVATIONS, WEIGHTS, FP8_ACTIVATIONS, SMOOTHED, LOW_RANK];
    let declared = layer.facts.declared.and_then(|id| family.into_iter().find(|own| *own == id));
    let scale = layer.get(BLOCK_SCALE.leaf);
    let e4m3 = scale.is_some_and(|s| s.dtype == Dtype::F8_E4M3) && weight.dtype == Dtype::U8;
    let fit = match (e4m3, layer.has(GLOBAL_SCALE.leaf)) {
        (true, true) => Match::Full,
        (true, false) | (false, true) => Match::Partial,
        (false, false) if declared.is_some() && scale.is_none() => Match::Partial,
        (false, false) => return None,
    };
    let id = if layer.has(LORA_A.leaf) || layer.has(LORA_B.leaf) {
        LOW_RANK
    } else if let Some(declared) = declared {
        // A config that does not know of the factors would leave them out of the weight.
        let blind = declared == WEIGHTS_AND_ACTIVATIONS || declared == WEIGHTS;
        if blind && layer.has(PRE_QUANT_SCALE.leaf) { SMOOTHED } else { declared }
    } else if has_wide_blocks(layer) {
        FP8_ACTIVATIONS
    } else if layer.has(PRE_QUANT_SCALE.leaf) {
        SMOOTHED
    } else if layer.has(INPUT_SCALE.leaf) {
        WEIGHTS_AND_ACTIVATIONS
    } else {
        // An uncalibrated NVFP4 looks like weight-only then, and decodes alike.
        WEIGHTS
    };
    let lacks_part = id == LOW_RANK && !(layer.has(LORA_A.leaf) && layer.has(LORA_B.leaf));
    Some((id, if lacks_part { Match::Partial } else { fit }))
}

/// Logical shape: the last axis is packed, or the middle one of a stack whose scales say so.
pub(crate) fn logical_shape(layer: &LayerView<'_>, block: u64) -> Vec<u64> {
    let Some(weight) = layer.weight() else { return Vec::new() };
    if let Ok(form) = packed_form(layer, [WEIGHT.leaf, BLOCK_SCALE.leaf], block) {
        return form.shape.to_vec();
    }
    let mut shape = weight.shape.to_vec();
    let down =
        layer.get(BLOCK_SCALE.leaf).is_some_and(|scale| ColumnBlocks::fits(weight.shape, scale.shape, block));
    let packed = if down { shape.get_mut(1) } else { shape.last_mut() };
    if let Some(packed) = packed {
        *packed = packed.saturating_mul(2);
    }
    shape
}

/// Legal shapes of the block scales.
pub(crate) fn scale_shapes(weight: &[u64], block: u64) -> Option<Vec<Vec<u64>>> {
    let blocks = |bytes: u64| bytes.saturating_mul(2).div_ceil(block);
    match *weight {
        [rows, bytes] => {
            let plain = blocks(bytes);
            // Post-processing may pad to 16 rows or columns, or to tiles of 128 x 4 (section f).
            let tall = pushed(pushed(vec![rows], round_up(rows, 16)), round_up(rows, 128));
            let wide = pushed(pushed(vec![plain], round_up(plain, 16)), round_up(plain, 4));
            let pairs = tall.iter().flat_map(|&rows| wide.iter().map(move |&cols| vec![rows, cols]));
            Some(pairs.collect())
        }
        [experts, a, b] => Some(vec![vec![experts, blocks(a), b], vec![experts, a, blocks(b)]]),
        _ => None,
    }
}
