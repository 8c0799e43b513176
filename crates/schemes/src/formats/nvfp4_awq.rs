//! NVFP4 of weights that were scaled by input column first.
//!
//! Source: `formats.md` e (ModelOpt 0.47.0, NVFP4_AWQ). The factors were chosen with activations, so it is read and
//! not written. Where a norm took them in, a layer has none, and only the config tells.

use crate::about::{About, Family};
use crate::parts::config::{Config, GroupSize, grouped};
use crate::parts::correction::PRE_QUANT_SCALE;
use crate::parts::nvfp4::{FP4_INPUT, Nvfp4};
use crate::parts::nvfp4_layout::{BLOCK_SCALE, GLOBAL_SCALE, INPUT_SCALE, WEIGHT};
use crate::scheme::Scheme;
use quantscope_kernels::nvfp4_quantize::Nvfp4Block;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&AWQ];

static AWQ: Nvfp4 = Nvfp4 {
    about: &About {
        id: "nvfp4-awq",
        place: 160,
        title: "NVFP4 of weights scaled by input column (AWQ)",
        family: Family::Fp4,
        companions: &[WEIGHT, BLOCK_SCALE, GLOBAL_SCALE, INPUT_SCALE, PRE_QUANT_SCALE],
        algos: &["NVFP4_AWQ"],
        declared_by: "",
        quantizes_activations: true,
        can_encode: false,
        formula: &["w = code * (weight_scale * weight_scale_2) * pre_quant_scale, by input column"],
        source: "NVIDIA ModelOpt 0.47.0",
    },
    block: Nvfp4Block::Of16,
    rule: None,
    is_read: true,
    has_low_rank: false,
    config: Config {
        group_size: GroupSize::Fixed(16),
        smoothed: true,
        smoothed_group: false,
        alone: false,
        activations: Some(grouped(8, "float")),
        weights: Some(grouped(4, "float")),
    },
    input: FP4_INPUT,
    given: None,
};
