//! NVFP4 weights in blocks of 32 for FP8 activations.
//!
//! Source: `formats.md` e (ModelOpt 0.47.0, W4A8_NVFP4_FP8): the arithmetic of NVFP4 with another block and another
//! global scale. The width of the scales tells it from NVFP4.

use crate::about::{About, Companion, Family};
use crate::parts::config::{Config, GroupSize, grouped, numbers};
use crate::parts::nvfp4::{FP8_INPUT, Nvfp4};
use crate::parts::nvfp4_encode::Rule;
use crate::parts::nvfp4_layout::{BLOCK_SCALE, GLOBAL_SCALE, INPUT_SCALE, WEIGHT};
use crate::scheme::Scheme;
use quantscope_kernels::nvfp4_quantize::Nvfp4Block;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&W4A8];

const WIDE_SCALE: Companion = Companion {
    words: "block scale, E4M3, one per 32 weights",
    shape: "[N, K/32]; a stack [E, K/32, N]",
    ..BLOCK_SCALE
};
const WIDE_GLOBAL: Companion = Companion { words: "global scale, amax / 448", ..GLOBAL_SCALE };
const FP8_INPUT_SCALE: Companion = Companion { words: "activation scale, amax / 448", ..INPUT_SCALE };

static W4A8: Nvfp4 = Nvfp4 {
    about: &About {
        id: "w4a8-nvfp4-fp8",
        place: 150,
        title: "NVFP4 weights in blocks of 32, FP8 activations",
        family: Family::Fp4,
        companions: &[WEIGHT, WIDE_SCALE, WIDE_GLOBAL, FP8_INPUT_SCALE],
        algos: &["W4A8_NVFP4_FP8"],
        declared_by: "",
        quantizes_activations: true,
        can_encode: true,
        formula: &[
            "weight_scale_2 = amax / 448",
            "weight_scale = E4M3(clamp(block_amax / (6 * weight_scale_2), 2^-9, 448)), 1 for a block of zeros",
            "code = E2M1(w / (weight_scale * weight_scale_2)), ties to the even code",
            "w = code * (weight_scale * weight_scale_2)",
        ],
        source: "NVIDIA ModelOpt 0.47.0",
    },
    block: Nvfp4Block::Of32,
    rule: Some(Rule::Dynamic),
    is_read: true,
    has_low_rank: false,
    config: Config {
        group_size: GroupSize::Fixed(32),
        smoothed: false,
        smoothed_group: false,
        alone: false,
        activations: Some(numbers(8, "float")),
        weights: Some(grouped(4, "float")),
    },
    input: FP8_INPUT,
    given: None,
};
