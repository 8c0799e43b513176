//! The CPU twin: a stretch of elements at a time, one step after another over the whole stretch.

use super::Fp8Rule;
use crate::engine::FloatTile;
use crate::scale_grid::ScaleGrid;
use crate::values;
use quantscope_numeric::e4m3;

/// Elements of a stretch.
const STRETCH: usize = 256;

/// Encodes the tile's elements from `first` on, as many as `codes` has room for. Tile and grid have been
/// checked.
pub(crate) fn encode(
    tile: &FloatTile<'_>,
    grid: ScaleGrid<'_>,
    rule: Fp8Rule,
    first: usize,
    codes: &mut [u8],
) {
    let width = tile.dtype.bytes();
    let mut source = tile.bytes.get(first * width..).unwrap_or_default();
    let mut codes = codes;
    for (length, scale) in grid.runs(tile.cols, first, codes.len()) {
        let (run, elements);
        (run, codes) = codes.split_at_mut(length);
        (elements, source) = source.split_at(length * width);
        let scale = f32::from_bits(scale);
        for (codes, bytes) in run.chunks_mut(STRETCH).zip(elements.chunks(STRETCH * width)) {
            let mut stretch = [0.0; STRETCH];
            let Some(stretch) = stretch.get_mut(..codes.len()) else { continue };
            values::widen(tile.dtype, bytes, stretch);
            values::cast(rule.cast, stretch);
            for value in stretch.iter_mut() {
                *value /= scale;
            }
            values::cast(rule.quotient.cast(), stretch);
            for (code, value) in codes.iter_mut().zip(stretch) {
                *code = code_of(*value);
            }
        }
    }
}

/// The E4M3 code of a number; of the two NaN codes always 0x7f.
#[inline(always)]
pub(crate) fn code_of(value: f32) -> u8 {
    if value.is_nan() { e4m3::NAN_BYTE } else { e4m3::encode(value) }
}
