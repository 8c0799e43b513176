//! Kernel `mx_encode`: plain floats to MXFP4 or MXFP8, blocks of 32 elements of a row under a power of two.
//!
//! ```text
//! d    = f32(max |w of the block| / largest element)        6 or 448
//! k    = ceil(f32(log2 d)), -127 if that is less             scale byte k + 127
//! code = element(f32(cast(w) * 2^-k))                        saturating
//! ```
//!
//! `formats.md` a and e; in ModelOpt `MXFP4QTensor` and `MXFP8QTensor`. The scale comes from the source as it
//! is, the codes from the source after the export cast. E2M1 rounds ties towards zero here and gives code 8 to
//! both zeros; E4M3 rounds ties to even.
//!
//! Exact: [`ScaleTable`] finds, on the CPU, the pattern at which each scale byte begins, so no logarithm is
//! taken here; the shader multiplies patterns of bits (`shared/softfloat.wgsl`), the twin has IEEE floats.
//! Elements must be finite, which [`crate::Engine::absmax`] tells; a NaN gives code 8 or 0x7f, and its block
//! the scale byte 254, as an infinity does.

pub(crate) mod cpu;
mod table;

pub use table::ScaleTable;

use crate::engine::{EngineError, FloatTile};
use crate::spec::{Binding, Exactness, KernelSpec, params};
use crate::tile::{expect, product};
use serde::{Deserialize, Serialize};

/// Elements that share a scale.
pub const BLOCK: u32 = 32;

/// The element type of an MX format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MxElement {
    /// MXFP4: two codes to a byte, the even column in the low nibble.
    E2m1,
    /// MXFP8: a code to a byte.
    E4m3,
}

impl MxElement {
    /// The largest value.
    #[must_use]
    pub const fn max(self) -> f32 {
        match self {
            Self::E2m1 => 6.0,
            Self::E4m3 => 448.0,
        }
    }

    /// Bytes of a block's codes.
    #[must_use]
    pub const fn block_bytes(self) -> u32 {
        match self {
            Self::E2m1 => BLOCK / 2,
            Self::E4m3 => BLOCK,
        }
    }

    /// Checks the room for the codes and scale bytes of `tile`.
    ///
    /// # Errors
    /// [`EngineError::TileSize`] if `codes` or `scales` is not as long as [`crate::Engine::mx_encode`] says.
    pub fn check(self, tile: &FloatTile<'_>, codes: &[u8], scales: &[u8]) -> Result<(), EngineError> {
        let blocks = tile.cols.div_ceil(BLOCK);
        expect(product([tile.rows, blocks, self.block_bytes()]), codes.len())?;
        expect(product([tile.rows, blocks, 1]), scales.len())
    }
}

params! {
    /// What the shader is told of a tile.
    pub struct Params {
        /// Elements in a row.
        cols,
        /// Blocks in a row.
        row_blocks,
        /// Blocks in the tile.
        block_count,
        /// The element type, see `FloatType::number`.
        dtype,
        /// The cast before the codes, see `CodeCast::number`.
        code_cast,
        /// 1 if the codes are E4M3, 0 if they are E2M1.
        wide,
    }
}

/// The shader's description. An invocation encodes a block; `scales` is zero before the first dispatch, four
/// blocks putting their bytes into a word.
pub static SPEC: KernelSpec = KernelSpec {
    name: "mx_encode",
    exactness: Exactness::Exact,
    shader: include_str!("shader.wgsl"),
    shared: &["invocation", "softfloat", "source"],
    constants: &[("BLOCK", BLOCK)],
    workgroup_size: 64,
    params: Params::FIELDS,
    bindings: &[
        Binding::read("source"),
        Binding::read("scale_last"),
        Binding::write("codes"),
        Binding::write("scales"),
    ],
};
