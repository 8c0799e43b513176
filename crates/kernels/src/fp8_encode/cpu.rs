//! The CPU twin: sixteen elements at a time, one step after another over all of them.

use super::Fp8Rule;
use super::staircase::{self, Staircase};
use crate::element::{Bf16, Element, F16, F32};
use crate::engine::{FloatTile, FloatType};
use crate::scale_grid::ScaleGrid;
use crate::values;
use crate::wide::{self, Stretch};
use quantscope_numeric::e4m3;
use std::marker::PhantomData;

/// Larger patterns of magnitudes are NaN.
const INFINITY: i32 = 0x7f80_0000;

/// Elements under one scale from which on its staircase is made, which takes 128 divisions.
const WORTH_A_STAIRCASE: usize = 1024;

/// Blocks of sixteen elements after which it is asked whether there was a NaN.
const STRETCH: usize = 32;

/// A tile to be encoded under a grid of scales. Both have been checked.
pub(crate) struct Encoding<'a> {
    tile: FloatTile<'a>,
    grid: ScaleGrid<'a>,
    rule: Fp8Rule,
    stairs: Stairs,
}

impl<'a> Encoding<'a> {
    /// What is to be known before the first element.
    pub(crate) fn new(tile: FloatTile<'a>, grid: ScaleGrid<'a>, rule: Fp8Rule) -> Self {
        Self { tile, grid, rule, stairs: wide::run(MakeStairs { tile, grid, rule }) }
    }

    /// Encodes the tile's elements from `first` on, as many as `codes` has room for.
    pub(crate) fn encode(&self, first: usize, codes: &mut [u8]) {
        match self.tile.dtype {
            FloatType::F32 => wide::run(Part::<F32> { encoding: self, first, codes, of: PhantomData }),
            FloatType::Bf16 => wide::run(Part::<Bf16> { encoding: self, first, codes, of: PhantomData }),
            FloatType::F16 => wide::run(Part::<F16> { encoding: self, first, codes, of: PhantomData }),
        }
    }

    /// Encodes a row whose runs all are a stretch long.
    #[inline(always)]
    fn encode_row<E: Element>(&self, row: usize, codes: &mut [u8]) {
        let elements = elements_of::<E>(&self.tile, row * codes.len(), codes.len());
        let scale_row = self.grid.scale_row(row);
        let stretches = elements.as_chunks::<2>().0.as_chunks::<{ staircase::STRETCH }>().0.iter();
        let stretches = stretches.zip(codes.as_chunks_mut().0).zip(self.stairs.row(scale_row));
        for (group, ((stretch, codes), staircase)) in stretches.enumerate() {
            if !staircase.as_ref().is_some_and(|staircase| staircase.encode(stretch, codes)) {
                self.run::<E>(stretch.as_flattened(), codes, scale_row, group).divide();
            }
        }
    }

    #[inline(always)]
    fn run<'b, E>(
        &self,
        elements: &'b [u8],
        codes: &'b mut [u8],
        scale_row: u64,
        group: usize,
    ) -> Run<'b, E> {
        let scale = f32::from_bits(self.grid.scale(scale_row, group));
        Run { elements, scale, rule: self.rule, codes, of: PhantomData }
    }
}

/// The staircases of a grid's scales, row by row; none if they would cost more than they save.
#[derive(Default)]
struct Stairs {
    first_scale_row: u64,
    groups: usize,
    all: Vec<Option<Staircase>>,
}

impl Stairs {
    /// The staircases of a row of scales, if there are any.
    #[inline(always)]
    fn row(&self, scale_row: u64) -> &[Option<Staircase>] {
        let row = usize::try_from(scale_row - self.first_scale_row).unwrap_or(0);
        self.all.get(row * self.groups..(row + 1) * self.groups).unwrap_or_default()
    }
}

struct MakeStairs<'a> {
    tile: FloatTile<'a>,
    grid: ScaleGrid<'a>,
    rule: Fp8Rule,
}

impl Stretch for MakeStairs<'_> {
    type Output = Stairs;

    #[inline(always)]
    fn run(self) -> Stairs {
        let Self { tile, grid, rule } = self;
        let (rows, cols) = (grid.block_rows.min(tile.rows) as usize, grid.block_cols.min(tile.cols) as usize);
        if tile.dtype != FloatType::Bf16 || cols < staircase::LANES || rows * cols < WORTH_A_STAIRCASE {
            return Stairs::default();
        }
        let groups = (tile.cols as usize).div_ceil(cols);
        let [first_scale_row, last] = [0, tile.rows as usize - 1].map(|row| grid.scale_row(row));
        let scales = (first_scale_row..=last).flat_map(|row| {
            let first = usize::try_from(row * u64::from(grid.scale_cols)).unwrap_or(usize::MAX);
            grid.scales.iter().skip(first).take(groups)
        });
        let mut all = Vec::new();
        for scale in scales {
            all.push(Staircase::new(f32::from_bits(*scale), rule));
        }
        Stairs { first_scale_row, groups, all }
    }
}

