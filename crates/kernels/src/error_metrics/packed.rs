//! The errors of packed FP4, decoded block by block: the values never leave the processor's own cache.

use super::ErrorMetrics;
use super::cpu::{Any, Normal, RUN, Take, widen};
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
    let normal: Normal = run(Packed::<E, _> { source, packed, table, kinds: PhantomData });
    let any = || run(Packed::<E, Any> { source, packed, table, kinds: PhantomData }).finish();
    normal.finish().unwrap_or_else(any)
}

/// Whole rows of a checked tile and what they were packed to.
struct Packed<'a, E, T> {
    source: FloatTile<'a>,
    packed: Fp4Tile<'a>,
    table: &'a Fp4DecodeTable,
    kinds: PhantomData<(E, T)>,
}

impl<E: Element, T: Take> Stretch for Packed<'_, E, T> {
    type Output = T;

    #[inline(always)]
    fn run(self) -> T {
        let Self { source, packed, table, .. } = self;
        let (cols, block) = (source.cols.max(1) as usize, packed.block.max(8) as usize);
        let blocks = packed.blocks.max(1) as usize;
        let codes = packed.codes.chunks(blocks * block / 2);
        let rows = source.bytes.chunks(cols * E::BYTES).zip(codes).zip(packed.scales.chunks(blocks));
        let mut taken = T::default();
        for ((row, codes), scales) in rows {
            // Eights of a block, each of which has one scale.
            let mut products =
                scales.iter().flat_map(|&scale| std::iter::repeat_n(table.values(scale), block / 8));
            for (values, codes) in row.chunks(RUN * E::BYTES).zip(codes.chunks(RUN / 2)) {
                let (mut bits, mut decoded) = ([0; RUN], [0; RUN]);
                widen::<E>(values, &mut bits);
                let eights = codes.as_chunks::<4>().0.iter().zip(&mut products);
                for ((codes, products), decoded) in eights.zip(decoded.as_chunks_mut::<8>().0) {
                    decode(codes, products, table.nibbles(), decoded);
                }
                // Padding is left out.
                let there = values.len() / E::BYTES;
                decoded.iter_mut().skip(there).for_each(|padding| *padding = 0);
                taken.add(&bits, &decoded);
            }
        }
        taken
    }
}

/// The values of eight codes.
#[inline(always)]
fn decode(codes: &[u8; 4], products: &[u32; 16], nibbles: Nibbles, decoded: &mut [u32; 8]) {
    for ([even, odd], &byte) in decoded.as_chunks_mut::<2>().0.iter_mut().zip(codes) {
        let (low, high) = (products[usize::from(byte & 0xf)], products[usize::from(byte >> 4)]);
        (*even, *odd) = match nibbles {
            Nibbles::LowFirst => (low, high),
            Nibbles::HighFirst => (high, low),
        };
    }
}
