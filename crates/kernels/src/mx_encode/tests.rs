//! Tiles on which engines must write the same MX codes and scales.

use super::random::{Random, SHAPES, TYPES, from_f32};
use super::{Outcome, compare};
use quantscope_kernels::mx_encode::ScaleTable;
use quantscope_kernels::nvfp4_quantize::CodeCast;
use quantscope_kernels::{Engine, FloatTile, MxElement};
use quantscope_numeric::e8m0;

const CASTS: [CodeCast; 3] = [CodeCast::Keep, CodeCast::ToBf16, CodeCast::ToF16];
const ELEMENTS: [MxElement; 2] = [MxElement::E2m1, MxElement::E4m3];

/// Seeded tiles of all types, casts, element types and shapes, with ordinary and with any patterns; then blocks
/// around every threshold of the scale byte, and elements around the boundaries between codes.
pub(crate) async fn agree(expected: &dyn Engine, found: &dyn Engine) -> Outcome {
    let mut random = Random(13);
    let mut tiles = 0;
    for dtype in TYPES {
        for element in ELEMENTS {
            for (i, (rows, cols)) in SHAPES.into_iter().enumerate() {
                let bytes = if i % 3 == 2 {
                    random.bytes(rows as usize * cols as usize * dtype.bytes())
                } else {
                    random.tile(dtype, rows, cols, 0.1)
                };
                let tile = FloatTile { dtype, bytes: &bytes, rows, cols };
                for cast in CASTS {
                    agree_on(expected, found, tile, element, cast).await?;
                    tiles += 1;
                }
            }
            let bytes: Vec<u8> = blocks(element).flat_map(|value| from_f32(dtype, value)).collect();
            let rows = u32::try_from(bytes.len() / dtype.bytes() / 32).unwrap();
            let tile = FloatTile { dtype, bytes: &bytes, rows, cols: 32 };
            for cast in CASTS {
                agree_on(expected, found, tile, element, cast).await?;
                tiles += 1;
            }
        }
    }
    Ok(tiles)
}

pub(crate) async fn agree_on(
    expected: &dyn Engine,
    found: &dyn Engine,
    tile: FloatTile<'_>,
    element: MxElement,
    cast: CodeCast,
) -> Result<(), String> {
    let what = format!("mx_encode {element:?} {:?} {cast:?} {}x{}", tile.dtype, tile.rows, tile.cols);
    let blocks = tile.rows as usize * tile.cols.div_ceil(32) as usize;
    let mut results = Vec::new();
    for (engine, fill) in [(expected, 0xa5), (found, 0x5a)] {
        let mut codes = vec![fill; blocks * element.block_bytes() as usize];
        let mut scales = vec![fill; blocks];
        let written = engine.mx_encode(tile, element, cast, &mut codes, &mut scales).await;
        written.map_err(|e| format!("{what}: {e}"))?;
        results.push((codes, scales));
    }
    compare::exact(&format!("scales of {what}"), &results[0].1, &results[1].1)?;
    compare::exact(&format!("codes of {what}"), &results[0].0, &results[1].0)
}

/// For every scale byte some blocks whose largest magnitude lies about where the byte begins, filled up with
/// multiples of the block's scale around the boundaries between codes.
fn blocks(element: MxElement) -> impl Iterator<Item = f32> {
    let ratios =
        [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 0.5, 1.0, 6.0, 448.0, 464.0, 1.0 / 1024.0, 3.0 / 1024.0];
    ScaleTable::of(element).words().iter().take(254).zip(0_u8..).flat_map(move |(&last, byte)| {
        let scale = e8m0::decode(byte);
        [last, last.saturating_add(1).min(0x7f7f_ffff)].into_iter().flat_map(move |amax| {
            let largest = f32::from_bits(amax);
            let mut block = vec![largest];
            for ratio in ratios {
                let value = ratio * scale;
                block.extend([value, -value.next_up()].map(|v| if v.abs() > largest { 0.0 } else { v }));
            }
            block.resize(32, -0.0);
            block
        })
    })
}

/// Every threshold at its own edge: the last pattern with a byte and the first with the next, and between them
/// two million patterns, against the logarithm.
pub(crate) fn scale_bytes_are_those_of_the_formula() {
    for element in ELEMENTS {
        let table = ScaleTable::of(element);
        let byte = |bits: u32| e8m0::encode_quotient(f32::from_bits(bits) / element.max());
        for (&last, i) in table.words().iter().take(254).zip(0_u8..) {
            assert!(byte(last) <= i && byte(last + 1) > i, "{element:?}: byte {i} ends at {last:#x}");
            assert_eq!([table.scale_byte(last), table.scale_byte(last + 1)], [byte(last), byte(last + 1)]);
        }
        for bits in (0..=0x7f80_0000).step_by(0x3ff) {
            assert_eq!(table.scale_byte(bits), byte(bits), "{element:?} {bits:#x}");
        }
    }
}
