//! Elements of a plain float tile as patterns of bits: the magnitude, and whether the sign bit is set.

use crate::nvfp4_quantize::Nvfp4Table;
use quantscope_numeric::{f32_bits_from_bf16, f32_bits_from_f16};
use std::ops::Add;

/// How the CPU twins read an element type. The loops over it are the same for all three; the narrow types
/// fit twice as many lanes into a vector.
pub(crate) trait Element {
    /// A magnitude's pattern, signed so that the comparison is the one every processor has.
    type Pattern: Copy + Ord + Default + From<bool> + Add<Output = Self::Pattern>;

    /// Bytes of one element.
    const BYTES: usize;

    /// The magnitude of the element in `bytes` (of [`Self::BYTES`]), and whether its sign bit is set.
    fn split(bytes: &[u8]) -> (Self::Pattern, bool);

    /// The pattern of the F32 that equals a magnitude.
    fn f32_bits(magnitude: Self::Pattern) -> u32;

    /// The low byte of a small number.
    fn low_byte(number: Self::Pattern) -> u8;

    /// The table's code thresholds over this type's patterns.
    fn code_last(table: &Nvfp4Table) -> &[[Self::Pattern; 8]];
}

pub(crate) struct F32;
pub(crate) struct Bf16;
pub(crate) struct F16;

fn narrow(bytes: &[u8]) -> (i16, bool) {
    let bits = bytes.try_into().map_or(0, i16::from_le_bytes);
    (bits & i16::MAX, bits < 0)
}

impl Element for F32 {
    type Pattern = i32;
    const BYTES: usize = 4;

    #[inline(always)]
    fn split(bytes: &[u8]) -> (i32, bool) {
        let bits = bytes.try_into().map_or(0, i32::from_le_bytes);
        (bits & i32::MAX, bits < 0)
    }

    fn f32_bits(magnitude: i32) -> u32 {
        magnitude.cast_unsigned()
    }

    #[inline(always)]
    fn low_byte(number: i32) -> u8 {
        number.to_le_bytes()[0]
    }

    fn code_last(table: &Nvfp4Table) -> &[[i32; 8]] {
        table.code_last()
    }
}

impl Element for Bf16 {
    type Pattern = i16;
    const BYTES: usize = 2;

    #[inline(always)]
    fn split(bytes: &[u8]) -> (i16, bool) {
        narrow(bytes)
    }

    fn f32_bits(magnitude: i16) -> u32 {
        f32_bits_from_bf16(magnitude.cast_unsigned())
    }

    #[inline(always)]
    fn low_byte(number: i16) -> u8 {
        number.to_le_bytes()[0]
    }

    fn code_last(table: &Nvfp4Table) -> &[[i16; 8]] {
        table.code_last_bf16()
    }
}

impl Element for F16 {
    type Pattern = i16;
    const BYTES: usize = 2;

    #[inline(always)]
    fn split(bytes: &[u8]) -> (i16, bool) {
        narrow(bytes)
    }

    fn f32_bits(magnitude: i16) -> u32 {
        f32_bits_from_f16(magnitude.cast_unsigned())
    }

    #[inline(always)]
    fn low_byte(number: i16) -> u8 {
        number.to_le_bytes()[0]
    }

    fn code_last(table: &Nvfp4Table) -> &[[i16; 8]] {
        table.code_last_f16()
    }
}
