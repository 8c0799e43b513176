//! Tiles on which engines must write the same codes and scales.

use super::random::{Random, SHAPES};
use super::reference::{code, scale_byte};
use super::{Outcome, compare};
use quantscope_kernels::nvfp4_quantize::{CodeCast, Nvfp4Block, Nvfp4Table, ScaleRange};
use quantscope_kernels::{Engine, FloatTile, FloatType, Nvfp4Out};
use quantscope_numeric::{e2m1, e4m3, f32_bits_from_bf16, f32_bits_from_f16};

const TYPES: [FloatType; 3] = [FloatType::F32, FloatType::Bf16, FloatType::F16];
const CASTS: [CodeCast; 3] = [CodeCast::Keep, CodeCast::ToBf16, CodeCast::ToF16];

/// Tables of both rules and both block sizes whose second scales fit a tile of elements around 0.1, are tiny,
/// and are zero.
pub(crate) fn tables(cast: CodeCast) -> Vec<Nvfp4Table> {
    let mut tables = Vec::new();
    for amax in [0.1, 1.0e-39, 0.0] {
        tables.push(Nvfp4Table::dynamic(amax / 2688.0, Nvfp4Block::Of16, cast));
        tables.push(Nvfp4Table::dynamic(amax / 448.0, Nvfp4Block::Of32, cast));
        tables.push(Nvfp4Table::fixed(amax, ScaleRange::Full, cast));
    }
    tables.push(Nvfp4Table::fixed(0.1, ScaleRange::FourOverSix, cast));
    tables
}

/// Seeded tiles of all types, casts and shapes, each under half of all kinds of tables.
pub(crate) async fn agree(expected: &dyn Engine, found: &dyn Engine) -> Outcome {
    let mut random = Random(2);
    let mut tiles = 0;
    for dtype in TYPES {
        for cast in CASTS {
            let tables = tables(cast);
            for (i, (rows, cols)) in SHAPES.into_iter().enumerate() {
                let bytes = random.tile(dtype, rows, cols, 0.1);
                let tile = FloatTile { dtype, bytes: &bytes, rows, cols };
                for table in tables.iter().skip(i % 2).step_by(2) {
                    let what = format!("{dtype:?} {cast:?} {rows}x{cols} {:?}", table.rule());
                    agree_on(&what, expected, found, tile, table).await?;
                    tiles += 1;
                }
            }
            let bytes = boundaries(dtype);
            let cols = u32::try_from(bytes.len() / dtype.bytes() / 126).unwrap();
            let tile = FloatTile { dtype, bytes: &bytes, rows: 126, cols };
            let what = format!("{dtype:?} {cast:?} boundaries");
            agree_on(&what, expected, found, tile, &dynamic(BOUNDARY_WS2, cast)).await?;
            tiles += 1;
        }
    }
    Ok(tiles)
}

async fn agree_on(
    what: &str,
    expected: &dyn Engine,
    found: &dyn Engine,
    tile: FloatTile<'_>,
    table: &Nvfp4Table,
) -> Result<(), String> {
    let blocks = tile.rows as usize * tile.row_blocks(table.block()) as usize;
    let code_bytes = table.block().elems() as usize / 2;
    let mut results = Vec::new();
    // Each result starts from other bytes, so that one left unwritten cannot agree.
    for (engine, fill) in [(expected, 0xa5), (found, 0x5a)] {
        let (mut codes, mut scales) = (vec![fill; code_bytes * blocks], vec![fill; blocks]);
        let out = Nvfp4Out { codes: &mut codes, scales: &mut scales };
        engine.nvfp4_quantize(tile, table, out).await.map_err(|e| format!("{what}: {e}"))?;
        results.push((codes, scales));
    }
    compare::scales(&format!("scales of {what}"), &results[0].1, &results[1].1)?;
    compare::codes(&format!("codes of {what}"), &results[0].0, &results[1].0)
}

fn dynamic(ws2: f32, cast: CodeCast) -> Nvfp4Table {
    Nvfp4Table::dynamic(ws2, Nvfp4Block::Of16, cast)
}

const BOUNDARY_WS2: f32 = 3.721e-5;

