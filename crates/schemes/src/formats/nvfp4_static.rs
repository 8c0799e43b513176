//! NVFP4 whose block scales come from block maxima as they are: calibrated ones, or each block's own.
//!
//! Source: `formats.md` c (ModelOpt 0.47.0, `nvfp4_static` exported as NVFP4). On disk it is NVFP4, and is read as that.

use crate::about::{About, Family};
use crate::parts::nvfp4::{FP4_INPUT, Nvfp4};
use crate::parts::nvfp4_encode::Rule;
use crate::registry::nvfp4::{COMPANIONS, CONFIG};
use crate::scheme::Scheme;
use quantscope_kernels::nvfp4_quantize::Nvfp4Block;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&STATIC];

static STATIC: Nvfp4 = Nvfp4 {
    about: &About {
        id: "nvfp4-static",
        place: 110,
        title: "NVFP4 with block maxima taken as they are",
        family: Family::Fp4,
        companions: COMPANIONS,
        algos: &["NVFP4"],
        declared_by: "and read as nvfp4, which has the same layout",
        quantizes_activations: true,
        can_encode: true,
        formula: &[
            "weight_scale_2 = global_amax / 2688",
            "s = block_amax / 6, 1 where that is 0",
            "weight_scale = E4M3(clamp(s * 448 / (global_amax / 6), 2^-9, 448))",
            "code = E2M1(w / (weight_scale * weight_scale_2)), ties to the even code",
            "w = code * (weight_scale * weight_scale_2)",
        ],
        source: "NVIDIA ModelOpt 0.47.0",
    },
    block: Nvfp4Block::Of16,
    rule: Some(Rule::Static),
    is_read: false,
    has_low_rank: false,
    config: CONFIG,
    input: FP4_INPUT,
    given: Some("nvfp4-static"),
};
