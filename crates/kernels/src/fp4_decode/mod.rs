//! Kernel `fp4_decode`: E2M1 codes under a scale byte a block to F32.
//!
//! ```text
//! w = f32(factor(scale byte) * value(code))
//! ```
//!
//! The factor is f32(dec(byte) * weight_scale_2) for NVFP4 (`formats.md` b), 2^(byte - 127) for MXFP4
//! (`formats.md` a and e).
//!
//! Exact: [`Fp4DecodeTable`] holds the sixteen products of each of the 256 scale bytes, so both twins only look
//! up. A product that is not a number has the bits 0x7fc00000.

pub(crate) mod cpu;
mod table;

pub use table::{Fp4DecodeTable, Nibbles};

use crate::engine::EngineError;
use crate::spec::{Binding, Exactness, KernelSpec, params};
use crate::tile::{expect, product};

/// A tile of packed FP4 codes with the scale bytes of its blocks.
#[derive(Debug, Clone, Copy)]
pub struct Fp4Tile<'a> {
    /// `rows * blocks * block / 2` bytes of codes.
    pub codes: &'a [u8],
    /// `rows * blocks` scale bytes.
    pub scales: &'a [u8],
    /// Number of rows.
    pub rows: u32,
    /// Blocks in a row of this tile.
    pub blocks: u32,
    /// Elements in a block: 16 or 32, or another multiple of 8.
    pub block: u32,
}

impl Fp4Tile<'_> {
    /// Checks the lengths of codes, scales and result.
    ///
    /// # Errors
    /// [`EngineError::TileSize`] if one is not what the shape says (`out` has an element for each code), or if
    /// `block` is no multiple of 8.
    pub fn check(&self, out: &[u32]) -> Result<(), EngineError> {
        self.check_bytes()?;
        expect(product([self.rows, self.blocks, self.block]), out.len())
    }

    /// Checks the lengths of codes and scales.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(crate) fn check_bytes(&self) -> Result<(), EngineError> {
        let half = Some(self.block / 2).filter(|half| *half > 0 && self.block.is_multiple_of(8));
        expect(half.and_then(|half| product([self.rows, self.blocks, half])), self.codes.len())?;
        expect(product([self.rows, self.blocks, 1]), self.scales.len())
    }
}

/// Elements an invocation of the shader decodes.
pub const ELEMENTS_PER_INVOCATION: u32 = 16;

params! {
    /// What the shader is told of a tile.
    pub struct Params {
        /// Elements in the tile.
        element_count,
        /// Elements in a block.
        block,
        /// 1 if the even column's code is in the high nibble, 0 if it is in the low one.
        high_first,
    }
}

/// The shader's description.
pub static SPEC: KernelSpec = KernelSpec {
    name: "fp4_decode",
    exactness: Exactness::Exact,
    shader: include_str!("shader.wgsl"),
    shared: &["invocation"],
    constants: &[("ELEMENTS_PER_INVOCATION", ELEMENTS_PER_INVOCATION)],
    workgroup_size: 64,
    params: Params::FIELDS,
    bindings: &[
        Binding::read("codes"),
        Binding::read("scales"),
        Binding::read("products"),
        Binding::write("values"),
    ],
};