/// For every scale byte a row of four blocks: an element that makes the scale, then values at, just below
/// and just above each boundary between codes, of both signs.
fn boundaries(dtype: FloatType) -> Vec<u8> {
    let mut bytes = Vec::new();
    for byte in 1..=0x7e {
        let divisor = e4m3::decode(byte) * BOUNDARY_WS2;
        let mut values = Vec::new();
        for (low, high) in e2m1::MAGNITUDES.iter().zip(&e2m1::MAGNITUDES[1..]) {
            let middle = f32::midpoint(*low, *high) * divisor;
            values.extend([
                middle,
                -middle,
                middle.next_down(),
                -middle.next_down(),
                middle.next_up(),
                -middle.next_up(),
            ]);
        }
        values.extend([0.0, -0.0, f32::from_bits(1)]);
        for block in values.chunks(15) {
            let mut block = block.to_vec();
            block.resize(15, 0.0);
            block.insert(0, 6.0 * divisor);
            for value in block {
                match dtype {
                    FloatType::F32 => bytes.extend(value.to_le_bytes()),
                    FloatType::Bf16 => bytes.extend(quantscope_numeric::bf16::from_f32(value).to_le_bytes()),
                    FloatType::F16 => bytes.extend(quantscope_numeric::f16::from_f32(value).to_le_bytes()),
                }
            }
        }
    }
    bytes
}

/// Every finite pattern of the narrow types under every scale byte: its code by the thresholds against its
/// code by division.
pub(crate) fn narrow_codes_are_those_of_the_formula() {
    type Widen = fn(u16) -> u32;
    let types: [(FloatType, Widen, u16); 2] =
        [(FloatType::Bf16, f32_bits_from_bf16, 0x7f7f), (FloatType::F16, f32_bits_from_f16, 0x7bff)];
    for (dtype, widen, largest) in types {
        for (ws2, cast) in [(3.721e-5, CodeCast::Keep), (1.1e-41, CodeCast::Keep), (2.0e-6, CodeCast::ToF16)]
        {
            let table = dynamic(ws2, cast);
            let words = table.code_words(dtype);
            for byte in 1..=0x7e_u8 {
                let last = &words[8 * usize::from(byte)..][..8];
                for pattern in 0..=largest {
                    let exceeds = |last: i32| u8::from(i32::from(pattern) > last);
                    let magnitude: u8 = last[..7].iter().map(|&last| exceeds(last)).sum();
                    let value = f32::from_bits(widen(pattern));
                    let found = [magnitude, magnitude | (exceeds(last[7]) << 3)];
                    let expected = [code(value, byte, ws2, cast), code(-value, byte, ws2, cast)];
                    assert_eq!(found, expected, "{dtype:?} {pattern:#06x} under {byte:#04x}, ws2 {ws2:e}");
                }
            }
        }
    }
}

/// The thresholds of F32 at their own edges: the last pattern below and the first above, for every scale
/// byte and code.
pub(crate) fn wide_thresholds_are_those_of_the_formula() {
    let mut edges = 0_u32;
    for ws2 in [3.721e-5, 0.8, 1.0e-30, 1.1e-41, 1.0e-45, f32::MAX / 2688.0] {
        for cast in CASTS {
            let table = dynamic(ws2, cast);
            let words = table.code_words(FloatType::F32);
            for byte in 1..=0x7e_u8 {
                for (m, &last) in words[8 * usize::from(byte)..][..8].iter().enumerate() {
                    let exceeds = |pattern: i32| {
                        let value = f32::from_bits(pattern.cast_unsigned());
                        if m < 7 {
                            usize::from(code(value, byte, ws2, cast)) > m
                        } else {
                            code(-value, byte, ws2, cast) & 8 != 0
                        }
                    };
                    assert!(last < 0 || last == i32::MAX || !exceeds(last), "{byte:#04x} {m} {last:#x}");
                    assert!(last >= 0x7f7f_ffff || exceeds(last + 1), "{byte:#04x} {m} {last:#x}");
                    edges += 1;
                }
            }
        }
    }
    assert!(edges > 18_000, "{edges}");
}

/// The scale byte of every BF16 magnitude, of two million F32 ones, and at the edges of each byte.
pub(crate) fn scale_bytes_are_those_of_the_formula() {
    let mut tables = tables(CodeCast::Keep);
    for ws2 in [3.721e-5, 1.0e-30, 1.1e-41, 1.0e-45, 0.0, f32::MAX / 2688.0] {
        tables.push(dynamic(ws2, CodeCast::Keep));
    }
    // A zero block's byte is below 448 from a maximum of 2688 on; others are at the ends of F32.
    for global in [1.0e-45, 2.0e-41, 0.1748, 3.0e3, 4.0e5, f32::MAX] {
        for range in [ScaleRange::Full, ScaleRange::FourOverSix] {
            tables.push(Nvfp4Table::fixed(global, range, CodeCast::Keep));
        }
    }
    for table in tables {
        let edges =
            table.scale_words(FloatType::F32).into_iter().flat_map(|last| [last, last.saturating_add(1)]);
        let edges = edges.map(i32::cast_unsigned).filter(|bits| *bits < 0x7f80_0000);
        for bits in (0..0x7f80_0000).step_by(0x1001).chain(edges) {
            let expected = scale_byte(f32::from_bits(bits), table.rule());
            assert_eq!(table.scale_byte(bits), expected, "{bits:#x}, {:?}", table.rule());
        }
    }
}
