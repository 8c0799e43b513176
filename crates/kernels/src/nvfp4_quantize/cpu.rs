//! The CPU twin: a block at a time, the same comparisons as the shader.

use super::{BLOCK, Nvfp4Table};
use crate::element::{Bf16, Element, F16, F32};
use crate::engine::{FloatTile, FloatType};

const BLOCK_ELEMS: usize = BLOCK as usize;

/// Quantizes the tile's blocks from `first_block` on: as many as `scales` has room for. `codes` has eight
/// bytes a block. Tile and room have been checked.
pub(crate) fn quantize(
    tile: &FloatTile<'_>,
    table: &Nvfp4Table,
    first_block: usize,
    codes: &mut [u8],
    scales: &mut [u8],
) {
    match tile.dtype {
        FloatType::F32 => quantize_elements::<F32>(tile, table, first_block, codes, scales),
        FloatType::Bf16 => quantize_elements::<Bf16>(tile, table, first_block, codes, scales),
        FloatType::F16 => quantize_elements::<F16>(tile, table, first_block, codes, scales),
    }
}

fn quantize_elements<E: Element>(
    tile: &FloatTile<'_>,
    table: &Nvfp4Table,
    first_block: usize,
    codes: &mut [u8],
    scales: &mut [u8],
) {
    let code_last = E::code_last(table);
    let row_bytes = tile.cols as usize * E::BYTES;
    let row_blocks = tile.row_blocks().max(1) as usize;
    let (mut row, mut block) = (first_block / row_blocks, first_block % row_blocks);
    for (codes, scale) in codes.as_chunks_mut::<8>().0.iter_mut().zip(scales) {
        let begin = block * BLOCK_ELEMS * E::BYTES;
        let end = row_bytes.min(begin + BLOCK_ELEMS * E::BYTES);
        let source = tile.bytes.get(row * row_bytes + begin..row * row_bytes + end).unwrap_or_default();
        *scale = if source.len() == BLOCK_ELEMS * E::BYTES {
            quantize_block::<E>(source, table, code_last, codes)
        } else {
            let mut padded = [0; BLOCK_ELEMS * 4];
            padded[..source.len()].copy_from_slice(source);
            quantize_block::<E>(&padded[..BLOCK_ELEMS * E::BYTES], table, code_last, codes)
        };
        block += 1;
        if block == row_blocks {
            (row, block) = (row + 1, 0);
        }
    }
}

/// Quantizes one whole block; gives its scale byte.
#[inline(always)]
fn quantize_block<E: Element>(
    source: &[u8],
    table: &Nvfp4Table,
    code_last: &[[E::Pattern; 8]],
    codes: &mut [u8; 8],
) -> u8 {
    let mut magnitudes = [E::Pattern::default(); BLOCK_ELEMS];
    let mut negative = [false; BLOCK_ELEMS];
    let elements = source.chunks_exact(E::BYTES);
    for ((magnitude, negative), element) in magnitudes.iter_mut().zip(&mut negative).zip(elements) {
        (*magnitude, *negative) = E::split(element);
    }
    let amax = magnitudes.iter().fold(E::Pattern::default(), |a, &m| a.max(m));
    let scale = table.scale_byte(E::f32_bits(amax));
    let Some(last) = code_last.get(usize::from(scale)) else { return scale };
    let mut block_codes = [0_u8; BLOCK_ELEMS];
    for ((code, &magnitude), negative) in block_codes.iter_mut().zip(&magnitudes).zip(negative) {
        let mut count = E::Pattern::default();
        for &last in &last[..7] {
            count = count + E::Pattern::from(magnitude > last);
        }
        let sign = u8::from(negative & (magnitude > last[7]));
        *code = E::low_byte(count) | (sign << 3);
    }
    for (byte, pair) in codes.iter_mut().zip(block_codes.as_chunks::<2>().0) {
        *byte = pair[0] | (pair[1] << 4);
    }
    scale
}
