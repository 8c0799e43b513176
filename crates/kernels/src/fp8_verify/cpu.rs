//! The CPU twin.

use crate::engine::{Fp8Census, Fp8Tile, NONE};
use crate::histogram::Histogram;

/// Takes the census of `codes`: whole rows of the tile from `first_row` on. Element indices are those of
/// the rows given.
pub(crate) fn census(tile: &Fp8Tile<'_>, first_row: usize, codes: &[u8]) -> Fp8Census {
    let mut histogram = Histogram::default();
    histogram.count(codes);
    let mut census = Fp8Census { codes: histogram.totals(), ..Fp8Census::default() };
    if census.codes[0x7f] + census.codes[0xff] > 0 {
        census.first_nan = position(codes, |code| code & 0x7f == 0x7f);
    }
    let cols = tile.cols.max(1) as usize;
    let grid = tile.grid;
    let block_cols = grid.block_cols.max(1) as usize;
    for (row, row_codes) in codes.chunks_exact(cols).enumerate() {
        let scale_row = (grid.first_row as usize + first_row + row) / grid.block_rows.max(1) as usize;
        let scales = grid.scales.get(scale_row * grid.scale_cols as usize..).unwrap_or_default();
        for (group, (group_codes, scale)) in row_codes.chunks(block_cols).zip(scales).enumerate() {
            if scale & 0x7fff_ffff != 0 {
                continue;
            }
            let nonzero = group_codes.iter().filter(|&code| code & 0x7f != 0).count() as u64;
            if nonzero > 0 && census.first_nonzero_under_zero_scale == NONE {
                let before = (row * cols + group * block_cols) as u64;
                census.first_nonzero_under_zero_scale =
                    before + position(group_codes, |code| code & 0x7f != 0);
            }
            census.nonzero_under_zero_scale += nonzero;
        }
    }
    census
}

fn position(codes: &[u8], wanted: impl Fn(u8) -> bool) -> u64 {
    codes.iter().position(|&code| wanted(code)).map_or(NONE, |at| at as u64)
}
