//! The CPU twin.

use super::{Fp4DecodeTable, Fp4Tile, Nibbles};

/// Decodes the tile's blocks from `first_block` on: as many as `out` has room for. Tile and room have been
/// checked.
pub(crate) fn decode(tile: &Fp4Tile<'_>, table: &Fp4DecodeTable, first_block: usize, out: &mut [u32]) {
    let block = tile.block.max(8) as usize;
    let scales = tile.scales.get(first_block..).unwrap_or_default();
    let codes = tile.codes.get(first_block * block / 2..).unwrap_or_default().chunks(block / 2);
    for ((out, codes), &scale) in out.chunks_mut(block).zip(codes).zip(scales) {
        let values = table.values(scale);
        for ([even, odd], &byte) in out.as_chunks_mut::<2>().0.iter_mut().zip(codes) {
            let (low, high) = (values[usize::from(byte & 0xf)], values[usize::from(byte >> 4)]);
            (*even, *odd) = match table.nibbles() {
                Nibbles::LowFirst => (low, high),
                Nibbles::HighFirst => (high, low),
            };
        }
    }
}
