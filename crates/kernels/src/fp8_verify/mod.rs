//! Kernel `fp8_verify`: the census of an FP8 (E4M3) weight under its F32 scales.
//!
//! Counts codes, and elements that are not zero although their scale is; notes the first NaN. A scale is
//! zero when all bits but the sign are, an element when its byte is 0x00 or 0x80.
//!
//! Exact: bytes are compared and counted, nothing is computed with.

pub(crate) mod cpu;

use crate::engine::{Fp8Census, NONE};
use crate::spec::{Binding, Exactness, KernelSpec, first_of_rank, params};

/// Words of four codes an invocation of the shader reads.
pub const WORDS_PER_INVOCATION: u32 = 16;

/// Words of the shader's result.
pub const CENSUS_WORDS: u32 = 256 + 3;

params! {
    /// What the shader is told of a tile.
    pub struct Params {
        /// Elements in the tile.
        element_count,
        /// Elements in a row.
        cols,
        /// Index of the first row within the rows that the scales govern.
        first_row,
        /// Index of the first column within the columns that the scales govern.
        first_col,
        /// Rows that share a scale.
        block_rows,
        /// Columns that share a scale.
        block_cols,
        /// Scales in a row of the grid.
        scale_cols,
    }
}

/// The shader's description. `census` holds [`CENSUS_WORDS`] words, zero before the first dispatch.
pub static SPEC: KernelSpec = KernelSpec {
    name: "fp8_verify",
    exactness: Exactness::Exact,
    shader: include_str!("shader.wgsl"),
    shared: &["invocation", "census"],
    constants: &[
        ("WORDS_PER_INVOCATION", WORDS_PER_INVOCATION),
        ("NONZERO_UNDER_ZERO_SCALE_AT", 256),
        ("FIRST_NONZERO_UNDER_ZERO_SCALE_AT", 257),
        ("FIRST_NAN_AT", 258),
    ],
    workgroup_size: 64,
    params: Params::FIELDS,
    bindings: &[Binding::read("codes"), Binding::read("scales"), Binding::write("census")],
};

impl Fp8Census {
    /// Reads the shader's result; `None` if it does not have [`CENSUS_WORDS`] words.
    #[must_use]
    pub fn from_words(words: &[u32]) -> Option<Self> {
        let (codes, rest) = words.split_first_chunk::<256>()?;
        let &[nonzero, first_nonzero, first_nan] = rest else { return None };
        Some(Self {
            codes: codes.iter().map(|&n| u64::from(n)).collect(),
            nonzero_under_zero_scale: u64::from(nonzero),
            first_nonzero_under_zero_scale: first_of_rank(first_nonzero),
            first_nan: first_of_rank(first_nan),
        })
    }

    /// Adds the census of a part whose first element is `offset` elements into the whole. Parts come in
    /// order.
    pub fn add(&mut self, part: &Self, offset: u64) {
        for (into, from) in self.codes.iter_mut().zip(&part.codes) {
            *into += from;
        }
        self.nonzero_under_zero_scale += part.nonzero_under_zero_scale;
        let first = |into: &mut u64, from: u64| {
            if *into == NONE && from != NONE {
                *into = from + offset;
            }
        };
        first(&mut self.first_nonzero_under_zero_scale, part.first_nonzero_under_zero_scale);
        first(&mut self.first_nan, part.first_nan);
    }
}
