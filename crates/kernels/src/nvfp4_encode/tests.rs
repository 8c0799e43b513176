//! Tiles on which engines must write the same codes under given scales.

use super::nvfp4_quantize::tables;
use super::random::{Random, SHAPES};
use super::reference::{blocks_of, code};
use super::{Outcome, compare};
use quantscope_kernels::nvfp4_quantize::{CodeCast, Nvfp4Block, Nvfp4Table};
use quantscope_kernels::{Engine, FloatTile, FloatType};
use quantscope_numeric::e2m1;

/// Seeded tiles of all types, casts and shapes, each under a third of all kinds of tables, and scale bytes of
/// any value.
pub(crate) async fn agree(expected: &dyn Engine, found: &dyn Engine) -> Outcome {
    let mut random = Random(9);
    let mut tiles = 0;
    for (i, dtype) in [FloatType::F32, FloatType::Bf16, FloatType::F16].into_iter().enumerate() {
        for (j, cast) in [CodeCast::Keep, CodeCast::ToBf16, CodeCast::ToF16].into_iter().enumerate() {
            for (rows, cols) in SHAPES {
                let bytes = random.tile(dtype, rows, cols, 0.1);
                let tile = FloatTile { dtype, bytes: &bytes, rows, cols };
                for table in tables(cast).into_iter().skip(i + j).step_by(3) {
                    let blocks = rows as usize * tile.row_blocks(table.block()) as usize;
                    let scales = random.bytes(blocks);
                    agree_on(expected, found, tile, &table, &scales).await?;
                    tiles += 1;
                }
            }
        }
    }
    Ok(tiles)
}

async fn agree_on(
    expected: &dyn Engine,
    found: &dyn Engine,
    tile: FloatTile<'_>,
    table: &Nvfp4Table,
    scales: &[u8],
) -> Result<(), String> {
    let what = format!("{:?} {}x{} {:?} {:?}", tile.dtype, tile.rows, tile.cols, table.rule(), table.cast());
    let mut results = Vec::new();
    for (engine, fill) in [(expected, 0xa5), (found, 0x5a)] {
        let mut codes = vec![fill; scales.len() * table.block().elems() as usize / 2];
        engine.nvfp4_encode(tile, table, scales, &mut codes).await.map_err(|e| format!("{what}: {e}"))?;
        results.push(codes);
    }
    compare::codes(&what, &results[0], &results[1])
}

/// Every finite number of the narrow types, of either sign, under every scale byte: the engine's codes against those
/// by division.
pub(crate) async fn every_narrow_number_under_every_scale(engine: &dyn Engine) {
    for (dtype, infinity) in [(FloatType::Bf16, 0x7f80), (FloatType::F16, 0x7c00)] {
        let finite = |pattern: &u16| pattern & 0x7fff < infinity;
        let bytes: Vec<u8> = (0..=u16::MAX).filter(finite).flat_map(u16::to_le_bytes).collect();
        let cols = u32::try_from(bytes.len() / 2).unwrap();
        let tile = FloatTile { dtype, bytes: &bytes, rows: 1, cols };
        for (ws2, cast) in [(3.721e-5, CodeCast::Keep), (1.1e-41, CodeCast::Keep), (2.0e-6, CodeCast::ToF16)]
        {
            let table = Nvfp4Table::dynamic(ws2, Nvfp4Block::Of16, cast);
            for byte in 0..=0x7f_u8 {
                let scales = vec![byte; tile.row_blocks(table.block()) as usize];
                let [mut expected, mut found] = [0x5a, 0xa5].map(|fill| vec![fill; scales.len() * 8]);
                reference(&tile, &table, &scales, &mut expected);
                engine.nvfp4_encode(tile, &table, &scales, &mut found).await.unwrap();
                assert_eq!(
                    compare::codes(&format!("{dtype:?} under {byte:#04x}, ws2 {ws2:e}"), &expected, &found),
                    Ok(())
                );
            }
        }
    }
}

/// The codes by division (`formats.md` b).
pub(crate) fn reference(tile: &FloatTile<'_>, table: &Nvfp4Table, scales: &[u8], codes: &mut [u8]) {
    let blocks = blocks_of(tile, table.block());
    let code_bytes = table.block().elems() as usize / 2;
    for ((block, &scale), codes) in blocks.iter().zip(scales).zip(codes.chunks_mut(code_bytes)) {
        for (pair, byte) in block.chunks_exact(2).zip(codes) {
            let code = |weight: f32| code(weight, scale & 0x7f, table.ws2(), table.cast());
            *byte = e2m1::pack(code(pair[0]), code(pair[1]));
        }
    }
}
