//! MXFP8: E4M3 codes in blocks of 32, a power of two a block.
//!
//! Source: `formats.md` a and e (ModelOpt 0.47.0, MXFP8; OCP MX 1.0).

use crate::about::{About, Companion, Family};
use crate::parts::config::{Config, GroupSize, grouped};
use crate::parts::fp8::WEIGHT;
use crate::parts::mx::{BLOCK, Mx, SCALE};
use crate::scheme::Scheme;
use quantscope_kernels::MxElement;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&MXFP8];

const CODES: Companion = Companion { words: "weight, E4M3 codes", ..WEIGHT };

static MXFP8: Mx = Mx {
    about: &About {
        id: "mxfp8",
        place: 220,
        title: "MXFP8: E4M3 in blocks of 32, E8M0 block scales",
        family: Family::Fp8,
        companions: &[CODES, SCALE],
        algos: &["MXFP8"],
        declared_by: "",
        quantizes_activations: false,
        can_encode: true,
        formula: &[
            "k = ceil(f32(log2(block_amax / 448))), from -127 to 127",
            "weight_scale = k + 127",
            "code = E4M3(clamp(w * 2^-k, -448, 448))",
            "w = code * 2^k",
        ],
        source: "NVIDIA ModelOpt 0.47.0, OCP MX 1.0",
    },
    element: MxElement::E4m3,
    config: Config {
        group_size: GroupSize::Fixed(BLOCK),
        smoothed: false,
        smoothed_group: false,
        alone: false,
        activations: Some(grouped(8, "float")),
        weights: Some(grouped(8, "float")),
    },
};
