//! INT8 with a scale per output channel, weights only.
//!
//! Source: `formats.md` e (ModelOpt 0.47.0, W8A16).

use crate::about::{About, Family};
use crate::parts::config::{Config, GroupSize, numbers};
use crate::parts::int::{INT8_SCALE, INT8_WEIGHT, Int};
use crate::parts::int_decode::Packing;
use crate::scheme::Scheme;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&INT8_WEIGHT_ONLY];

static INT8_WEIGHT_ONLY: Int = Int {
    about: &About {
        id: "int8-wo",
        place: 410,
        title: "INT8, a scale per output channel, weight only",
        family: Family::Int,
        companions: &[INT8_WEIGHT, INT8_SCALE],
        algos: &["W8A16"],
        declared_by: "",
        quantizes_activations: false,
        can_encode: true,
        formula: &[
            "weight_scale = row_amax / 127, 1 for a row of zeros",
            "code = clamp(rint(w / weight_scale), -128, 127)",
            "w = code * weight_scale",
        ],
        source: "NVIDIA ModelOpt 0.47.0",
    },
    packing: Packing::Bytes,
    has_global: false,
    largest_input: 127.0,
    config: Config {
        group_size: GroupSize::None,
        smoothed: false,
        smoothed_group: false,
        alone: false,
        activations: None,
        weights: Some(numbers(8, "int")),
    },
};
