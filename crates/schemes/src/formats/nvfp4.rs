//! NVFP4: E2M1 codes in blocks of 16, an E4M3 scale a block, an F32 scale a tensor.
//!
//! Source: `formats.md` a, b, d and e (ModelOpt 0.47.0, NVFP4; Conv3d after pull request 1809). Linears and
//! flattened-K Conv3d look the same on disk: a U8 matrix `[N, K/2]` with the even column in the low nibble.

use crate::about::{About, Companion, Family};
use crate::parts::config::{Config, GroupSize, grouped};
use crate::parts::nvfp4::{FP4_INPUT, Nvfp4};
use crate::parts::nvfp4_encode::Rule;
use crate::parts::nvfp4_layout::{BLOCK_SCALE, GLOBAL_SCALE, INPUT_SCALE, WEIGHT};
use crate::scheme::Scheme;
use quantscope_kernels::nvfp4_quantize::Nvfp4Block;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&NVFP4];

/// What every scheme of this layout with FP4 activations stores.
pub(crate) const COMPANIONS: &[Companion] = &[WEIGHT, BLOCK_SCALE, GLOBAL_SCALE, INPUT_SCALE];

/// What configs say of them all.
pub(crate) const CONFIG: Config = Config {
    group_size: GroupSize::Fixed(16),
    smoothed: false,
    smoothed_group: false,
    alone: true,
    activations: Some(grouped(4, "float")),
    weights: Some(grouped(4, "float")),
};

/// How scales and codes follow from the weight.
pub(crate) const FORMULA: &[&str] = &[
    "weight_scale_2 = amax / 2688",
    "weight_scale = E4M3(clamp(block_amax / (6 * weight_scale_2), 2^-9, 448)), 1 for a block of zeros",
    "code = E2M1(w / (weight_scale * weight_scale_2)), ties to the even code",
    "w = code * (weight_scale * weight_scale_2)",
];

static NVFP4: Nvfp4 = Nvfp4 {
    about: &About {
        id: "nvfp4",
        place: 100,
        title: "NVFP4: E2M1 in blocks of 16, E4M3 block scales, F32 global scale",
        family: Family::Fp4,
        companions: COMPANIONS,
        algos: &["NVFP4"],
        declared_by: "",
        quantizes_activations: true,
        can_encode: true,
        formula: FORMULA,
        source: "NVIDIA ModelOpt 0.47.0; Conv3d after its pull request 1809",
    },
    block: Nvfp4Block::Of16,
    rule: Some(Rule::Dynamic),
    is_read: true,
    has_low_rank: false,
    config: CONFIG,
    input: FP4_INPUT,
    given: Some("nvfp4-static"),
};
