//! INT4 with a scale per group of a row, weights only.
//!
//! Source: `formats.md` a (nibble order) and e (ModelOpt 0.47.0, W4A16_AWQ). AWQ stores factors on the input columns
//! where no norm could take them in; they were chosen with activations and cannot be found again from weights.

use crate::about::{About, Family};
use crate::parts::config::{Config, GroupSize, grouped};
use crate::parts::correction::PRE_QUANT_SCALE;
use crate::parts::int::{INT4_SCALE, INT4_WEIGHT, Int};
use crate::parts::int_decode::Packing;
use crate::scheme::Scheme;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&INT4];

/// How both schemes with these codes make them.
pub(crate) const FORMULA: &[&str] = &[
    "weight_scale = group_amax / 7, 1 for a group of zeros",
    "code = clamp(rint(w / weight_scale), -8, 7)",
    "w = code * weight_scale * pre_quant_scale",
];

static INT4: Int = Int {
    about: &About {
        id: "int4",
        place: 420,
        title: "INT4, a scale per group of a row, packed along the output axis",
        family: Family::Int,
        companions: &[INT4_WEIGHT, INT4_SCALE, PRE_QUANT_SCALE],
        algos: &["W4A16_AWQ"],
        declared_by: "",
        quantizes_activations: false,
        can_encode: true,
        formula: FORMULA,
        source: "NVIDIA ModelOpt 0.47.0",
    },
    packing: Packing::RowPairs,
    has_global: false,
    largest_input: 127.0,
    config: Config {
        group_size: GroupSize::Chosen,
        smoothed: true,
        smoothed_group: false,
        alone: false,
        activations: None,
        weights: Some(grouped(4, "int")),
    },
};