/// Neighbouring elements of a tile.
struct Part<'a, E> {
    encoding: &'a Encoding<'a>,
    first: usize,
    codes: &'a mut [u8],
    of: PhantomData<E>,
}

impl<E: Element> Stretch for Part<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { encoding, first, codes, .. } = self;
        let Encoding { tile, grid, stairs, .. } = encoding;
        let cols = tile.cols.max(1) as usize;
        let [mut before, mut rows, mut after] = [codes, Default::default(), Default::default()];
        // Where every run has the usual length, nothing is to be asked for each of them. It is not worth its bytes in
        // WebAssembly.
        if cfg!(not(target_arch = "wasm32"))
            && !stairs.all.is_empty()
            && grid.is_of(tile.cols, staircase::STRETCH)
        {
            let head = ((cols - first % cols) % cols).min(before.len());
            (before, rows) = before.split_at_mut(head);
            (rows, after) = rows.split_at_mut(rows.len() / cols * cols);
        }
        let (first_row, after_rows) = (first.div_ceil(cols), first + before.len() + rows.len());
        for (row, codes) in (first_row..).zip(rows.chunks_exact_mut(cols)) {
            encoding.encode_row::<E>(row, codes);
        }
        for (first, mut codes) in [(first, before), (after_rows, after)] {
            let mut elements = elements_of::<E>(tile, first, codes.len());
            let mut scales = (usize::MAX, 0);
            for (length, row, group) in grid.places(tile.cols, first, codes.len()) {
                let (run, run_elements);
                (run, codes) = codes.split_at_mut(length);
                (run_elements, elements) = elements.split_at(length * E::BYTES);
                if scales.0 != row {
                    scales = (row, grid.scale_row(row));
                }
                let run = encoding.run::<E>(run_elements, run, scales.1, group);
                match stairs.row(scales.1).get(group) {
                    Some(Some(staircase)) => run.climb(staircase),
                    _ => run.divide(),
                }
            }
        }
    }
}

/// Neighbouring elements of a tile.
#[inline(always)]
fn elements_of<'a, E: Element>(tile: &FloatTile<'a>, first: usize, count: usize) -> &'a [u8] {
    tile.bytes.get(first * E::BYTES..(first + count) * E::BYTES).unwrap_or_default()
}

/// Elements under one scale.
struct Run<'a, E> {
    elements: &'a [u8],
    scale: f32,
    rule: Fp8Rule,
    codes: &'a mut [u8],
    of: PhantomData<E>,
}

impl<E: Element> Run<'_, E> {
    /// The codes of elements of BF16 under a scale whose staircase is known.
    #[inline(always)]
    fn climb(self, staircase: &Staircase) {
        let rest = self.climb_by::<{ staircase::STRETCH }>(staircase);
        rest.climb_by::<{ staircase::LANES }>(staircase).divide();
    }

    /// The codes of whole stretches of `N` elements; what is left is given back.
    #[inline(always)]
    fn climb_by<const N: usize>(self, staircase: &Staircase) -> Self {
        let Self { elements, scale, rule, codes, of } = self;
        let (stretches, _) = elements.as_chunks::<2>().0.as_chunks::<N>();
        let (stretch_codes, rest) = codes.as_chunks_mut::<N>();
        for (stretch, codes) in stretches.iter().zip(stretch_codes) {
            if !staircase.encode(stretch, codes) {
                Self { elements: stretch.as_flattened(), scale, rule, codes, of }.divide();
            }
        }
        let elements = elements.get(elements.len() - 2 * rest.len()..).unwrap_or_default();
        Self { elements, scale, rule, codes: rest, of }
    }

    /// The codes of elements by the division itself.
    #[inline(always)]
    fn divide(self) {
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
                    *codes = codes_of::<E>(block, self.scale, self.rule);
                }
            }
        }
        if rest.is_empty() {
            return;
        }
        let last = codes_of::<E>(&E::padded(rest), self.scale, self.rule);
        for (code, last) in rest_codes.iter_mut().zip(last) {
            *code = last;
        }
    }
}

/// The codes of sixteen elements.
#[inline(always)]
pub(super) fn codes_of<E: Element>(block: &E::Block, scale: f32, rule: Fp8Rule) -> [u8; 16] {
    quotients::<E>(block, scale, rule).map(code_of)
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
