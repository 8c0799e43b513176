//! What the integer schemes have in common: signed codes, float scales, and factors on the input columns where
//! activations were smoothed.
//!
//! Source: `formats.md` e and j.

use crate::about::{About, Companion, INPUT_SCALE_LEAF, Match, Presence, Role, ScaleLayout, WEIGHT_LEAF};
use crate::decode::{Decoder, Refusal};
use crate::encode::{EncodeInput, EncodeSettings, Encoder, Encoding, Matrix, Output, Shares};
use crate::layer::LayerView;
use crate::parts::config::Config;
use crate::parts::correction::{self, PRE_QUANT_SCALE, corrected};
use crate::parts::fp8::expect_linear;
use crate::parts::int_decode::{IntDecoder, Packing};
use crate::parts::int_encode::IntEncoder;
use crate::parts::marks::is_foreign;
use crate::parts::scales::{MaximumRule, input_scale, smallest_normal};
use crate::scheme::Scheme;
use quantscope_numeric::{Dtype, e4m3};
use serde_json::{Map, Value};

/// Float types a scale may have.
const SCALES: &[Dtype] = &[Dtype::F32, Dtype::BF16, Dtype::F16];

/// Signed bytes.
pub(crate) const INT8_WEIGHT: Companion = Companion {
    leaf: WEIGHT_LEAF,
    role: Role::Weight,
    dtypes: &[Dtype::I8],
    presence: Presence::Required,
    words: "weight, signed bytes",
    shape: "[N, K]",
};
/// A scale per output channel.
pub(crate) const INT8_SCALE: Companion = Companion {
    leaf: "weight_scale",
    role: Role::WeightScale,
    dtypes: SCALES,
    presence: Presence::Required,
    words: "scale per output channel, amax of the row / 127",
    shape: "[N]",
};
/// Nibbles of two output rows.
pub(crate) const INT4_WEIGHT: Companion = Companion {
    leaf: WEIGHT_LEAF,
    role: Role::Weight,
    dtypes: &[Dtype::U8],
    presence: Presence::Required,
    words: "packed weight: rows 2i and 2i + 1 share a byte, the even one in the low nibble, two's complement",
    shape: "[N/2, K]",
};
/// A scale per group of a row.
pub(crate) const INT4_SCALE: Companion = Companion {
    leaf: "weight_scale",
    role: Role::WeightScale,
    dtypes: SCALES,
    presence: Presence::Required,
    words: "scale per group, amax of the group / 7",
    shape: "[N, K/g]",
};
/// A scale of the whole tensor, for decoding to FP8 on the way.
pub(crate) const GLOBAL_SCALE: Companion = Companion {
    leaf: "weight_scale_2",
    role: Role::GlobalScale,
    dtypes: &[Dtype::F32],
    presence: Presence::Required,
    words: "scale of the tensor in FP8, amax / 448; not needed to decode",
    shape: "[]",
};
/// Scale of INT8 activations.
pub(crate) const INT8_INPUT: Companion = Companion {
    leaf: INPUT_SCALE_LEAF,
    role: Role::InputScale,
    dtypes: &[Dtype::F32],
    presence: Presence::Calibrated,
    words: "activation scale, amax / 127",
    shape: "[]",
};
/// Scale of FP8 activations.
pub(crate) const FP8_INPUT: Companion = Companion { words: "activation scale, amax / 448", ..INT8_INPUT };

/// One of the integer schemes.
pub(crate) struct Int {
    /// Its description.
    pub(crate) about: &'static About,
    /// How codes stand in bytes.
    pub(crate) packing: Packing,
    /// Whether a scale of the whole tensor stands beside.
    pub(crate) has_global: bool,
    /// Largest activation code, the divisor of activation scales.
    pub(crate) largest_input: f32,
    /// What a config says of it.
    pub(crate) config: Config,
}

/// Columns that share a scale: the whole row of bytes, a group of nibbles.
#[derive(Clone, Copy)]
struct Group {
    size: u64,
    narrow: u32,
}

