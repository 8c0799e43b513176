//! Kernel `scale_verify`: the census of F32 scales.
//!
//! Exact: the classes of a float (not finite, negative, zero, subnormal) are ranges of its pattern of bits,
//! and the kernel compares patterns; nothing is loaded as a float, so nothing is flushed.

pub(crate) mod cpu;

use crate::engine::{NONE, ScaleCensus};
use crate::spec::{Binding, Exactness, KernelSpec, first_of_rank, params};

/// Scales an invocation of the shader reads.
pub const SCALES_PER_INVOCATION: u32 = 16;

/// Words of the shader's result.
pub const CENSUS_WORDS: u32 = 5;

params! {
    /// What the shader is told of a list.
    pub struct Params {
        /// Scales in the list.
        scale_count,
    }
}

/// The shader's description. `census` holds [`CENSUS_WORDS`] words, zero before the first dispatch.
pub static SPEC: KernelSpec = KernelSpec {
    name: "scale_verify",
    exactness: Exactness::Exact,
    shader: include_str!("shader.wgsl"),
    shared: &["invocation", "census"],
    constants: &[
        ("SCALES_PER_INVOCATION", SCALES_PER_INVOCATION),
        ("NOT_FINITE_AT", 0),
        ("NEGATIVE_AT", 1),
        ("ZERO_AT", 2),
        ("SUBNORMAL_AT", 3),
        ("FIRST_BAD_AT", 4),
    ],
    workgroup_size: 64,
    params: Params::FIELDS,
    bindings: &[Binding::read("scales"), Binding::write("census")],
};

impl ScaleCensus {
    /// Reads the shader's result; `None` if it does not have [`CENSUS_WORDS`] words.
    #[must_use]
    pub fn from_words(words: &[u32]) -> Option<Self> {
        let &[not_finite, negative, zero, subnormal, first_bad] = words else { return None };
        Some(Self {
            not_finite: u64::from(not_finite),
            negative: u64::from(negative),
            zero: u64::from(zero),
            subnormal: u64::from(subnormal),
            first_bad: first_of_rank(first_bad),
        })
    }

    /// Adds the census of a part that starts `offset` scales into the whole. Parts come in order.
    pub fn add(&mut self, part: &Self, offset: u64) {
        self.not_finite += part.not_finite;
        self.negative += part.negative;
        self.zero += part.zero;
        self.subnormal += part.subnormal;
        if self.first_bad == NONE && part.first_bad != NONE {
            self.first_bad = part.first_bad + offset;
        }
    }
}
