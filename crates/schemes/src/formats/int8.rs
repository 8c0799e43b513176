//! INT8 with a scale per output channel, activations in INT8 too.
//!
//! Source: `formats.md` e (ModelOpt 0.47.0, W8A8_SQ_PER_CHANNEL). SmoothQuant stores factors on the input columns.

use crate::about::{About, Family};
use crate::parts::config::{Config, GroupSize, Numbers, Strategy, numbers};
use crate::parts::correction::PRE_QUANT_SCALE;
use crate::parts::int::{INT8_INPUT, INT8_SCALE, INT8_WEIGHT, Int};
use crate::parts::int_decode::Packing;
use crate::scheme::Scheme;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&INT8];

static INT8: Int = Int {
    about: &About {
        id: "int8",
        place: 400,
        title: "INT8, a scale per output channel, INT8 activations",
        family: Family::Int,
        companions: &[INT8_WEIGHT, INT8_SCALE, INT8_INPUT, PRE_QUANT_SCALE],
        algos: &["W8A8_SQ_PER_CHANNEL"],
        declared_by: "",
        quantizes_activations: true,
        can_encode: true,
        formula: &[
            "weight_scale = row_amax / 127, 1 for a row of zeros",
            "code = clamp(rint(w / weight_scale), -128, 127)",
            "w = code * weight_scale * pre_quant_scale",
            "input_scale = activation_amax / 127",
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
        activations: Some(numbers(8, "int")),
        weights: Some(Numbers { strategy: Strategy::Channel, ..numbers(8, "int") }),
    },
};
