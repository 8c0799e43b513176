//! The list of kernels. A test holds it equal to the folders.

use crate::spec::KernelSpec;
use crate::{
    absmax, block_absmax, byte_census, error_metrics, fp4_decode, fp8_decode, fp8_encode, fp8_verify,
    mx_encode, nvfp4_encode, nvfp4_quantize, nvfp4_search, nvfp4_verify, scale_verify,
};

/// A kernel: a folder of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kernel {
    /// The largest magnitude of plain floats.
    AbsMax,
    /// The largest magnitude of each block.
    BlockAbsMax,
    /// Plain floats to NVFP4 codes under given scales.
    Nvfp4Encode,
    /// How often each byte occurs.
    ByteCensus,
    /// How far decoded values are from their source.
    ErrorMetrics,
    /// Packed FP4 codes to F32.
    Fp4Decode,
    /// FP8 codes to F32.
    Fp8Decode,
    /// Plain floats to FP8.
    Fp8Encode,
    /// Census of an FP8 weight.
    Fp8Verify,
    /// Plain floats to MXFP4 or MXFP8.
    MxEncode,
    /// Plain floats to NVFP4.
    Nvfp4Quantize,
    /// NVFP4 scales of least error.
    Nvfp4Search,
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
        Self::Nvfp4Encode,
        Self::ByteCensus,
        Self::ErrorMetrics,
        Self::Fp4Decode,
        Self::Fp8Decode,
        Self::Fp8Encode,
        Self::Fp8Verify,
        Self::MxEncode,
        Self::Nvfp4Quantize,
        Self::Nvfp4Search,
        Self::Nvfp4Verify,
        Self::ScaleVerify,
    ];

    /// The description of the kernel's shader.
    #[must_use]
    pub fn spec(self) -> &'static KernelSpec {
        match self {
            Self::AbsMax => &absmax::SPEC,
            Self::BlockAbsMax => &block_absmax::SPEC,
            Self::ByteCensus => &byte_census::SPEC,
            Self::ErrorMetrics => &error_metrics::SPEC,
            Self::Fp4Decode => &fp4_decode::SPEC,
            Self::Fp8Decode => &fp8_decode::SPEC,
            Self::Fp8Encode => &fp8_encode::SPEC,
            Self::MxEncode => &mx_encode::SPEC,
            Self::Fp8Verify => &fp8_verify::SPEC,
            Self::Nvfp4Encode => &nvfp4_encode::SPEC,
            Self::Nvfp4Quantize => &nvfp4_quantize::SPEC,
            Self::Nvfp4Search => &nvfp4_search::SPEC,
            Self::Nvfp4Verify => &nvfp4_verify::SPEC,
            Self::ScaleVerify => &scale_verify::SPEC,
        }
    }
}
