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

    /// A magnitude's own pattern.
    fn pattern_bits(magnitude: Self::Pattern) -> u32;

    /// The pattern of the F32 that equals a magnitude.
    fn f32_bits(magnitude: Self::Pattern) -> u32;

    /// The pattern of the F32 that equals an element, sign included.
    #[inline(always)]
    fn signed_f32_bits(pattern: Self::Pattern) -> u32 {
        let sign = if pattern < Self::Pattern::default() { 0x8000_0000 } else { 0 };
        Self::f32_bits(pattern & Self::MAGNITUDE) | sign
    }

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

/// An element type: its pattern, the bytes of a block, how a magnitude becomes F32 bits, and its thresholds.
macro_rules! element {
    ($name:ident, $pattern:ty, $block_bytes:literal, $f32_bits:expr, $code_last:ident) => {
        pub(crate) struct $name;

        impl Element for $name {
            type Pattern = $pattern;
            const BYTES: usize = size_of::<$pattern>();
            const MAGNITUDE: $pattern = <$pattern>::MAX;

            type Block = [u8; $block_bytes];

            fn blocks(row: &[u8]) -> (&[Self::Block], &[u8]) {
                row.as_chunks()
            }

            fn padded(bytes: &[u8]) -> Self::Block {
                padded(bytes)
            }

            #[inline(always)]
            fn patterns(block: &Self::Block) -> [$pattern; 16] {
                bytemuck::cast::<_, [$pattern; 16]>(*block).map(<$pattern>::from_le)
            }

            fn pattern_bits(magnitude: $pattern) -> u32 {
                u32::from(magnitude.cast_unsigned())
            }

            fn f32_bits(magnitude: $pattern) -> u32 {
                $f32_bits(magnitude.cast_unsigned())
            }

            #[inline(always)]
            fn code(pattern: $pattern, [last @ .., sign_last]: &[$pattern; 8]) -> u8 {
                const SIGN: u32 = <$pattern>::BITS - 1;
                let magnitude = pattern & <$pattern>::MAX;
                let mut code = (pattern >> SIGN) & ((sign_last - magnitude) >> SIGN) & 8;
                for last in last {
                    code -= (last - magnitude) >> SIGN;
                }
                code.to_le_bytes()[0]
            }

            fn code_last(table: &Nvfp4Table) -> &[[$pattern; 8]] {
                table.$code_last()
            }
        }
    };
}

element!(F32, i32, 64, std::convert::identity, code_last);
element!(Bf16, i16, 32, f32_bits_from_bf16, code_last_bf16);
element!(F16, i16, 32, f32_bits_from_f16, code_last_f16);
