//! NVFP4 whose blocks choose between two scales: the largest weight becomes 6, or 4.
//!
//! Source: `formats.md` c, "Four over six" (ModelOpt 0.47.0, `four_over_six`): block scales reach 256 instead of
//! 448, so that one and a half times the block's maximum has room. On disk it is NVFP4, and is read as that.

use crate::about::{About, Family};
use crate::parts::nvfp4::{FP4_INPUT, Nvfp4};
use crate::parts::nvfp4_encode::Rule;
use crate::registry::nvfp4::{COMPANIONS, CONFIG};
use crate::scheme::Scheme;
use quantscope_kernels::nvfp4_quantize::Nvfp4Block;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&FOUR_OVER_SIX];

static FOUR_OVER_SIX: Nvfp4 = Nvfp4 {
    about: &About {
        id: "nvfp4-four-over-six",
        place: 130,
        title: "NVFP4 with a choice of two scales per block",
        family: Family::Fp4,
        companions: COMPANIONS,
        algos: &["NVFP4"],
        declared_by: "and read as nvfp4, which has the same layout",
        quantizes_activations: true,
        can_encode: true,
        formula: &[
            "weight_scale_2 = global_amax / 1536",
            "a = block_amax, or 1.5 * block_amax if its squared error is strictly smaller",
            "s = a / 6, 1 where that is 0",
            "weight_scale = E4M3(clamp(s * 256 / (global_amax / 6), 2^-9, 448))",
            "code = E2M1(w / (weight_scale * weight_scale_2)), ties to the even code",
            "w = code * (weight_scale * weight_scale_2)",
        ],
        source: "NVIDIA ModelOpt 0.47.0",
    },
    block: Nvfp4Block::Of16,
    rule: Some(Rule::FourOverSix),
    is_read: false,
    has_low_rank: false,
    config: CONFIG,
    input: FP4_INPUT,
    given: Some("nvfp4-four-over-six"),
};
