//! Rules of the order of bytes.

use super::Fixtures;
use crate::fixture::{Chance, Ckpt};

pub(super) fn rules() -> Fixtures {
    vec![
        ("LY601", scales(tiled(&rows_of_sizes())), scales(rows_of_sizes())),
        ("LY602", odd_rows(4), odd_rows(0)),
    ]
}

fn codes(count: usize) -> Vec<u8> {
    let mut chance = Chance::new(1);
    (0..count).map(|_| chance.byte()).collect()
}

/// Scales of 128 rows of 16 blocks; each row has a size of its own.
pub(crate) fn rows_of_sizes() -> Vec<u8> {
    let mut chance = Chance::new(2);
    let row =
        |size: u8, chance: &mut Chance| -> Vec<u8> { (0..16).map(|_| size + chance.byte() % 8).collect() };
    (0..128)
        .flat_map(|_| {
            let size = 0x30 + chance.byte() % 40;
            row(size, &mut chance)
        })
        .collect()
}

/// The same in tiles of 128 x 4, by the formula of the format: the place of each row and column.
pub(crate) fn tiled(linear: &[u8]) -> Vec<u8> {
    let mut out = vec![0; linear.len()];
    for r in 0..128 {
        for c in 0..16 {
            out[(c / 4) * 512 + (r % 32) * 16 + ((r % 128) / 32) * 4 + c % 4] = linear[r * 16 + c];
        }
    }
    out
}

pub(crate) fn scales(scales: Vec<u8>) -> Ckpt {
    Ckpt::new().nvfp4_of("blocks.proj", 256, codes(128 * 128), scales)
}

/// 64 rows of 81 weights, padded to 96. The last one is shifted into a half of its byte.
pub(crate) fn odd_rows(shift: u8) -> Ckpt {
    let mut bytes = codes(64 * 48);
    for row in bytes.chunks_mut(48) {
        row[40] = (row[40] & 0x7 | 1) << shift;
        row[41..].fill(0);
    }
    Ckpt::new().nvfp4_of("blocks.proj", 96, bytes, vec![0x38; 64 * 6])
}
