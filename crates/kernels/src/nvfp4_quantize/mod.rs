//! Kernel `nvfp4_quantize`: plain floats to E2M1 codes and E4M3 block scales, with integers only.
//!
//! The arithmetic is `formats.md` b and c, ModelOpt's `NVFP4QTensor.quantize`:
//!
//! ```text
//! scale = E4M3 of the block's largest magnitude                 by one of the two rules of [`ScaleRule`]
//! code  = E2M1(cast(w) / (scale * ws2))                         F32, rounded once each; ties to the even code
//! ```
//!
//! Exact: [`Nvfp4Table`] finds, on the CPU, the pattern at which each scale byte and each code begins, so
//! both twins load patterns and compare integers. Nothing is rounded in a kernel, and a source of F16 or
//! BF16 is not even widened: the thresholds are given over its own patterns.
//!
//! Elements must be finite, which [`crate::Engine::absmax`] tells. Patterns of infinity and NaN are not
//! errors: they are taken for magnitudes beyond all others, by both twins alike.

#[cfg(all(target_arch = "x86_64", not(quantscope_narrow)))]
mod at_once;
pub(crate) mod cpu;
mod rule;
mod table;
mod threshold;

pub use rule::{ScaleRange, ScaleRule};
pub use table::Nvfp4Table;
#[cfg(all(target_arch = "x86_64", not(quantscope_narrow)))]
pub(crate) use table::{Bf16Tables, CodeThresholds};
pub(crate) use threshold::last_below;

use crate::spec::{Binding, Exactness, KernelSpec, params};
use serde::{Deserialize, Serialize};

/// The code dtype: the element type a weight is cast to before its codes are taken (`formats.md` a,
/// "Export dtype"): block scales are taken from the source, codes from the cast value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodeCast {
    /// Codes from the source values as they are.
    Keep,
    /// Codes from the values rounded to BF16 first.
    ToBf16,
    /// Codes from the values rounded to F16 first.
    ToF16,
}

impl CodeCast {
    /// The cast as a number for shaders: what `f32_cast` of `shared/softfloat.wgsl` takes.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Keep => 0,
            Self::ToBf16 => 1,
            Self::ToF16 => 2,
        }
    }
}

/// How many elements share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Nvfp4Block {
    /// 16: NVFP4 proper.
    Of16,
    /// 32: weights for FP8 activations (`W4A8_NVFP4_FP8`).
    Of32,
}

impl Nvfp4Block {
    /// Elements in a block.
    #[must_use]
    pub const fn elems(self) -> u32 {
        match self {
            Self::Of16 => 16,
            Self::Of32 => 32,
        }
    }

    /// Bytes of a block's codes.
    pub(crate) const fn code_bytes(self) -> usize {
        self.elems() as usize / 2
    }
}

/// Elements that share a scale in NVFP4 proper.
pub const BLOCK: u32 = Nvfp4Block::Of16.elems();

/// Blocks an invocation of the shader quantizes: their scale bytes fill one word, so none is shared.
pub const BLOCKS_PER_INVOCATION: u32 = 4;

params! {
    /// What the shader is told of a tile.
    pub struct Params {
        /// Elements in a row.
        cols,
        /// Blocks in a row.
        row_blocks,
        /// Blocks in the tile.
        block_count,
        /// Elements in a block: 16 or 32.
        block,
        /// 1 if two elements share a word, 0 if each has its own.
        narrow,
        /// The scale byte of a block below the first threshold.
        zero_scale,
    }
}

/// The shader's description.
pub static SPEC: KernelSpec = KernelSpec {
    name: "nvfp4_quantize",
    exactness: Exactness::Exact,
    shader: include_str!("shader.wgsl"),
    shared: &["invocation", "element", "nvfp4_code"],
    constants: &[("MOST_BLOCK", Nvfp4Block::Of32.elems()), ("BLOCKS_PER_INVOCATION", BLOCKS_PER_INVOCATION)],
    workgroup_size: 64,
    params: Params::FIELDS,
    bindings: &[
        Binding::read("source"),
        Binding::read("scale_last"),
        Binding::read("code_last"),
        Binding::write("codes"),
        Binding::write("scales"),
    ],
};
