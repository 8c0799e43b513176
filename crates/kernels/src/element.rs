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

    /// Raises each of `largest` to the magnitudes of the elements at its place in several rows. One loop over elements,
    /// so that it becomes vectors.
    fn raise<const ROWS: usize>(largest: &mut [Self::Pattern], rows: [&[u8]; ROWS]);

    /// A magnitude's own pattern.
    fn pattern_bits(magnitude: Self::Pattern) -> u32;

    /// The pattern of the F32 that equals a magnitude.
    fn f32_bits(magnitude: Self::Pattern) -> u32;

    /// The number that an element is.
    fn value(pattern: Self::Pattern) -> f32;

    /// The codes of sixteen elements, two in a byte, the first one low. A code is the number of the first seven
    /// thresholds that the magnitude exceeds, and the sign bit if the element is negative and exceeds the eighth.
    ///
    /// The loops run over the elements side by side. A difference shifted down to its sign is -1 where the threshold
    /// is exceeded, 0 elsewhere; this becomes vectors everywhere, where comparisons did not.
    /// Nor does it if the codes are returned.
    fn codes(patterns: [Self::Pattern; 16], thresholds: &[Self::Pattern; 8], bytes: &mut [u8; 8]);

    /// The scale byte of a block with this largest magnitude.
    fn scale_byte(table: &Nvfp4Table, amax: Self::Pattern) -> u8;

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

/// An element type: its pattern, two patterns as one number, the bytes of a block, how a magnitude becomes F32 bits,
/// its thresholds, and how a block's largest magnitude becomes its scale.
macro_rules! element {
    ($name:ident, $pattern:ty, $pair:ty, $block_bytes:literal, $f32_bits:expr, $code_last:ident, $scale_byte:expr) => {
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

            #[inline(always)]
            fn raise<const ROWS: usize>(largest: &mut [$pattern], rows: [&[u8]; ROWS]) {
                let rows = rows.map(|row| row.as_chunks().0);
                let there = rows.iter().map(|row| row.len()).fold(largest.len(), usize::min);
                let rows = rows.map(|row| row.get(..there).unwrap_or_default());
                for (i, largest) in largest.iter_mut().take(there).enumerate() {
                    let mut raised = *largest;
                    for row in rows {
                        raised = raised.max(<$pattern>::from_le_bytes(row[i]) & <$pattern>::MAX);
                    }
                    *largest = raised;
                }
            }

            fn pattern_bits(magnitude: $pattern) -> u32 {
                u32::from(magnitude.cast_unsigned())
            }

            #[inline(always)]
            fn f32_bits(magnitude: $pattern) -> u32 {
                $f32_bits(magnitude.cast_unsigned())
            }

            #[inline(always)]
            fn value(pattern: $pattern) -> f32 {
                f32::from_bits($f32_bits(pattern.cast_unsigned()))
            }

            #[inline(always)]
            fn codes(patterns: [$pattern; 16], [last @ .., sign_last]: &[$pattern; 8], bytes: &mut [u8; 8]) {
                const SIGN: u32 = <$pattern>::BITS - 1;
                let mut codes = [0; 16];
                for (code, pattern) in codes.iter_mut().zip(patterns) {
                    let magnitude = pattern & <$pattern>::MAX;
                    let mut count = (pattern >> SIGN) & (sign_last.wrapping_sub(magnitude) >> SIGN) & 8;
                    for last in last {
                        count = count.wrapping_sub(last.wrapping_sub(magnitude) >> SIGN);
                    }
                    *code = count.to_le();
                }
                let pairs: [$pair; 8] = bytemuck::cast(codes);
                for (byte, pair) in bytes.iter_mut().zip(pairs) {
                    let pair = <$pair>::from_le(pair);
                    *byte = (pair | (pair >> (SIGN - 3))).to_le_bytes()[0];
                }
            }

            #[inline(always)]
            fn scale_byte(table: &Nvfp4Table, amax: $pattern) -> u8 {
                $scale_byte(table, amax)
            }

            fn code_last(table: &Nvfp4Table) -> &[[$pattern; 8]] {
                table.$code_last()
            }
        }
    };
}

element!(F32, i32, u64, 64, std::convert::identity, code_last, |table: &Nvfp4Table, amax: i32| {
    table.scale_byte(amax.cast_unsigned())
});
element!(Bf16, i16, u32, 32, f32_bits_from_bf16, code_last_bf16, Nvfp4Table::scale_byte_bf16);
element!(F16, i16, u32, 32, f32_bits_from_f16, code_last_f16, Nvfp4Table::scale_byte_f16);
