//! The CPU twin: sixteen elements at a time, one step after another over all of them.

use super::Fp8Rule;
use crate::element::{Bf16, Element, F16, F32};
use crate::engine::{FloatTile, FloatType};
use crate::scale_grid::ScaleGrid;
use crate::values;
use crate::wide::{self, Stretch};
use quantscope_numeric::e4m3;
use std::marker::PhantomData;

/// Larger patterns of magnitudes are NaN.
const INFINITY: i32 = 0x7f80_0000;

/// Blocks of sixteen elements after which it is asked whether there was a NaN.
const STRETCH: usize = 32;

/// Encodes the tile's elements from `first` on, as many as `codes` has room for. Tile and grid have been
/// checked.
pub(crate) fn encode(
    tile: &FloatTile<'_>,
    grid: ScaleGrid<'_>,
    rule: Fp8Rule,
    first: usize,
    codes: &mut [u8],
) {
    let width = tile.dtype.bytes();
    let mut source = tile.bytes.get(first * width..).unwrap_or_default();
    let mut codes = codes;
    for (length, scale) in grid.runs(tile.cols, first, codes.len()) {
        let (run, elements);
        (run, codes) = codes.split_at_mut(length);
        (elements, source) = source.split_at(length * width);
        let scale = f32::from_bits(scale);
        match tile.dtype {
            FloatType::F32 => wide::run(Run::<F32> { elements, scale, rule, codes: run, of: PhantomData }),
            FloatType::Bf16 => wide::run(Run::<Bf16> { elements, scale, rule, codes: run, of: PhantomData }),
            FloatType::F16 => wide::run(Run::<F16> { elements, scale, rule, codes: run, of: PhantomData }),
        }
    }
}

/// Elements under one scale.
struct Run<'a, E> {
    elements: &'a [u8],
    scale: f32,
    rule: Fp8Rule,
    codes: &'a mut [u8],
    of: PhantomData<E>,
}

impl<E: Element> Stretch for Run<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (blocks, rest) = E::blocks(self.elements);
        let (codes, rest_codes) = self.codes.as_chunks_mut::<16>();
        for (blocks, codes) in blocks.chunks(STRETCH).zip(codes.chunks_mut(STRETCH)) {
            let mut largest = [0; 16];
            for (block, codes) in blocks.iter().zip(codes.iter_mut()) {
                let values = quotients::<E>(block, self.scale, self.rule);
                for ((code, largest), value) in codes.iter_mut().zip(&mut largest).zip(values) {
                    *code = number_code(value);
                    *largest = (*largest).max(magnitude(value));
                }
            }
            // Rare, so that no other element waits for it.
            if largest.iter().any(|largest| *largest > INFINITY) {
                for (block, codes) in blocks.iter().zip(codes) {
                    *codes = quotients::<E>(block, self.scale, self.rule).map(code_of);
                }
            }
        }
        let last = quotients::<E>(&E::padded(rest), self.scale, self.rule).map(code_of);
        for (code, last) in rest_codes.iter_mut().zip(last) {
            *code = last;
        }
    }
}

/// Sixteen elements divided by their scale, rounded as the rule says.
#[inline(always)]
fn quotients<E: Element>(block: &E::Block, scale: f32, rule: Fp8Rule) -> [f32; 16] {
    let mut values = E::patterns(block).map(E::value);
    values::cast(rule.cast, &mut values);
    for value in &mut values {
        *value /= scale;
    }
    values::cast(rule.quotient.cast(), &mut values);
    values
}

/// The pattern of a magnitude.
#[inline(always)]
fn magnitude(value: f32) -> i32 {
    (value.to_bits() & 0x7fff_ffff).cast_signed()
}

/// The E4M3 code of a number; of the two NaN codes always 0x7f.
#[inline(always)]
pub(crate) fn code_of(value: f32) -> u8 {
    if value.is_nan() { e4m3::NAN_BYTE } else { number_code(value) }
}

/// The E4M3 code of what is not NaN: what [`e4m3::encode`] computes, without a branch, so that a loop over it becomes
/// vectors.
#[inline(always)]
fn number_code(value: f32) -> u8 {
    const SMALLEST_NORMAL: i32 = 121 << 23;
    let bits = value.to_bits();
    let magnitude = magnitude(value);
    // Steps of 2^-9, to even: the sum has no room for a fraction.
    let sum = f32::from_bits(magnitude.cast_unsigned()) * 512.0 + 8_388_608.0;
    let subnormal = sum.to_bits().cast_signed();
    // Rounded to even at bit 20 and saturated. Beyond 2^9 everything is saturated, and larger patterns would overflow.
    let clipped = magnitude.min(136 << 23);
    let normal = (((clipped + 0x7_ffff + ((clipped >> 20) & 1)) >> 20) - (120 << 3)).min(0x7e);
    let code = if magnitude < SMALLEST_NORMAL { subnormal } else { normal };
    ((code & 0x7f) | ((bits >> 24) & 0x80).cast_signed()).to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::code_of;
    use quantscope_numeric::e4m3;

    /// Every number in steps of 251 patterns, both signs, and all patterns around each code and between two.
    #[test]
    fn codes_are_those_of_the_definition() {
        let around = |value: f32| (value.to_bits() - 40..value.to_bits() + 40).map(f32::from_bits);
        let codes = (1..0x7e).flat_map(|code| {
            let (this, next) = (e4m3::decode(code), e4m3::decode(code + 1));
            around(this).chain(around(f32::midpoint(this, next)))
        });
        let all = (0..=0x7fff_ffff).step_by(251).map(f32::from_bits);
        for value in all.chain(codes).flat_map(|value| [value, -value]) {
            let expected = if value.is_nan() { e4m3::NAN_BYTE } else { e4m3::encode(value) };
            assert_eq!(code_of(value), expected, "{value:e}");
        }
    }
}
