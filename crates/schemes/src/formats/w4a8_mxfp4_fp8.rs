//! MXFP4 weights for FP8 activations.
//!
//! Source: `formats.md` a and e (ModelOpt 0.47.0, W4A8_MXFP4_FP8): the weights of MXFP4, an activation scale.

use crate::about::{About, Family};
use crate::parts::config::{Config, GroupSize, grouped, numbers};
use crate::parts::mx::{BLOCK, FP4_WEIGHT, INPUT_SCALE, Mx, SCALE};
use crate::registry::mxfp4::FORMULA;
use crate::scheme::Scheme;
use quantscope_kernels::MxElement;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&W4A8];

static W4A8: Mx = Mx {
    about: &About {
        id: "w4a8-mxfp4-fp8",
        place: 210,
        title: "MXFP4 weights, FP8 activations",
        family: Family::Fp4,
        companions: &[FP4_WEIGHT, SCALE, INPUT_SCALE],
        algos: &["W4A8_MXFP4_FP8"],
        declared_by: "",
        quantizes_activations: true,
        can_encode: true,
        formula: FORMULA,
        source: "NVIDIA ModelOpt 0.47.0, OCP MX 1.0",
    },
    element: MxElement::E2m1,
    config: Config {
        group_size: GroupSize::Fixed(BLOCK),
        smoothed: false,
        smoothed_group: false,
        alone: false,
        activations: Some(numbers(8, "float")),
        weights: Some(grouped(4, "float")),
    },
};
