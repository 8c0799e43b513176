//! The CPU twin: a block at a time.

use super::{BLOCK, MxElement, ScaleTable};
use crate::engine::FloatTile;
use crate::fp8_encode::cpu::code_of;
use crate::nvfp4_quantize::CodeCast;
use crate::values;
use quantscope_numeric::{e2m1, e8m0};

const BLOCK_ELEMS: usize = BLOCK as usize;

/// Encodes the tile's blocks from `first_block` on: as many as `scales` has room for. Tile and room have been
/// checked.
pub(crate) fn encode(
    tile: &FloatTile<'_>,
    element: MxElement,
    cast: CodeCast,
    first_block: usize,
    codes: &mut [u8],
    scales: &mut [u8],
) {
    let table = ScaleTable::of(element);
    let width = tile.dtype.bytes();
    let row_bytes = tile.cols as usize * width;
    let row_blocks = tile.cols.div_ceil(BLOCK).max(1) as usize;
    let places = codes.chunks_mut(element.block_bytes() as usize).zip(scales);
    for (block, (codes, scale)) in (first_block..).zip(places) {
        let row = block / row_blocks * row_bytes;
        let begin = row + block % row_blocks * BLOCK_ELEMS * width;
        let end = (begin + BLOCK_ELEMS * width).min(row + row_bytes);
        let mut block = [0.0; BLOCK_ELEMS];
        values::widen(tile.dtype, tile.bytes.get(begin..end).unwrap_or_default(), &mut block);
        let amax = block.iter().fold(0, |amax: u32, value| amax.max(value.to_bits() & 0x7fff_ffff));
        *scale = table.scale_byte(amax);
        values::cast(cast, &mut block);
        // Between 2^-127 and 2^127: 2^-k for the byte k + 127.
        let factor = e8m0::decode(254 - *scale);
        for value in &mut block {
            *value *= factor;
        }
        match element {
            MxElement::E2m1 => {
                for (byte, &[even, odd]) in codes.iter_mut().zip(block.as_chunks::<2>().0) {
                    *byte = e2m1::pack(e2m1::encode_mx(even), e2m1::encode_mx(odd));
                }
            }
            MxElement::E4m3 => {
                for (code, &value) in codes.iter_mut().zip(&block) {
                    *code = code_of(value);
                }
            }
        }
    }
}
