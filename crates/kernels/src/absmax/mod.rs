//! Kernel `absmax`: the largest magnitude of plain floats, from which a tensor's scale is made.
//!
//! Exact: the magnitude of a float grows with its pattern of bits, so the largest pattern without its sign
//! is the largest magnitude, whatever the type; the result alone is widened to F32, on the CPU. Infinities
//! and NaNs have the largest patterns of all and show in the result.

pub(crate) mod cpu;

use crate::engine::{AbsMax, FloatType};
use crate::spec::{Binding, Exactness, KernelSpec, params};
use quantscope_numeric::{f32_bits_from_bf16, f32_bits_from_f16};

/// Words an invocation of the shader reads.
pub const WORDS_PER_INVOCATION: u32 = 16;

params! {
    /// What the shader is told of a tile.
    pub struct Params {
        /// Words of the source, the last one filled up with zeros.
        word_count,
        /// 1 if two elements share a word, 0 if each has its own.
        narrow,
    }
}

/// The shader's description. `result` is one word: the largest pattern.
pub static SPEC: KernelSpec = KernelSpec {
    name: "absmax",
    exactness: Exactness::Exact,
    shader: include_str!("shader.wgsl"),
    shared: &["invocation"],
    constants: &[("WORDS_PER_INVOCATION", WORDS_PER_INVOCATION)],
    workgroup_size: 64,
    params: Params::FIELDS,
    bindings: &[Binding::read("source"), Binding::write("result")],
};

impl AbsMax {
    /// The magnitude whose pattern in the type `dtype` is `pattern`.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "patterns of the narrow types have 15 bits")]
    pub fn from_pattern(pattern: u32, dtype: FloatType) -> Self {
        let bits = match dtype {
            FloatType::F32 => pattern,
            FloatType::Bf16 => f32_bits_from_bf16(pattern as u16),
            FloatType::F16 => f32_bits_from_f16(pattern as u16),
        };
        Self { bits }
    }
}
