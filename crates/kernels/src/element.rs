//! Elements of a plain float tile as patterns of bits.

use crate::nvfp4_quantize::Nvfp4Table;
use quantscope_numeric::{f32_bits_from_bf16, f32_bits_from_f16};
use std::ops::BitAnd;

/// How the CPU twins read an element type. The loops over it are the same for all three; the narrow types
/// fit twice as many lanes into a vector.
pub(crate) trait Element {
    /// A pattern, signed: the comparison every processor has, and the element's sign is the number's.
    type Pattern: Copy + Ord + Default + BitAnd<Output = Self::Pattern>;

    /// Bytes of one element.
    const BYTES: usize;

    /// All bits but the sign.
    const MAGNITUDE: Self::Pattern;

    /// The bytes of a whole block. Its length is in its type, so that loading it becomes vector loads.
    type Block: Copy;

    /// The whole blocks of a row, and the bytes of the last one if it is not whole.
    fn blocks(row: &[u8]) -> (&[Self::Block], &[u8]);

    /// A block that `bytes` fill in part; the rest is zero.
    fn padded(bytes: &[u8]) -> Self::Block;

    /// The patterns of a block.
    fn patterns(block: &Self::Block) -> [Self::Pattern; 16];

    /// The pattern of the F32 that equals a magnitude.
    fn f32_bits(magnitude: Self::Pattern) -> u32;

    /// The code of an element: the number of the first seven thresholds that its magnitude exceeds, and the
    /// sign bit if it is negative and exceeds the eighth. A difference shifted down to its sign is -1 where
    /// the threshold is exceeded, 0 elsewhere; this becomes vectors everywhere, where comparisons did not.
    fn code(pattern: Self::Pattern, thresholds: &[Self::Pattern; 8]) -> u8;

    /// The table's code thresholds over this type's patterns.
    fn code_last(table: &Nvfp4Table) -> &[[Self::Pattern; 8]];
}

fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut block = [0; N];
    for (into, from) in block.iter_mut().zip(bytes) {
        *into = *from;
    }
    block
}

pub(crate) struct F32;
pub(crate) struct Bf16;
pub(crate) struct F16;

impl Element for F32 {
    type Pattern = i32;
    const BYTES: usize = 4;
    const MAGNITUDE: i32 = i32::MAX;

    type Block = [u8; 64];

    fn blocks(row: &[u8]) -> (&[[u8; 64]], &[u8]) {
        row.as_chunks()
    }

    fn padded(bytes: &[u8]) -> [u8; 64] {
        padded(bytes)
    }

    #[inline(always)]
    fn patterns(block: &[u8; 64]) -> [i32; 16] {
        bytemuck::cast::<_, [i32; 16]>(*block).map(i32::from_le)
    }

    fn f32_bits(magnitude: i32) -> u32 {
        magnitude.cast_unsigned()
    }

    #[inline(always)]
    fn code(pattern: i32, [last @ .., sign_last]: &[i32; 8]) -> u8 {
        let magnitude = pattern & i32::MAX;
        let mut code = (pattern >> 31) & ((sign_last - magnitude) >> 31) & 8;
        for last in last {
            code -= (last - magnitude) >> 31;
        }
        code.to_le_bytes()[0]
    }

    fn code_last(table: &Nvfp4Table) -> &[[i32; 8]] {
        table.code_last()
    }
}

impl Element for Bf16 {
    type Pattern = i16;
    const BYTES: usize = 2;
    const MAGNITUDE: i16 = i16::MAX;

    type Block = [u8; 32];

    fn blocks(row: &[u8]) -> (&[[u8; 32]], &[u8]) {
        row.as_chunks()
    }

    fn padded(bytes: &[u8]) -> [u8; 32] {
        padded(bytes)
    }

    #[inline(always)]
    fn patterns(block: &[u8; 32]) -> [i16; 16] {
        bytemuck::cast::<_, [i16; 16]>(*block).map(i16::from_le)
    }

    fn f32_bits(magnitude: i16) -> u32 {
        f32_bits_from_bf16(magnitude.cast_unsigned())
    }

    #[inline(always)]
    fn code(pattern: i16, [last @ .., sign_last]: &[i16; 8]) -> u8 {
        let magnitude = pattern & i16::MAX;
        let mut code = (pattern >> 15) & ((sign_last - magnitude) >> 15) & 8;
        for last in last {
            code -= (last - magnitude) >> 15;
        }
        code.to_le_bytes()[0]
    }

    fn code_last(table: &Nvfp4Table) -> &[[i16; 8]] {
        table.code_last_bf16()
    }
}

impl Element for F16 {
    type Pattern = i16;
    const BYTES: usize = 2;
    const MAGNITUDE: i16 = i16::MAX;

    type Block = [u8; 32];

    fn blocks(row: &[u8]) -> (&[[u8; 32]], &[u8]) {
        row.as_chunks()
    }

    fn padded(bytes: &[u8]) -> [u8; 32] {
        padded(bytes)
    }

    #[inline(always)]
    fn patterns(block: &[u8; 32]) -> [i16; 16] {
        bytemuck::cast::<_, [i16; 16]>(*block).map(i16::from_le)
    }

    fn f32_bits(magnitude: i16) -> u32 {
        f32_bits_from_f16(magnitude.cast_unsigned())
    }

    #[inline(always)]
    fn code(pattern: i16, [last @ .., sign_last]: &[i16; 8]) -> u8 {
        let magnitude = pattern & i16::MAX;
        let mut code = (pattern >> 15) & ((sign_last - magnitude) >> 15) & 8;
        for last in last {
            code -= (last - magnitude) >> 15;
        }
        code.to_le_bytes()[0]
    }

    fn code_last(table: &Nvfp4Table) -> &[[i16; 8]] {
        table.code_last_f16()
    }
}
