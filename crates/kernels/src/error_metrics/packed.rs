//! The errors of packed FP4, decoded block by block: the values never leave the processor's own cache.

use super::ErrorMetrics;
use super::cpu::{RUN, Taken, widen};
use crate::element::{Bf16, Element, F16, F32};
use crate::engine::{EngineError, FloatTile, FloatType};
use crate::fp4_decode::{Fp4DecodeTable, Fp4Tile, Nibbles};
use crate::tile::{expect, product};
use crate::wide::{Stretch, run};
use std::marker::PhantomData;

/// Checks a tile and what it was packed to: as many rows, and blocks for all its columns.
///
/// # Errors
/// [`EngineError::TileSize`] if a buffer is not as long as its shape says, or the shapes do not fit.
pub(crate) fn check(source: &FloatTile<'_>, packed: &Fp4Tile<'_>) -> Result<(), EngineError> {
    source.check()?;
    packed.check_bytes()?;
    let rows = usize::try_from(packed.rows).unwrap_or(usize::MAX);
    expect(Some(u64::from(source.rows)), rows)?;
    let room = product([packed.blocks, packed.block, 1]);
    let cols = u64::from(source.cols);
    if room.is_some_and(|room| cols <= room) {
        return Ok(());
    }
    Err(EngineError::TileSize { expected: cols, found: room.unwrap_or(u64::MAX) })
}

/// The metrics of a checked tile.
pub(crate) fn metrics(source: FloatTile<'_>, packed: Fp4Tile<'_>, table: &Fp4DecodeTable) -> ErrorMetrics {
    match source.dtype {
        FloatType::F32 => metrics_of::<F32>(source, packed, table),
        FloatType::Bf16 => metrics_of::<Bf16>(source, packed, table),
        FloatType::F16 => metrics_of::<F16>(source, packed, table),
    }
}

fn metrics_of<E: Element>(
    source: FloatTile<'_>,
    packed: Fp4Tile<'_>,
    table: &Fp4DecodeTable,
) -> ErrorMetrics {
    run(Packed::<E> { source, packed, table, kind: PhantomData })
}

/// Elements of a row that are decoded at a time.
const PIECE: usize = 256;

/// Whole rows of a checked tile and what they were packed to.
struct Packed<'a, E> {
    source: FloatTile<'a>,
    packed: Fp4Tile<'a>,
    table: &'a Fp4DecodeTable,
    kind: PhantomData<E>,
}

impl<E: Element> Stretch for Packed<'_, E> {
    type Output = ErrorMetrics;

    #[inline(always)]
    fn run(self) -> ErrorMetrics {
        let Self { source, packed, table, .. } = self;
        let (cols, block) = (source.cols.max(1) as usize, packed.block.max(8) as usize);
        let blocks = packed.blocks.max(1) as usize;
        let codes = packed.codes.chunks(blocks * block / 2);
        let rows = source.bytes.chunks(cols * E::BYTES).zip(codes).zip(packed.scales.chunks(blocks));
        let mut taken = Taken::new(source.dtype);
        for ((row, codes), scales) in rows {
            // Eights of a block, each of which has one scale.
            let mut factors =
                scales.iter().flat_map(|&scale| std::iter::repeat_n(table.factor(scale), block / 8));
            for (values, codes) in row.chunks(PIECE * E::BYTES).zip(codes.chunks(PIECE / 2)) {
                let mut decoded = [[0; RUN]; PIECE / RUN];
                decode(codes, &mut factors, table.nibbles(), decoded.as_flattened_mut());
                // Padding is left out.
                let there = values.len() / E::BYTES;
                decoded.as_flattened_mut().iter_mut().skip(there).for_each(|padding| *padding = 0);
                for (values, decoded) in values.chunks(RUN * E::BYTES).zip(&decoded) {
                    let mut bits = [0; RUN];
                    widen::<E>(values, &mut bits);
                    taken.add(&bits, decoded);
                }
            }
        }
        taken.finish()
    }
}

/// The values of codes; `factors` has one for each eight of them. They are computed and not looked up, since vectors
/// are not made of single words as fast.
#[inline(always)]
fn decode(codes: &[u8], factors: &mut impl Iterator<Item = f32>, nibbles: Nibbles, values: &mut [u32]) {
    let mut apart = [0; PIECE];
    let swapped = match nibbles {
        Nibbles::LowFirst => 0,
        Nibbles::HighFirst => 4,
    };
    for ([even, odd], &byte) in apart.as_chunks_mut::<2>().0.iter_mut().zip(codes) {
        let byte = byte.rotate_left(swapped);
        (*even, *odd) = (byte & 0xf, byte >> 4);
    }
    for (value, &code) in values.iter_mut().zip(&apart) {
        *value = e2m1_value(u32::from(code)).to_bits();
    }
    for (values, factor) in
        values.as_chunks_mut::<8>().0.iter_mut().take(codes.len().div_ceil(4)).zip(factors)
    {
        *values = values.map(|value| (factor * f32::from_bits(value)).to_bits());
    }
}

/// The value of an E2M1 code. From 1.0 on its exponent and mantissa are those of the F32 but for the bias; the only
/// other one is 0.5. `e2m1::decode` is a table, and gives code 8 another sign; of a zero no magnitude of a difference
/// tells the sign.
#[inline(always)]
fn e2m1_value(code: u32) -> f32 {
    let magnitude = code & 7;
    let bits = if magnitude < 2 { magnitude * 0x3f00_0000 } else { (magnitude + (126 << 1)) << 22 };
    f32::from_bits(bits | ((code & 8) << 28))
}
