//! Kernel `nvfp4_verify`: the census of a packed NVFP4 weight.
//!
//! Counts codes and scale bytes, blocks whose zero scale hides codes, and padding that is not zero; notes
//! the first block whose scale is NaN or negative. A scale is zero when its byte is 0x00 or 0x80, a code
//! when it is 0 or 8.
//!
//! Exact: bytes are compared and counted, nothing is computed with.

pub(crate) mod cpu;

use crate::engine::{NONE, Nvfp4Census};
use crate::spec::{Binding, Exactness, KernelSpec, first_of_rank, params};

/// Groups of four blocks an invocation of the shader reads: a word of scales, and their codes.
pub const QUADS_PER_INVOCATION: u32 = 4;

/// Words of the shader's result.
pub const CENSUS_WORDS: u32 = 16 + 256 + 5;

params! {
    /// What the shader is told of a tile.
    pub struct Params {
        /// Blocks in the tile.
        block_count,
        /// Blocks in a row.
        row_blocks,
        /// Words of codes in a block.
        block_words,
        /// Elements of a row that are not padding.
        logical_cols,
    }
}

/// The shader's description. `census` holds [`CENSUS_WORDS`] words, zero before the first dispatch.
pub static SPEC: KernelSpec = KernelSpec {
    name: "nvfp4_verify",
    exactness: Exactness::Exact,
    shader: include_str!("shader.wgsl"),
    shared: &["invocation", "census"],
    constants: &[
        ("QUADS_PER_INVOCATION", QUADS_PER_INVOCATION),
        ("SCALES_AT", 16),
        ("ZERO_SCALE_WITH_CODES_AT", 272),
        ("ZERO_SCALE_ZERO_CODES_AT", 273),
        ("PADDING_NOT_ZERO_AT", 274),
        ("FIRST_ZERO_SCALE_WITH_CODES_AT", 275),
        ("FIRST_BAD_SCALE_AT", 276),
    ],
    workgroup_size: 64,
    params: Params::FIELDS,
    bindings: &[Binding::read("codes"), Binding::read("scales"), Binding::write("census")],
};

impl Nvfp4Census {
    /// Reads the shader's result; `None` if it does not have [`CENSUS_WORDS`] words.
    #[must_use]
    pub fn from_words(words: &[u32]) -> Option<Self> {
        let (codes, rest) = words.split_first_chunk::<16>()?;
        let (scales, rest) = rest.split_first_chunk::<256>()?;
        let &[with_codes, without_codes, padding, first_with_codes, first_bad] = rest else { return None };
        Some(Self {
            codes: codes.map(u64::from),
            scales: scales.iter().map(|&n| u64::from(n)).collect(),
            zero_scale_with_codes: u64::from(with_codes),
            first_zero_scale_with_codes: first_of_rank(first_with_codes),
            zero_scale_zero_codes: u64::from(without_codes),
            first_bad_scale: first_of_rank(first_bad),
            padding_not_zero: u64::from(padding),
        })
    }

    /// Adds the census of a part whose first block is `offset` blocks into the whole. Parts come in order.
    pub fn add(&mut self, part: &Self, offset: u64) {
        let sum = |into: &mut [u64], from: &[u64]| {
            for (into, from) in into.iter_mut().zip(from) {
                *into += from;
            }
        };
        sum(&mut self.codes, &part.codes);
        sum(&mut self.scales, &part.scales);
        self.zero_scale_with_codes += part.zero_scale_with_codes;
        self.zero_scale_zero_codes += part.zero_scale_zero_codes;
        self.padding_not_zero += part.padding_not_zero;
        let first = |into: &mut u64, from: u64| {
            if *into == NONE && from != NONE {
                *into = from + offset;
            }
        };
        first(&mut self.first_zero_scale_with_codes, part.first_zero_scale_with_codes);
        first(&mut self.first_bad_scale, part.first_bad_scale);
    }
}
