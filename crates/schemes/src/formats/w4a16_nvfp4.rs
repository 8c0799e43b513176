//! NVFP4 weights for activations of 16 bits.
//!
//! Source: `formats.md` b and e (ModelOpt 0.47.0, W4A16_NVFP4): NVFP4 without an activation scale.

use crate::about::{About, Family};
use crate::parts::config::{Config, GroupSize, grouped};
use crate::parts::nvfp4::{FP4_INPUT, Nvfp4};
use crate::parts::nvfp4_encode::Rule;
use crate::parts::nvfp4_layout::{BLOCK_SCALE, GLOBAL_SCALE, WEIGHT};
use crate::registry::nvfp4::FORMULA;
use crate::scheme::Scheme;
use quantscope_kernels::nvfp4_quantize::Nvfp4Block;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&W4A16];

static W4A16: Nvfp4 = Nvfp4 {
    about: &About {
        id: "w4a16-nvfp4",
        place: 140,
        title: "NVFP4 weights, 16-bit activations",
        family: Family::Fp4,
        companions: &[WEIGHT, BLOCK_SCALE, GLOBAL_SCALE],
        algos: &["W4A16_NVFP4"],
        declared_by: "",
        quantizes_activations: false,
        can_encode: true,
        formula: FORMULA,
        source: "NVIDIA ModelOpt 0.47.0; Conv3d after its pull request 1809",
    },
    block: Nvfp4Block::Of16,
    rule: Some(Rule::Dynamic),
    is_read: true,
    has_low_rank: false,
    config: Config {
        group_size: GroupSize::Fixed(16),
        smoothed: false,
        smoothed_group: false,
        alone: true,
        activations: None,
        weights: Some(grouped(4, "float")),
    },
    input: FP4_INPUT,
    given: None,
};
