//! FP8 tiles on which engines must find the same values.

use super::random::{Random, SHAPES};
use super::{Outcome, compare};
use quantscope_kernels::{Engine, Fp8Tile, ScaleGrid};

/// Seeded tiles under grids of several kinds, then every code under scales of every kind.
pub(crate) async fn agree(expected: &dyn Engine, found: &dyn Engine) -> Outcome {
    let mut random = Random(12);
    let mut tiles = 0;
    for (rows, cols) in SHAPES {
        let codes = random.bytes(rows as usize * cols as usize);
        for (block_rows, block_cols) in [(u32::MAX, u32::MAX), (1, u32::MAX), (128, 128), (3, 5), (1, 32)] {
            let first_row = u32::try_from(random.below(3)).unwrap() * 65;
            let scale_cols = cols.div_ceil(block_cols).max(1);
            let scale_rows = (first_row + rows).div_ceil(block_rows).max(1);
            let scales: Vec<u32> = (0..scale_rows * scale_cols).map(|_| random.scale(1.0e-4)).collect();
            let grid = ScaleGrid { scales: &scales, block_rows, block_cols, scale_cols, first_row };
            agree_on(expected, found, Fp8Tile { codes: &codes, rows, cols, grid }).await?;
            tiles += 1;
        }
    }
    // A row of all codes under each of these: powers of two (as MXFP8 has), edges of the exponent, any pattern.
    let mut scales: Vec<u32> = (0..255).map(|e| e << 23).collect();
    scales.extend([
        1,
        2,
        3,
        0x007f_ffff,
        0x0080_0001,
        0x7f7f_ffff,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0001,
        0x8000_0000,
    ]);
    scales.extend((0..380).map(|_| random.scale(1.0e-38)));
    let codes: Vec<u8> = scales.iter().flat_map(|_| 0..=255).collect();
    let rows = u32::try_from(scales.len()).unwrap();
    agree_on(expected, found, Fp8Tile { codes: &codes, rows, cols: 256, grid: ScaleGrid::per_row(&scales) })
        .await?;
    Ok(tiles + 1)
}

pub(crate) async fn agree_on(
    expected: &dyn Engine,
    found: &dyn Engine,
    tile: Fp8Tile<'_>,
) -> Result<(), String> {
    let grid = tile.grid;
    let what = format!(
        "fp8_decode {}x{} from row {}, blocks {}x{}",
        tile.rows, tile.cols, grid.first_row, grid.block_rows, grid.block_cols
    );
    let mut results = Vec::new();
    for (engine, fill) in [(expected, 0xa5a5_a5a5), (found, 0x5a5a_5a5a)] {
        let mut values = vec![fill; tile.codes.len()];
        engine.fp8_decode(tile, &mut values).await.map_err(|e| format!("{what}: {e}"))?;
        results.push(values);
    }
    compare::values(&what, &results[0], &results[1])
}
