//! The list of kernels. A test holds it equal to the folders.

use crate::spec::KernelSpec;
use crate::{absmax, block_absmax, fp8_verify, nvfp4_encode, nvfp4_quantize, nvfp4_verify, scale_verify};

/// A kernel: a folder of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kernel {
    /// The largest magnitude of plain floats.
    AbsMax,
    /// The largest magnitude of each block.
    BlockAbsMax,
    /// Census of an FP8 weight.
    Fp8Verify,
    /// Plain floats to NVFP4 codes under given scales.
    Nvfp4Encode,
    /// Plain floats to NVFP4.
    Nvfp4Quantize,
    /// Census of a packed NVFP4 weight.
    Nvfp4Verify,
    /// Census of F32 scales.
    ScaleVerify,
}

impl Kernel {
    /// Every kernel.
    pub const ALL: &'static [Self] = &[
        Self::AbsMax,
        Self::BlockAbsMax,
        Self::Fp8Verify,
        Self::Nvfp4Encode,
        Self::Nvfp4Quantize,
        Self::Nvfp4Verify,
        Self::ScaleVerify,
    ];

    /// The description of the kernel's shader.
    #[must_use]
    pub fn spec(self) -> &'static KernelSpec {
        match self {
            Self::AbsMax => &absmax::SPEC,
            Self::BlockAbsMax => &block_absmax::SPEC,
            Self::Fp8Verify => &fp8_verify::SPEC,
            Self::Nvfp4Encode => &nvfp4_encode::SPEC,
            Self::Nvfp4Quantize => &nvfp4_quantize::SPEC,
            Self::Nvfp4Verify => &nvfp4_verify::SPEC,
            Self::ScaleVerify => &scale_verify::SPEC,
        }
    }
}
