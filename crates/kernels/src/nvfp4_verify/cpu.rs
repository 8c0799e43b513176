//! The CPU twin.

use crate::engine::{NONE, Nvfp4Census, Nvfp4Tile};
use crate::histogram::Histogram;
use crate::nibbles;

/// Takes the census of `codes` and `scales`: the tile's blocks from `first_block` on. Block indices are
/// the tile's.
pub(crate) fn census(tile: &Nvfp4Tile<'_>, first_block: usize, codes: &[u8], scales: &[u8]) -> Nvfp4Census {
    let mut census = Nvfp4Census::default();
    let row_blocks = tile.blocks.max(1) as usize;
    let block = tile.block.max(8) as usize;
    let bytes = block / 2;
    let logical_cols = tile.logical_cols as usize;
    census.codes = nibbles::count(codes);
    let mut scale_bytes = Histogram::default();
    scale_bytes.count(scales);
    census.scales = scale_bytes.totals();
    let first = |slot: &mut u64, at: usize| {
        if *slot == NONE {
            *slot = at as u64;
        }
    };
    // Most tiles have no scale that is worth a look.
    let is_odd = |(byte, count): (usize, &u64)| *count > 0 && (byte == 0 || byte == 0x7f || byte >= 0x80);
    let looked_at = if census.scales.iter().enumerate().any(is_odd) { scales } else { &[] };
    for (i, &scale) in looked_at.iter().enumerate() {
        if scale & 0x7f == 0 {
            let block_codes = codes.get(bytes * i..bytes * (i + 1)).unwrap_or_default();
            if block_codes.iter().any(|byte| byte & 0x77 != 0) {
                census.zero_scale_with_codes += 1;
                first(&mut census.first_zero_scale_with_codes, first_block + i);
            } else {
                census.zero_scale_zero_codes += 1;
            }
        } else if scale > 0x80 || scale == 0x7f {
            first(&mut census.first_bad_scale, first_block + i);
        }
    }
    if logical_cols < row_blocks.saturating_mul(block) {
        for (i, block_codes) in codes.chunks_exact(bytes).enumerate() {
            let col = ((first_block + i) % row_blocks).saturating_mul(block);
            let logical = logical_cols.saturating_sub(col).min(block);
            for at in logical..block {
                let code = (block_codes[at / 2] >> (at % 2 * 4)) & 0x7;
                census.padding_not_zero += u64::from(code != 0);
            }
        }
    }
    census
}
