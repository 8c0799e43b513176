//! Tiles on which engines must find the same maxima of blocks.

use super::random::{Random, SHAPES};
use super::reference::values;
use super::{Outcome, compare};
use quantscope_kernels::block_absmax::BlockSize;
use quantscope_kernels::{Engine, FloatTile, FloatType};

/// Rows, groups, tiles, columns, everything; and blocks larger than some of the shapes.
const BLOCKS: [BlockSize; 9] = [
    BlockSize::ROW,
    BlockSize::group(16),
    BlockSize::group(32),
    BlockSize::group(128),
    BlockSize { rows: 128, cols: 128 },
    BlockSize { rows: 2, cols: 3 },
    BlockSize { rows: 1, cols: 1 },
    BlockSize { rows: u32::MAX, cols: 1 },
    BlockSize { rows: u32::MAX, cols: u32::MAX },
];

/// Seeded tiles of all types and shapes under all blocks; then one infinite and one NaN element.
pub(crate) async fn agree(expected: &dyn Engine, found: &dyn Engine) -> Outcome {
    let mut random = Random(8);
    let mut tiles = 0;
    for dtype in [FloatType::F32, FloatType::Bf16, FloatType::F16] {
        for (rows, cols) in SHAPES {
            let bytes = random.tile(dtype, rows, cols, 0.1);
            let tile = FloatTile { dtype, bytes: &bytes, rows, cols };
            for block in BLOCKS {
                agree_on(expected, found, tile, block).await?;
                tiles += 1;
            }
        }
        // Patterns beyond the finite ones come out as they went in.
        let mut bytes = vec![0; 64 * dtype.bytes()];
        bytes[17 * dtype.bytes() - 1] = 0xff;
        bytes[17 * dtype.bytes() - 2] = 0xc0;
        bytes[40 * dtype.bytes() - 1] = 0x7f;
        let tile = FloatTile { dtype, bytes: &bytes, rows: 2, cols: 32 };
        agree_on(expected, found, tile, BlockSize::group(16)).await?;
        tiles += 1;
    }
    Ok(tiles)
}

async fn agree_on(
    expected: &dyn Engine,
    found: &dyn Engine,
    tile: FloatTile<'_>,
    block: BlockSize,
) -> Result<(), String> {
    let [rows, cols] = block.grid(tile.rows, tile.cols);
    let count = rows as usize * cols as usize;
    let what = format!("block_absmax {:?} {}x{} {block:?}", tile.dtype, tile.rows, tile.cols);
    let mut results = Vec::new();
    // Each result starts from other words, so that one left unwritten cannot agree.
    for (engine, fill) in [(expected, 0xa5), (found, 0x5a)] {
        let mut maxima = vec![fill; count];
        engine.block_absmax(tile, block, &mut maxima).await.map_err(|e| format!("{what}: {e}"))?;
        results.push(maxima);
    }
    compare::words(&what, &results[0], &results[1])
}

/// The maxima by their definition: the largest magnitude of the elements whose row and column lie in the
/// block.
pub(crate) fn reference(tile: &FloatTile<'_>, block: BlockSize, out: &mut [u32]) {
    let values = values(tile);
    let [_, col_blocks] = block.grid(tile.rows, tile.cols);
    out.fill(0);
    for (i, value) in (0_u32..).zip(values) {
        let (row, col) = (i / tile.cols, i % tile.cols);
        let at = (row / block.rows * col_blocks + col / block.cols) as usize;
        out[at] = out[at].max(value.to_bits() & 0x7fff_ffff);
    }
}
