//! Kernel `block_absmax`: the largest magnitude of each block of a matrix: of each row (output channels),
//! of each group of a row, of each 128x128 tile; from which the scales of those blocks are made.
//!
//! Exact as kernel `absmax` is: patterns without their sign are compared, and only the results are widened
//! to F32, on the CPU.

pub(crate) mod cpu;

use crate::engine::{AbsMax, EngineError, FloatTile, FloatType};
use crate::spec::{Binding, Exactness, KernelSpec, params};
use serde::{Deserialize, Serialize};

/// Elements of a row that an invocation of the shader reads, at most.
pub const RUN: u32 = 64;

/// The extent of a block. `u32::MAX` means the whole extent of the tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockSize {
    /// Rows of a block. Not zero.
    pub rows: u32,
    /// Columns of a block. Not zero.
    pub cols: u32,
}

impl BlockSize {
    /// One row of the tile.
    pub const ROW: Self = Self { rows: 1, cols: u32::MAX };

    /// `cols` neighbours in a row.
    #[must_use]
    pub const fn group(cols: u32) -> Self {
        Self { rows: 1, cols }
    }

    /// Rows and columns of blocks in a matrix of this shape; those at the edges may be partial. 0 if a
    /// block has no extent.
    #[must_use]
    pub fn grid(self, rows: u32, cols: u32) -> [u32; 2] {
        let blocks = |of: u32, block: u32| match block {
            0 => 0,
            block => of.div_ceil(block),
        };
        [blocks(rows, self.rows), blocks(cols, self.cols)]
    }

    /// Checks the tile and the room for its maxima.
    ///
    /// # Errors
    /// [`EngineError::TileSize`] if the tile has not the bytes its shape says, or `out` is not as long as
    /// the grid of blocks has cells; expected are `u64::MAX` words if a block has no extent.
    pub fn check(self, tile: &FloatTile<'_>, out: &[u32]) -> Result<(), EngineError> {
        tile.check()?;
        let [rows, cols] = self.grid(tile.rows, tile.cols);
        let expected = match self {
            Self { rows: 0, .. } | Self { cols: 0, .. } => u64::MAX,
            _ => u64::from(rows) * u64::from(cols),
        };
        let found = u64::try_from(out.len()).unwrap_or(u64::MAX);
        if expected == found { Ok(()) } else { Err(EngineError::TileSize { expected, found }) }
    }
}

params! {
    /// What the shader is told of a tile, or of a part of one that begins within a block.
    pub struct Params {
        /// Number of rows.
        rows,
        /// Elements in a row.
        cols,
        /// Rows of a block.
        block_rows,
        /// Columns of a block.
        block_cols,
        /// Rows of the first block that lie before the part.
        first_row,
        /// Columns of the first block that lie before the part.
        first_col,
        /// Blocks across the part.
        col_blocks,
        /// 1 if two elements share a word, 0 if each has its own.
        narrow,
    }
}

impl Params {
    /// The parameters of a part of a tile: its shape, its place in the tile, the tile's blocks.
    #[must_use]
    pub fn new([rows, cols]: [u32; 2], [row, col]: [u32; 2], block: BlockSize, dtype: FloatType) -> Self {
        // A block need not be larger than what holds the part and what lies before it.
        let (first_row, first_col) = (row % block.rows.max(1), col % block.cols.max(1));
        let block_rows = block.rows.min(first_row.saturating_add(rows)).max(1);
        let block_cols = block.cols.min(first_col.saturating_add(cols)).max(1);
        Self {
            rows,
            cols,
            block_rows,
            block_cols,
            first_row,
            first_col,
            col_blocks: first_col.saturating_add(cols).div_ceil(block_cols),
            narrow: u32::from(dtype.bytes() == 2),
        }
    }

    /// Rows of blocks that the part touches.
    #[must_use]
    pub fn row_blocks(&self) -> u32 {
        self.first_row.saturating_add(self.rows).div_ceil(self.block_rows)
    }

    /// Runs of elements in the part: invocations of the shader.
    #[must_use]
    pub fn runs(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.cols.div_ceil(RUN))
    }
}

/// The shader's description. `maxima` holds the largest pattern of each block the part touches, row by row,
/// zero before the dispatch.
pub static SPEC: KernelSpec = KernelSpec {
    name: "block_absmax",
    exactness: Exactness::Exact,
    shader: include_str!("shader.wgsl"),
    shared: &["invocation", "element"],
    constants: &[("RUN", RUN)],
    workgroup_size: 64,
    params: Params::FIELDS,
    bindings: &[Binding::read("source"), Binding::write("maxima")],
};

/// The F32 magnitude of a pattern of the type `dtype`, both as bits.
#[must_use]
pub fn f32_bits(pattern: u32, dtype: FloatType) -> u32 {
    AbsMax::from_pattern(pattern, dtype).bits
}