impl Int {
    /// Which scheme with these codes a layer is: the config tells, else the tensors that only one of them has.
    fn found(&self, layer: &LayerView<'_>) -> &'static str {
        let (plain, full) = match self.packing {
            Packing::Bytes => ("int8-wo", "int8"),
            Packing::RowPairs => ("int4", "w4a8-int4-fp8"),
        };
        let marked = match self.packing {
            Packing::Bytes => layer.has(INT8_INPUT.leaf) || layer.has(PRE_QUANT_SCALE.leaf),
            Packing::RowPairs => layer.has(GLOBAL_SCALE.leaf),
        };
        match layer.facts.declared {
            Some(id) if id == plain => plain,
            Some(id) if id == full => full,
            _ if marked => full,
            _ => plain,
        }
    }

    fn group(&self, matrix: Matrix, settings: &EncodeSettings) -> Result<Group, Refusal> {
        expect_linear(matrix, self.about.id)?;
        if self.packing == Packing::Bytes {
            return Ok(Group { size: 1, narrow: u32::MAX });
        }
        let size = settings.group_size;
        let narrow = u32::try_from(size).ok().filter(|&size| size > 0).ok_or_else(|| {
            Refusal::new(format!("cannot be divided into groups of {size}"), "choose another --group-size")
        })?;
        if !matrix.cols.is_multiple_of(size) {
            let reason =
                format!("has rows of {} weights, which is no multiple of the group size {size}", matrix.cols);
            return Err(Refusal::new(reason, "choose another --group-size, or leave it out"));
        }
        if !matrix.rows.is_multiple_of(2) {
            let reason = format!("has {} output rows, of which two share a byte", matrix.rows);
            return Err(Refusal::new(reason, "leave it out"));
        }
        Ok(Group { size, narrow })
    }

    /// The shape of the weight that stored codes stand for.
    fn logical(&self, stored: &[u64]) -> Vec<u64> {
        let mut shape = stored.to_vec();
        if let Some(rows) = shape.first_mut().filter(|_| self.packing == Packing::RowPairs) {
            *rows = rows.saturating_mul(2);
        }
        shape
    }
}

impl Scheme for Int {
    fn about(&self) -> &'static About {
        self.about
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let dtype = match self.packing {
            Packing::Bytes => Dtype::I8,
            Packing::RowPairs => Dtype::U8,
        };
        let Some(weight) = layer.weight().filter(|w| w.dtype == dtype && w.rank() == 2) else {
            return Match::No;
        };
        if is_foreign(layer) || self.found(layer) != self.about.id {
            return Match::No;
        }
        let declared = layer.facts.declared == Some(self.about.id);
        let Some(scale) = layer.get(INT8_SCALE.leaf) else {
            return if declared { Match::Partial } else { Match::No };
        };
        let rows = self.logical(weight.shape).first().copied();
        let fits = SCALES.contains(&scale.dtype) && scale.shape.first().copied() == rows;
        match (self.packing, scale.rank()) {
            _ if !fits => {
                if declared {
                    Match::Partial
                } else {
                    Match::No
                }
            }
            (Packing::Bytes, 1) => Match::Full,
            (Packing::Bytes, 2) if scale.shape.get(1) == Some(&1) => Match::Full,
            (Packing::RowPairs, 2) if self.has_global && !layer.has(GLOBAL_SCALE.leaf) => Match::Partial,
            (Packing::RowPairs, 2) => Match::Full,
            _ if declared => Match::Partial,
            _ => Match::No,
        }
    }

    fn logical_shape(&self, layer: &LayerView<'_>) -> Vec<u64> {
        layer.weight().map(|w| self.logical(w.shape)).unwrap_or_default()
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        if leaf == INT8_INPUT.leaf || leaf == GLOBAL_SCALE.leaf {
            return Some(vec![vec![], vec![1]]);
        }
        let logical = self.logical_shape(layer);
        if leaf != INT8_SCALE.leaf {
            return correction::legal_shapes(leaf, layer, &logical);
        }
        let &[rows, cols] = logical.as_slice() else { return None };
        if self.packing == Packing::Bytes {
            return Some(vec![vec![rows], vec![rows, 1]]);
        }
        // The group size is what the shapes make it; only whole groups are legal.
        let stored = layer.get(leaf).and_then(|scale| scale.shape.get(1).copied());
        let declared = layer.facts.config_number("group_size").filter(|&g| g > 0 && cols % g == 0);
        let groups = stored.filter(|&n| n > 0 && cols % n == 0);
        let groups = groups.or(declared.map(|g| cols / g)).unwrap_or_else(|| cols.div_ceil(128));
        Some(vec![vec![rows, groups]])
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Scales { scale: INT8_SCALE.leaf, signed: false }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        let decoder = IntDecoder::new(layer, [WEIGHT_LEAF, INT8_SCALE.leaf], self.packing)?;
        corrected(layer, Box::new(decoder), false)
    }

    fn encoding(&self, matrix: Matrix, settings: &EncodeSettings) -> Result<Encoding, Refusal> {
        let group = self.group(matrix, settings)?;
        let output = |c: &Companion, dtype, shape| Output { leaf: c.leaf, role: c.role, dtype, shape };
        let Matrix { rows, cols, .. } = matrix;
        let mut outputs = match self.packing {
            Packing::Bytes => vec![
                output(&INT8_WEIGHT, Dtype::I8, vec![rows, cols]),
                output(&INT8_SCALE, Dtype::F32, vec![rows]),
            ],
            Packing::RowPairs => vec![
                output(&INT4_WEIGHT, Dtype::U8, vec![rows / 2, cols]),
                output(&INT4_SCALE, Dtype::F32, vec![rows, cols / group.size]),
            ],
        };
        if self.has_global {
            outputs.push(output(&GLOBAL_SCALE, Dtype::F32, vec![]));
        }
        Ok(Encoding {
            outputs,
            needs_maximum: self.has_global,
            shares: if self.has_global { Shares::Always } else { Shares::Never },
            nan_if_zero: false,
            block: [1, group.narrow],
            row_unit: if self.packing == Packing::RowPairs { 2 } else { 1 },
            column_unit: group.size,
        })
    }

    fn encoder(&self, input: &EncodeInput) -> Result<Box<dyn Encoder>, Refusal> {
        let group = self.group(input.matrix, &input.settings)?;
        let rule = match self.packing {
            Packing::Bytes => MaximumRule { largest: 127.0, smallest: Some(smallest_normal(input.dtype)) },
            // Groups are measured in F32, whatever the weight is.
            Packing::RowPairs => MaximumRule { largest: 7.0, smallest: Some(f32::MIN_POSITIVE) },
        };
        let global = self.has_global.then(|| (GLOBAL_SCALE.leaf, input.maximum / e4m3::MAX));
        Ok(Box::new(IntEncoder::new(input, rule, self.packing, group.narrow, global)))
    }

    fn input_scale(&self, amax: f32) -> f32 {
        input_scale(amax, self.largest_input, self.largest_input)
    }

    fn config_fields(&self, settings: &EncodeSettings) -> Vec<(&'static str, Value)> {
        self.config.fields(settings)
    }

    fn config_group(&self, settings: &EncodeSettings, mixed: bool) -> Option<Map<String, Value>> {
        self.config.group(self.about.algos.first()?, settings, mixed)
    }
}
