//! INT4 weights for FP8 activations.
//!
//! Source: `formats.md` e (ModelOpt 0.47.0, W4A8_AWQ): the weights of INT4, a scale of the whole tensor in FP8, an
//! activation scale. The config says `float` of its four bits; they are integers.

use crate::about::{About, Family};
use crate::parts::config::{Config, GroupSize, grouped};
use crate::parts::correction::PRE_QUANT_SCALE;
use crate::parts::int::{FP8_INPUT, GLOBAL_SCALE, INT4_SCALE, INT4_WEIGHT, Int};
use crate::parts::int_decode::Packing;
use crate::registry::int4::FORMULA;
use crate::scheme::Scheme;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&W4A8];

static W4A8: Int = Int {
    about: &About {
        id: "w4a8-int4-fp8",
        place: 430,
        title: "INT4 weights in groups, FP8 activations",
        family: Family::Int,
        companions: &[INT4_WEIGHT, INT4_SCALE, GLOBAL_SCALE, FP8_INPUT, PRE_QUANT_SCALE],
        algos: &["W4A8_AWQ"],
        declared_by: "",
        quantizes_activations: true,
        can_encode: true,
        formula: FORMULA,
        source: "NVIDIA ModelOpt 0.47.0",
    },
    packing: Packing::RowPairs,
    has_global: true,
    largest_input: 448.0,
    config: Config {
        group_size: GroupSize::Chosen,
        smoothed: true,
        smoothed_group: false,
        alone: false,
        activations: Some(grouped(8, "float")),
        weights: Some(grouped(4, "float")),
    },
};
