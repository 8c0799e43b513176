//! Packed FP4 tiles on which engines must find the same values.

use super::random::Random;
use super::{Outcome, compare};
use quantscope_kernels::{Engine, Fp4DecodeTable, Fp4Tile, Nibbles};
use quantscope_numeric::{e2m1, e4m3, e8m0};

/// Seeded tiles of awkward shapes with blocks of 16 and 32, both orders of nibbles, under tables of both kinds.
pub(crate) async fn agree(expected: &dyn Engine, found: &dyn Engine) -> Outcome {
    let shapes: [(u32, u32); 9] =
        [(0, 0), (0, 3), (2, 0), (1, 1), (3, 1), (1, 3), (7, 5), (65, 4), (129, 33)];
    let mut random = Random(14);
    let mut tiles = 0;
    for nibbles in [Nibbles::LowFirst, Nibbles::HighFirst] {
        let tables = [
            Fp4DecodeTable::e4m3(3.721e-5, nibbles),
            Fp4DecodeTable::e4m3(1.1e-41, nibbles),
            Fp4DecodeTable::e4m3(f32::INFINITY, nibbles),
            Fp4DecodeTable::e8m0(nibbles),
        ];
        for table in &tables {
            for block in [16, 32] {
                for (rows, blocks) in shapes {
                    let count = rows as usize * blocks as usize;
                    let (codes, scales) = (random.bytes(count * block as usize / 2), random.bytes(count));
                    let tile = Fp4Tile { codes: &codes, scales: &scales, rows, blocks, block };
                    agree_on(expected, found, tile, table).await?;
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
    tile: Fp4Tile<'_>,
    table: &Fp4DecodeTable,
) -> Result<(), String> {
    let what =
        format!("fp4_decode {}x{} blocks of {}, {:?}", tile.rows, tile.blocks, tile.block, table.nibbles());
    let mut results = Vec::new();
    for (engine, fill) in [(expected, 0xa5a5_a5a5), (found, 0x5a5a_5a5a)] {
        let mut values = vec![fill; tile.codes.len() * 2];
        engine.fp4_decode(tile, table, &mut values).await.map_err(|e| format!("{what}: {e}"))?;
        results.push(values);
    }
    compare::values(&what, &results[0], &results[1])
}

/// Every product of the tables: two roundings under NVFP4, a power of two under MXFP4, NaN as one pattern.
pub(crate) fn products_are_those_of_the_formula() {
    let expect = |table: &Fp4DecodeTable, what: &str, factor: &dyn Fn(u8) -> f32| {
        assert_eq!(table.words().len(), 4096);
        for (at, &found) in table.words().iter().enumerate() {
            let (byte, code) = (u8::try_from(at / 16).unwrap(), u8::try_from(at % 16).unwrap());
            let value = factor(byte) * e2m1::decode(code);
            let expected = if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() };
            assert_eq!(found, expected, "{what}: code {code} under scale {byte:#04x}");
        }
    };
    for ws2 in [3.721e-5, 1.0, 1.1e-41, 0.0, f32::MAX, f32::INFINITY, f32::NAN, -2.0] {
        let table = Fp4DecodeTable::e4m3(ws2, Nibbles::LowFirst);
        expect(&table, &format!("ws2 {ws2:e}"), &|byte| e4m3::decode(byte) * ws2);
    }
    let power = |byte: u8| if byte == 255 { f32::NAN } else { 2.0_f32.powi(i32::from(byte) - 127) };
    expect(&Fp4DecodeTable::e8m0(Nibbles::HighFirst), "e8m0", &power);
    assert_eq!(e8m0::decode(0), power(0));
}
