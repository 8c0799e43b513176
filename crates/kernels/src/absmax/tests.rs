//! Tiles on which engines must find the same largest magnitude.

use super::random::{Random, SHAPES};
use super::{Outcome, compare};
use quantscope_kernels::{Engine, FloatTile, FloatType};

/// Seeded tiles of all types and shapes; then single large, infinite and NaN elements at either end.
pub(crate) async fn agree(expected: &dyn Engine, found: &dyn Engine) -> Outcome {
    let mut random = Random(1);
    let mut tiles = 0;
    for dtype in [FloatType::F32, FloatType::Bf16, FloatType::F16] {
        for (rows, cols) in SHAPES {
            let bytes = random.tile(dtype, rows, cols, 0.1);
            let tile = FloatTile { dtype, bytes: &bytes, rows, cols };
            let what = format!("absmax {dtype:?} {rows}x{cols}");
            compare::results(&what, &expected.absmax(tile).await, &found.absmax(tile).await)?;
            tiles += 1;
        }
        // The last element of a row of odd length, and the first, hold the maximum.
        for at in [0, 1022] {
            let mut bytes = vec![0; 1023 * dtype.bytes()];
            bytes[(at + 1) * dtype.bytes() - 1] = 0xc1;
            let tile = FloatTile { dtype, bytes: &bytes, rows: 1, cols: 1023 };
            let what = format!("absmax {dtype:?}, alone at {at}");
            compare::results(&what, &expected.absmax(tile).await, &found.absmax(tile).await)?;
            tiles += 1;
        }
    }
    Ok(tiles)
}
