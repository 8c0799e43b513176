//! Kernel `fp8_decode`: E4M3 codes under F32 scales to F32.
//!
//! ```text
//! w = f32(dec(code) * s)
//! ```
//!
//! `formats.md` a and e. It serves MXFP8 too, with the E8M0 scales widened to F32 and 32 columns to a scale.
//!
//! Exact: the shader multiplies patterns of bits (`shared/softfloat.wgsl`), the twin has IEEE floats. A result
//! that is not a number has the bits 0x7fc00000.

pub(crate) mod cpu;

use crate::engine::{EngineError, Fp8Tile};
use crate::spec::{Binding, Exactness, KernelSpec, params};
use crate::tile::{expect, product};

/// Checks the tile and the room for its values.
///
/// # Errors
/// [`EngineError::TileSize`] if one of them is not as long as [`crate::Engine::fp8_decode`] says.
pub fn check(tile: &Fp8Tile<'_>, out: &[u32]) -> Result<(), EngineError> {
    tile.check()?;
    expect(product([tile.rows, tile.cols, 1]), out.len())
}

/// Elements an invocation of the shader decodes.
pub const ELEMENTS_PER_INVOCATION: u32 = 16;

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

/// The shader's description.
pub static SPEC: KernelSpec = KernelSpec {
    name: "fp8_decode",
    exactness: Exactness::Exact,
    shader: include_str!("shader.wgsl"),
    shared: &["invocation", "softfloat", "scale_grid"],
    constants: &[("ELEMENTS_PER_INVOCATION", ELEMENTS_PER_INVOCATION)],
    workgroup_size: 64,
    params: Params::FIELDS,
    bindings: &[Binding::read("codes"), Binding::read("scales"), Binding::write("values")],
};
