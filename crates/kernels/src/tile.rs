//! Whether a tile has the bytes its shape says, asked by every engine before it starts.

use crate::engine::{EngineError, FloatTile, FloatType, Fp8Tile, Nvfp4Tile};
use crate::nvfp4_quantize::Nvfp4Block;

fn expect(expected: Option<u64>, found: usize) -> Result<(), EngineError> {
    let expected = expected.unwrap_or(u64::MAX);
    let found = u64::try_from(found).unwrap_or(u64::MAX);
    if expected == found { Ok(()) } else { Err(EngineError::TileSize { expected, found }) }
}

fn product(factors: [u32; 3]) -> Option<u64> {
    factors.into_iter().try_fold(1_u64, |p, f| p.checked_mul(u64::from(f)))
}

impl FloatType {
    fn width(self) -> u32 {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }
}

impl FloatTile<'_> {
    /// Blocks in a row, the last one padded with zeros.
    #[must_use]
    pub fn row_blocks(&self, block: Nvfp4Block) -> u32 {
        self.cols.div_ceil(block.elems())
    }

    /// Checks the length of `bytes`.
    ///
    /// # Errors
    /// [`EngineError::TileSize`] if it is not `rows * cols * dtype.bytes()`.
    pub fn check(&self) -> Result<(), EngineError> {
        expect(product([self.rows, self.cols, self.dtype.width()]), self.bytes.len())
    }

    /// Checks the tile, its block scales, and its codes or the room for them.
    ///
    /// # Errors
    /// [`EngineError::TileSize`] if `bytes` is not as [`Self::check`] says, `codes` is not half a byte an
    /// element, padding included, or `scales` not one byte a block.
    pub fn check_nvfp4(&self, block: Nvfp4Block, codes: &[u8], scales: &[u8]) -> Result<(), EngineError> {
        self.check()?;
        let blocks = self.row_blocks(block);
        expect(product([self.rows, blocks, block.elems() / 2]), codes.len())?;
        expect(product([self.rows, blocks, 1]), scales.len())
    }
}

impl Nvfp4Tile<'_> {
    /// Checks the lengths of `codes` and `scales`.
    ///
    /// # Errors
    /// [`EngineError::TileSize`] if one is not as long as [`Nvfp4Tile`] says.
    pub fn check(&self) -> Result<(), EngineError> {
        expect(product([self.rows, self.blocks, 8]), self.codes.len())?;
        expect(product([self.rows, self.blocks, 1]), self.scales.len())
    }
}

impl Fp8Tile<'_> {
    /// Checks the length of `codes`, and that the scales reach as far as the elements.
    ///
    /// # Errors
    /// [`EngineError::TileSize`] if `codes` is not `rows * cols` long, if a group of rows or columns is
    /// empty, or if the last element's scale would lie beyond `scales`.
    pub fn check(&self) -> Result<(), EngineError> {
        expect(product([self.rows, self.cols, 1]), self.codes.len())?;
        if self.rows == 0 || self.cols == 0 {
            return Ok(());
        }
        let found = u64::try_from(self.scales.len()).unwrap_or(u64::MAX);
        let last_row = u64::from(self.first_row) + u64::from(self.rows) - 1;
        let last_col = u64::from(self.cols) - 1;
        let needed = last_row
            .checked_div(u64::from(self.block_rows))
            .zip(last_col.checked_div(u64::from(self.block_cols)))
            .filter(|(_, col)| *col < u64::from(self.scale_cols))
            .and_then(|(row, col)| row.checked_mul(u64::from(self.scale_cols))?.checked_add(col + 1))
            .unwrap_or(u64::MAX);
        if needed <= found { Ok(()) } else { Err(EngineError::TileSize { expected: needed, found }) }
    }
}
