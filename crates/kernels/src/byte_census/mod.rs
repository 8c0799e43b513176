//! Kernel `byte_census`: how often each byte occurs, and where first.
//!
//! For what has no census of its own: E8M0 scales (how often 255, which is NaN), INT8 and packed INT4 codes.
//!
//! Exact: bytes are counted, nothing is computed with.

pub(crate) mod cpu;

use crate::engine::NONE;
use crate::spec::{Binding, Exactness, KernelSpec, first_of_rank, params};
use serde::{Deserialize, Serialize};

/// Words of four bytes an invocation of the shader reads.
pub const WORDS_PER_INVOCATION: u32 = 16;

/// Words of the shader's result.
pub const CENSUS_WORDS: u32 = 512;

/// What a list of bytes holds. Counts add up over lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteCensus {
    /// How often each of the 256 bytes occurs.
    pub counts: Vec<u64>,
    /// Where each of them occurs first, or [`NONE`].
    pub first: Vec<u64>,
}

impl Default for ByteCensus {
    fn default() -> Self {
        Self { counts: vec![0; 256], first: vec![NONE; 256] }
    }
}

impl ByteCensus {
    /// Reads the shader's result; `None` if it does not have [`CENSUS_WORDS`] words.
    #[must_use]
    pub fn from_words(words: &[u32]) -> Option<Self> {
        let (counts, ranks) = words.split_first_chunk::<256>()?;
        let ranks: &[u32; 256] = ranks.try_into().ok()?;
        Some(Self {
            counts: counts.iter().map(|&count| u64::from(count)).collect(),
            first: ranks.iter().map(|&rank| first_of_rank(rank)).collect(),
        })
    }

    /// Adds the census of a part whose first byte is `offset` bytes into the whole. Parts come in order.
    pub fn add(&mut self, part: &Self, offset: u64) {
        for (into, from) in self.counts.iter_mut().zip(&part.counts) {
            *into += from;
        }
        for (into, from) in self.first.iter_mut().zip(&part.first) {
            if *into == NONE && *from != NONE {
                *into = from + offset;
            }
        }
    }
}

params! {
    /// What the shader is told of a list.
    pub struct Params {
        /// Bytes in the list.
        byte_count,
    }
}

/// The shader's description. `census` holds [`CENSUS_WORDS`] words, zero before the first dispatch.
pub static SPEC: KernelSpec = KernelSpec {
    name: "byte_census",
    exactness: Exactness::Exact,
    shader: include_str!("shader.wgsl"),
    shared: &["invocation", "census"],
    constants: &[("WORDS_PER_INVOCATION", WORDS_PER_INVOCATION), ("FIRST_AT", 256)],
    workgroup_size: 64,
    params: Params::FIELDS,
    bindings: &[Binding::read("bytes"), Binding::write("census")],
};
