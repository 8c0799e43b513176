//! FP8 with one scale a tensor, or one an output channel.
//!
//! Source: `formats.md` a and e (ModelOpt 0.47.0, FP8 and FP8_PER_CHANNEL_PER_TOKEN).

use crate::layer::{LayerView, Stored};
use crate::scheme::{
    About, Companion, DecodeTile, Family, INPUT_SCALE_LEAF, Match, Presence, Role, ScaleLayout, Scheme,
    WEIGHT_LEAF,
};
use quantscope_numeric::{Dtype, e4m3};
use serde_json::{Map, Value, json};

pub(crate) const WEIGHT: Companion = Companion {
    leaf: WEIGHT_LEAF,
    role: Role::Weight,
    dtypes: &[Dtype::F8_E4M3],
    presence: Presence::Required,
    words: "weight, E4M3",
};
const SCALE: Companion = Companion {
    leaf: "weight_scale",
    role: Role::WeightScale,
    dtypes: &[Dtype::F32, Dtype::BF16, Dtype::F16],
    presence: Presence::Required,
    words: "weight scale, amax / 448",
};
pub(crate) const INPUT_SCALE: Companion = Companion {
    leaf: INPUT_SCALE_LEAF,
    role: Role::InputScale,
    dtypes: &[Dtype::F32, Dtype::BF16, Dtype::F16],
    presence: Presence::Calibrated,
    words: "activation scale, amax / 448",
};

/// FP8 with a scale per tensor or per output channel.
pub(crate) struct Fp8 {
    about: &'static About,
    per_channel: bool,
}

/// One scale.
pub(crate) static PER_TENSOR: Fp8 = Fp8 {
    about: &About {
        id: "fp8",
        title: "FP8: E4M3, one scale for the tensor",
        family: Family::Fp8,
        companions: &[WEIGHT, SCALE, INPUT_SCALE],
        algos: &["FP8"],
        quantizes_activations: true,
        can_encode: false,
    },
    per_channel: false,
};

/// A scale per output channel.
pub(crate) static PER_CHANNEL: Fp8 = Fp8 {
    about: &About {
        id: "fp8-channel",
        title: "FP8: E4M3, a scale per output channel",
        family: Family::Fp8,
        companions: &[WEIGHT, SCALE],
        algos: &["FP8_PER_CHANNEL_PER_TOKEN"],
        quantizes_activations: true,
        can_encode: false,
    },
    per_channel: true,
};

impl Scheme for Fp8 {
    fn about(&self) -> &'static About {
        self.about
    }

    fn recognise(&self, layer: &LayerView<'_>, declared: Option<&str>) -> Match {
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

    fn legal_shapes(&self, leaf: &str, weight: Stored<'_>) -> Option<Vec<Vec<u64>>> {
        if leaf == INPUT_SCALE.leaf || (leaf == SCALE.leaf && !self.per_channel) {
            return Some(vec![vec![], vec![1]]);
        }
        if leaf != SCALE.leaf {
            return None;
        }
        let rows = weight.shape.first().copied()?;
        Some(vec![vec![rows], vec![rows, 1]])
    }

    fn scale_layout(&self) -> ScaleLayout {
        let rows = if self.per_channel { 1 } else { u32::MAX };
        ScaleLayout::Fp8Tiles { rows, cols: u32::MAX, scale: SCALE.leaf }
    }

    fn config_group(&self) -> Option<Map<String, Value>> {
        if self.per_channel {
            return None;
        }
        let numbers = json!({"dynamic": false, "num_bits": 8, "type": "float"});
        let mut group = Map::new();
        group.insert("input_activations".into(), numbers.clone());
        group.insert("weights".into(), numbers);
        Some(group)
    }

    fn decode(&self, tile: &DecodeTile<'_>, out: &mut Vec<f32>) {
        let rows_per_scale = if self.per_channel { 1 } else { u64::from(u32::MAX) };
        decode_tiles(tile, rows_per_scale, u64::from(u32::MAX), out);
    }
}

/// Decodes E4M3 rows whose F32 scales govern tiles of `block_rows` x `block_cols`.
pub(crate) fn decode_tiles(tile: &DecodeTile<'_>, block_rows: u64, block_cols: u64, out: &mut Vec<f32>) {
    let Ok(cols) = usize::try_from(tile.cols) else { return };
    let scale_at = |row: u64, col: u64| -> f32 {
        let index = (row / block_rows).saturating_mul(tile.scale_cols).saturating_add(col / block_cols);
        let at = usize::try_from(index).ok().and_then(|i| i.checked_mul(4));
        let bytes = at.and_then(|at| tile.scales.get(at..at.saturating_add(4)));
        bytes.and_then(|b| b.try_into().ok()).map_or(f32::NAN, f32::from_le_bytes)
    };
    for (row, codes) in (tile.first_row..).zip(tile.weight.chunks(cols.max(1))) {
        // One look-up of the scale per run of columns that share it.
        let run = usize::try_from(block_cols).unwrap_or(usize::MAX).max(1);
        for (first, codes) in (0_u64..).step_by(run).zip(codes.chunks(run)) {
            let scale = scale_at(row, first);
            out.extend(codes.iter().map(|&code| e4m3::decode(code) * scale));
        }
    }
}
