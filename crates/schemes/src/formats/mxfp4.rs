//! MXFP4: E2M1 codes in blocks of 32, a power of two a block; weights alone are stored.
//!
//! Source: `formats.md` a and e (ModelOpt 0.47.0, `mxfp4`; OCP MX 1.0). Ties round towards zero.

use crate::about::{About, Family};
use crate::parts::config::NAME_ALONE;
use crate::parts::mx::{FP4_WEIGHT, Mx, SCALE};
use crate::scheme::Scheme;
use quantscope_kernels::MxElement;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&MXFP4];

/// How both schemes with these codes make them.
pub(crate) const FORMULA: &[&str] = &[
    "k = ceil(f32(log2(block_amax / 6))), at least -127",
    "weight_scale = k + 127",
    "code = E2M1(w / 2^k), ties towards zero; the sign bit is clear only above zero",
    "w = code * 2^k",
];

static MXFP4: Mx = Mx {
    about: &About {
        id: "mxfp4",
        place: 200,
        title: "MXFP4: E2M1 in blocks of 32, E8M0 block scales",
        family: Family::Fp4,
        companions: &[FP4_WEIGHT, SCALE],
        algos: &["mxfp4"],
        declared_by: "",
        quantizes_activations: false,
        can_encode: true,
        formula: FORMULA,
        source: "NVIDIA ModelOpt 0.47.0, OCP MX 1.0",
    },
    element: MxElement::E2m1,
    config: NAME_ALONE,
};
