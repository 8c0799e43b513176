//! Kernel `nvfp4_quantize`: plain floats to E2M1 codes and E4M3 block scales, with integers only.

/// The code dtype: the element type a weight is cast to before its codes are taken (`formats.md` a,
/// "Export dtype"): block scales are taken from the source, codes from the cast value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeCast {
    /// Codes from the source values as they are.
    Keep,
    /// Codes from the values rounded to BF16 first.
    ToBf16,
    /// Codes from the values rounded to F16 first.
    ToF16,
}

/// Everything about one tensor that quantizing needs beside its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nvfp4Table {}
