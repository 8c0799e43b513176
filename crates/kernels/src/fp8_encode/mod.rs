//! Kernel `fp8_encode`: plain floats to E4M3 codes under F32 scales.
//!
//! ```text
//! code = E4M3(round(f32(cast(w) / s)))      saturating; NaN gives 0x7f
//! ```
//!
//! `formats.md` a and e. The scales are taken from the source as it is, the codes from the source after the
//! export cast. Under one 0-d scale ModelOpt divides in the weight's own type, so there the quotient is
//! rounded to that type before E4M3; scales with a dimension divide in F32.
//!
//! Exact: the shader divides and rounds patterns of bits (`shared/softfloat.wgsl`), the twin has IEEE floats.
//! The sign of a NaN code, which depends on the processor in the reference, is always clear.

pub(crate) mod cpu;
#[cfg(all(target_arch = "x86_64", not(quantscope_narrow)))]
mod lookup;
mod staircase;

use crate::engine::{EngineError, FloatTile};
use crate::nvfp4_quantize::CodeCast;
use crate::scale_grid::ScaleGrid;
use crate::spec::{Binding, Exactness, KernelSpec, params};
use crate::tile::{expect, product};
use serde::{Deserialize, Serialize};

/// What the quotient of a weight and its scale is rounded to before it becomes a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum QuotientRounding {
    /// It stays an F32.
    None,
    /// BF16, as under one 0-d scale with a BF16 weight.
    Bf16,
    /// F16, as under one 0-d scale with an F16 weight.
    F16,
}

impl QuotientRounding {
    /// The same rounding as a cast.
    pub(crate) fn cast(self) -> CodeCast {
        match self {
            Self::None => CodeCast::Keep,
            Self::Bf16 => CodeCast::ToBf16,
            Self::F16 => CodeCast::ToF16,
        }
    }
}

/// How an element becomes an FP8 code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fp8Rule {
    /// The cast before the division.
    pub cast: CodeCast,
    /// The rounding after it.
    pub quotient: QuotientRounding,
}

/// Checks the tile, that the scales reach as far as it, and the room for its codes.
///
/// # Errors
/// [`EngineError::TileSize`] if one of them is not as long as [`crate::Engine::fp8_encode`] says.
pub fn check(tile: &FloatTile<'_>, grid: &ScaleGrid<'_>, codes: &[u8]) -> Result<(), EngineError> {
    tile.check()?;
    grid.check(tile.rows, tile.cols)?;
    expect(product([tile.rows, tile.cols, 1]), codes.len())
}

/// Words of four codes an invocation of the shader writes.
pub const WORDS_PER_INVOCATION: u32 = 4;

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
        /// The element type, see `FloatType::number`.
        dtype,
        /// The cast before the division, see `CodeCast::number`.
        code_cast,
        /// The rounding after it, as a cast.
        quotient,
    }
}

/// The shader's description.
pub static SPEC: KernelSpec = KernelSpec {
    name: "fp8_encode",
    exactness: Exactness::Exact,
    shader: include_str!("shader.wgsl"),
    shared: &["invocation", "softfloat", "source", "scale_grid"],
    constants: &[("WORDS_PER_INVOCATION", WORDS_PER_INVOCATION)],
    workgroup_size: 64,
    params: Params::FIELDS,
    bindings: &[Binding::read("source"), Binding::read("scales"), Binding::write("codes")],
};

impl Fp8Rule {
    /// The numbers of the cast and of the quotient's rounding for the shader.
    #[must_use]
    pub fn numbers(self) -> [u32; 2] {
        [self.cast.number(), self.quotient.cast().number()]
    }
}
