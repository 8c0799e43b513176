//! Tiles on which engines must write the same FP8 codes.

use super::random::{Random, SHAPES, TYPES, from_f32};
use super::{Outcome, compare};
use quantscope_kernels::nvfp4_quantize::CodeCast;
use quantscope_kernels::{Engine, FloatTile, Fp8Rule, QuotientRounding, ScaleGrid};
use quantscope_numeric::e4m3;

const CASTS: [CodeCast; 3] = [CodeCast::Keep, CodeCast::ToBf16, CodeCast::ToF16];
const QUOTIENTS: [QuotientRounding; 3] =
    [QuotientRounding::None, QuotientRounding::Bf16, QuotientRounding::F16];

/// Seeded tiles of all types, rules and shapes, under grids of several kinds whose scales fit the tile, are too
/// small or too large, and are not scales at all; then elements at the boundaries between codes.
pub(crate) async fn agree(expected: &dyn Engine, found: &dyn Engine) -> Outcome {
    let mut random = Random(11);
    let mut tiles = 0;
    for dtype in TYPES {
        for (i, (rows, cols)) in SHAPES.into_iter().enumerate() {
            let bytes = if i % 3 == 2 {
                random.bytes(rows as usize * cols as usize * dtype.bytes())
            } else {
                random.tile(dtype, rows, cols, 0.1)
            };
            let tile = FloatTile { dtype, bytes: &bytes, rows, cols };
            for (block_rows, block_cols) in [(u32::MAX, u32::MAX), (1, u32::MAX), (128, 128), (3, 5), (1, 32)]
            {
                let first_row = u32::try_from(random.below(3)).unwrap() * 65;
                let scale_cols = cols.div_ceil(block_cols).max(1);
                let scale_rows = (first_row + rows).div_ceil(block_rows).max(1);
                let scales: Vec<u32> =
                    (0..scale_rows * scale_cols).map(|_| random.scale(0.1 / 448.0)).collect();
                let grid = ScaleGrid { scales: &scales, block_rows, block_cols, scale_cols, first_row };
                let rule = Fp8Rule {
                    cast: CASTS[usize::try_from(random.below(3)).unwrap()],
                    quotient: QUOTIENTS[usize::try_from(random.below(3)).unwrap()],
                };
                agree_on(expected, found, tile, grid, rule).await?;
                tiles += 1;
            }
        }
        for cast in CASTS {
            for quotient in QUOTIENTS {
                for scale in [0.1_f32 / 448.0, 1.0, 1.0e-40, 3.0e30] {
                    let bytes: Vec<u8> = boundaries(scale).flat_map(|value| from_f32(dtype, value)).collect();
                    let cols = u32::try_from(bytes.len() / dtype.bytes()).unwrap();
                    let tile = FloatTile { dtype, bytes: &bytes, rows: 1, cols };
                    let rule = Fp8Rule { cast, quotient };
                    agree_on(expected, found, tile, ScaleGrid::one(&scale.to_bits()), rule).await?;
                    tiles += 1;
                }
            }
        }
    }
    Ok(tiles)
}

pub(crate) async fn agree_on(
    expected: &dyn Engine,
    found: &dyn Engine,
    tile: FloatTile<'_>,
    grid: ScaleGrid<'_>,
    rule: Fp8Rule,
) -> Result<(), String> {
    let what = format!(
        "fp8_encode {:?} {}x{} from row {}, blocks {}x{}, {rule:?}",
        tile.dtype, tile.rows, tile.cols, grid.first_row, grid.block_rows, grid.block_cols
    );
    let mut results = Vec::new();
    // Each result starts from other bytes, so that one left unwritten cannot agree.
    for (engine, fill) in [(expected, 0xa5), (found, 0x5a)] {
        let mut codes = vec![fill; tile.rows as usize * tile.cols as usize];
        engine.fp8_encode(tile, grid, rule, &mut codes).await.map_err(|e| format!("{what}: {e}"))?;
        results.push(codes);
    }
    compare::exact(&what, &results[0], &results[1])
}

/// Values at, just below and just above each code's value and each midpoint between codes, of both signs.
fn boundaries(scale: f32) -> impl Iterator<Item = f32> {
    (0..=0x7e_u8).flat_map(move |code| {
        let value = e4m3::decode(code);
        let above = if code == 0x7e { 480.0 } else { e4m3::decode(code + 1) };
        [value * scale, f32::midpoint(value, above) * scale]
            .into_iter()
            .flat_map(|v| [v, -v, v.next_up(), -v.next_up(), v.next_down(), -v.next_down()])
    })
}
