//! The CPU twin.

use crate::engine::Fp8Tile;
use crate::values;
use quantscope_numeric::e4m3;

/// Decodes the tile's elements from `first` on, as many as `out` has room for. The tile has been checked.
pub(crate) fn decode(tile: &Fp8Tile<'_>, first: usize, out: &mut [u32]) {
    let mut codes = tile.codes.get(first..).unwrap_or_default();
    let mut out = out;
    for (length, scale) in tile.grid.runs(tile.cols, first, out.len()) {
        let (run, run_codes);
        (run, out) = out.split_at_mut(length);
        (run_codes, codes) = codes.split_at(length);
        let scale = f32::from_bits(scale);
        for (value, &code) in run.iter_mut().zip(run_codes) {
            *value = values::bits(e4m3::decode(code) * scale);
        }
    }
}
