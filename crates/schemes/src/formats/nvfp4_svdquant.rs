//! NVFP4 of what a low-rank part of the weight leaves over.
//!
//! Source: `formats.md` e (ModelOpt 0.47.0, NVFP4_SVD; diffusers): `y = GEMM(x) + (x A^T) B^T`. The parts were chosen
//! with activations, so it is read and not written.

use crate::about::{About, Family};
use crate::parts::config::{Config, GroupSize, grouped};
use crate::parts::correction::{LORA_A, LORA_B, PRE_QUANT_SCALE};
use crate::parts::nvfp4::{FP4_INPUT, Nvfp4};
use crate::parts::nvfp4_layout::{BLOCK_SCALE, GLOBAL_SCALE, INPUT_SCALE, WEIGHT};
use crate::scheme::Scheme;
use quantscope_kernels::nvfp4_quantize::Nvfp4Block;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&SVDQUANT];

static SVDQUANT: Nvfp4 = Nvfp4 {
    about: &About {
        id: "nvfp4-svdquant",
        place: 170,
        title: "NVFP4 beside a low-rank part (SVDQuant)",
        family: Family::Fp4,
        companions: &[WEIGHT, BLOCK_SCALE, GLOBAL_SCALE, INPUT_SCALE, PRE_QUANT_SCALE, LORA_A, LORA_B],
        algos: &["NVFP4_SVD"],
        declared_by: "with the rank as `lora_rank`",
        quantizes_activations: true,
        can_encode: false,
        formula: &[
            "d = code * (weight_scale * weight_scale_2)",
            "w = (d + svdquant_lora_b * svdquant_lora_a) * pre_quant_scale, by input column",
        ],
        source: "NVIDIA ModelOpt 0.47.0",
    },
    block: Nvfp4Block::Of16,
    rule: None,
    is_read: true,
    has_low_rank: true,
    config: Config {
        group_size: GroupSize::Fixed(16),
        smoothed: true,
        smoothed_group: true,
        alone: true,
        activations: Some(grouped(4, "float")),
        weights: Some(grouped(4, "float")),
    },
    input: FP4_INPUT,
    given: None,
};
