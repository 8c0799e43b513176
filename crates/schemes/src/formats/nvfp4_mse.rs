//! NVFP4 whose block scales are searched: of all E4M3 values the one with the least squared error.
//!
//! Source: `formats.md` c (ModelOpt 0.47.0, `mse` with `fp8_scale_sweep`). It takes a global maximum, never block
//! maxima. On disk it is NVFP4, and is read as that.

use crate::about::{About, Family};
use crate::parts::nvfp4::{FP4_INPUT, Nvfp4};
use crate::parts::nvfp4_encode::Rule;
use crate::registry::nvfp4::{COMPANIONS, CONFIG};
use crate::scheme::Scheme;
use quantscope_kernels::nvfp4_quantize::Nvfp4Block;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&MSE];

static MSE: Nvfp4 = Nvfp4 {
    about: &About {
        id: "nvfp4-mse",
        place: 120,
        title: "NVFP4 with block scales searched for the least squared error",
        family: Family::Fp4,
        companions: COMPANIONS,
        algos: &["NVFP4"],
        declared_by: "and read as nvfp4, which has the same layout",
        quantizes_activations: true,
        can_encode: true,
        formula: &[
            "weight_scale_2 = global_amax / 2688",
            "for c = 1 to 126: d = (E4M3(c) / 448 * global_amax) / 6, 1 where that is 0",
            "                  loss = sum over the block of (|w| - E2M1(|w| / d) * d)^2",
            "weight_scale = the first c with the least loss",
            "code = E2M1(w / (weight_scale * weight_scale_2)), ties to the even code",
            "w = code * (weight_scale * weight_scale_2)",
        ],
        source: "NVIDIA ModelOpt 0.47.0",
    },
    block: Nvfp4Block::Of16,
    rule: Some(Rule::Sweep),
    is_read: false,
    has_low_rank: false,
    config: CONFIG,
    input: FP4_INPUT,
    given: None,
};
