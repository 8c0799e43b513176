//! Packed tiles on which engines must take the same census.

use super::random::Random;
use super::{Outcome, compare};
use quantscope_kernels::{Engine, Nvfp4Tile};

/// Seeded tiles of awkward shapes with all kinds of scales, and padding in none, some and all columns.
pub(crate) async fn agree(expected: &dyn Engine, found: &dyn Engine) -> Outcome {
    let shapes: [(u32, u32); 14] = [
        (0, 0),
        (0, 3),
        (2, 0),
        (1, 1),
        (1, 2),
        (3, 1),
        (1, 3),
        (5, 4),
        (7, 5),
        (63, 4),
        (64, 4),
        (65, 4),
        (129, 33),
        (1, 5000),
    ];
    let mut random = Random(3);
    let mut tiles = 0;
    for block in [16, 32] {
        for (rows, blocks) in shapes {
            let count = rows as usize * blocks as usize;
            let mut codes = random.bytes(count * block as usize / 2);
            let mut scales = random.bytes(count);
            for (scale, codes) in scales.iter_mut().zip(codes.chunks_exact_mut(block as usize / 2)) {
                // Zero scales of both signs, over codes that are zeros of both signs and that are not.
                match random.below(8) {
                    0 => *scale &= 0x80,
                    1 => {
                        *scale &= 0x80;
                        codes.iter_mut().for_each(|byte| *byte &= 0x88);
                    }
                    // Healthy blocks, so that the first bad one is not always the first.
                    _ => *scale = (*scale & 0x7f).min(0x7e),
                }
            }
            if let Some(last) = scales.last_mut() {
                *last = 0xff;
            }
            for logical_cols in [blocks * block, (blocks * block).saturating_sub(1), blocks * 7, 0] {
                let tile = Nvfp4Tile { codes: &codes, scales: &scales, rows, blocks, block, logical_cols };
                let what = format!("nvfp4_verify {rows}x{blocks} blocks of {block}, {logical_cols} columns");
                compare::results(&what, &expected.nvfp4_verify(tile).await, &found.nvfp4_verify(tile).await)?;
                tiles += 1;
            }
        }
    }
    Ok(tiles)
}
