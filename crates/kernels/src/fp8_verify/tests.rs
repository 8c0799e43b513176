//! FP8 tiles on which engines must take the same census.

use super::random::Random;
use super::{Outcome, compare};
use quantscope_kernels::{Engine, Fp8Tile, ScaleGrid};

/// Seeded tiles under one scale, a scale per row, and blocks of several sizes; some scales are zero.
pub(crate) async fn agree(expected: &dyn Engine, found: &dyn Engine) -> Outcome {
    let shapes: [(u32, u32); 12] = [
        (0, 0),
        (0, 4),
        (3, 0),
        (1, 1),
        (1, 3),
        (2, 2),
        (1, 5),
        (3, 127),
        (128, 128),
        (129, 129),
        (130, 260),
        (1, 4097),
    ];
    let mut random = Random(4);
    let mut tiles = 0;
    for (rows, cols) in shapes {
        for (block_rows, block_cols) in [(u32::MAX, u32::MAX), (1, u32::MAX), (128, 128), (3, 5)] {
            for first_row in [0_u32, 1, 130] {
                let scale_cols = cols.div_ceil(block_cols).max(1);
                let scale_rows = (first_row + rows).div_ceil(block_rows).max(1);
                let scales: Vec<u32> = (0..scale_rows * scale_cols)
                    .map(|_| {
                        [0x3f80_0000, 1, 0x8000_0000, 0, 0x3f80_0000]
                            [usize::try_from(random.below(5)).unwrap()]
                    })
                    .collect();
                let mut codes = random.bytes(rows as usize * cols as usize);
                // Zeros of both signs in front, so that the first finding is not the first element.
                for code in codes.iter_mut().take(40) {
                    *code &= 0x80;
                }
                let tile = Fp8Tile {
                    codes: &codes,
                    rows,
                    cols,
                    grid: ScaleGrid { scales: &scales, block_rows, block_cols, scale_cols, first_row },
                };
                let what = format!(
                    "fp8_verify {rows}x{cols} from row {first_row}, blocks {block_rows}x{block_cols}"
                );
                compare::results(&what, &expected.fp8_verify(tile).await, &found.fp8_verify(tile).await)?;
                tiles += 1;
            }
        }
    }
    Ok(tiles)
}
