//! Whether a tile has the bytes its shape says, asked by every engine before it starts.

use crate::engine::{EngineError, FloatTile, FloatType, Fp8Tile, Nvfp4Tile};
use crate::nvfp4_quantize::Nvfp4Block;

pub(crate) fn expect(expected: Option<u64>, found: usize) -> Result<(), EngineError> {
    let expected = expected.unwrap_or(u64::MAX);
    let found = u64::try_from(found).unwrap_or(u64::MAX);
    if expected == found { Ok(()) } else { Err(EngineError::TileSize { expected, found }) }
}

pub(crate) fn product(factors: [u32; 3]) -> Option<u64> {
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
        expect(product([self.rows, self.row_blocks(block), block.elems() / 2]), codes.len())?;
        self.check_scales(block, scales)
    }

    /// Checks the tile and its block scales or the room for them.
    ///
    /// # Errors
    /// [`EngineError::TileSize`] if `bytes` is not as [`Self::check`] says, or `scales` not one byte a block.
    pub fn check_scales(&self, block: Nvfp4Block, scales: &[u8]) -> Result<(), EngineError> {
        self.check()?;
        expect(product([self.rows, self.row_blocks(block), 1]), scales.len())
    }
}

impl Nvfp4Tile<'_> {
    /// Checks the lengths of `codes` and `scales`.
    ///
    /// # Errors
    /// [`EngineError::TileSize`] if one is not as long as [`Nvfp4Tile`] says, or if `block` is no multiple of 8.
    pub fn check(&self) -> Result<(), EngineError> {
        let half = Some(self.block / 2).filter(|half| *half > 0 && self.block.is_multiple_of(8));
        expect(half.and_then(|half| product([self.rows, self.blocks, half])), self.codes.len())?;
        expect(product([self.rows, self.blocks, 1]), self.scales.len())
    }
}

impl Fp8Tile<'_> {
    /// Checks the length of `codes`, and that the scales reach as far as the elements.
    ///
    /// # Errors
    /// [`EngineError::TileSize`] if `codes` is not `rows * cols` long, or as [`ScaleGrid::check`] says.
    ///
    /// [`ScaleGrid::check`]: crate::ScaleGrid::check
    pub fn check(&self) -> Result<(), EngineError> {
        expect(product([self.rows, self.cols, 1]), self.codes.len())?;
        self.grid.check(self.rows, self.cols)
    }
}
