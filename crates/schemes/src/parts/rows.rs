//! Rows of codes under a grid of scales, with what other projects add to it: an outer scale, zero points,
//! biases, a rounding at the end.
//!
//! The order of operations is fixed, each in F32 with one rounding: factor = scale (times, or divided by, the
//! outer scale); value = (code - zero) * factor; divided by the divisor; plus the bias; rounded to the type
//! that the other project decodes to.

use crate::decode::{Decoder, Refusal, Region, Slab};
use crate::layer::Stored;
use crate::parts::bits;
use crate::parts::bytes::{index, part};
use crate::parts::columns::word_at;
use crate::parts::foreign::misfit;
use crate::parts::grid::{Grid, GridView, Number};
use futures_util::future::{LocalBoxFuture, ready};
use quantscope_kernels::{Engine, EngineError};
use quantscope_numeric::{e2m1, e4m3, f32_bits_from_f16, round_to_bf16, round_to_f16};

/// How codes are packed along a row, and what a code means.
#[derive(Clone, Copy)]
pub(crate) struct Code {
    /// Bits of one, 1 to 8.
    pub(crate) bits: u32,
    /// Whether of two nibbles the high one comes first.
    pub(crate) is_high_first: bool,
    /// Its value.
    pub(crate) value: fn(u8) -> f32,
}

impl Code {
    /// E2M1, the even column in the low nibble.
    pub(crate) const E2M1: Self = Self { bits: 4, is_high_first: false, value: e2m1::decode };
    /// E4M3.
    pub(crate) const E4M3: Self = Self { bits: 8, is_high_first: false, value: e4m3::decode };
    /// E5M2, which is the upper half of a binary16.
    pub(crate) const E5M2: Self = Self {
        bits: 8,
        is_high_first: false,
        value: |code| f32::from_bits(f32_bits_from_f16(u16::from(code) << 8)),
    };
    /// A signed byte.
    pub(crate) const SIGNED: Self =
        Self { bits: 8, is_high_first: false, value: |code| f32::from(code.cast_signed()) };

    /// Unsigned numbers.
    pub(crate) const fn unsigned(bits: u32) -> Self {
        Self { bits, is_high_first: false, value: f32_from }
    }
}

/// An unsigned number.
fn f32_from(code: u8) -> f32 {
    f32::from(code)
}

/// What an outer scale does to the block scales.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outer {
    /// Multiplies them.
    Times,
    /// Divides them.
    Divide,
    /// Is a largest magnitude, of which a 2688th multiplies them.
    Largest,
}

/// The type that the other project decodes to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    /// F32.
    No,
    /// BF16.
    Bf16,
    /// F16.
    F16,
}

/// Decodes rows of codes.
pub(crate) struct RowDecoder {
    shape: Vec<u64>,
    extent: [u64; 2],
    leaf: &'static str,
    code: Code,
    row_bytes: u64,
    scales: Grid,
    /// What the other project makes of it.
    pub(crate) outer: Option<(&'static str, Number, Outer)>,
    /// Subtracted from the codes.
    pub(crate) zeros: Option<Grid>,
    /// The same, one for all, where there is no grid of them.
    pub(crate) centre: Option<f32>,
    /// A map from columns to places in a row of the grids, of type I32, by leaf name.
    pub(crate) order: Option<&'static str>,
    /// Added to the product.
    pub(crate) biases: Option<Grid>,
    /// Divides the product.
    pub(crate) divisor: Option<f32>,
    /// Rounds the result.
    pub(crate) round: Round,
}

/// Rows of a tensor, all dimensions but the last taken together, and elements in a row.
pub(crate) fn rows_of(stored: Stored<'_>) -> Result<[u64; 2], Refusal> {
    let (last, leading) = stored.shape.split_last().ok_or_else(|| misfit(stored, "a matrix"))?;
    let rows = leading.iter().try_fold(1_u64, |n, &d| n.checked_mul(d));
    Ok([rows.ok_or_else(|| misfit(stored, "a matrix of a countable size"))?, *last])
}

impl RowDecoder {
    /// Checks that `cols` codes fit the stored rows of `weight`, all dimensions but the last being rows.
    pub(crate) fn new(
        weight: Stored<'_>,
        leaf: &'static str,
        code: Code,
        cols: u64,
        scales: Grid,
    ) -> Result<Self, Refusal> {
        let [rows, stored] = rows_of(weight)?;
        let row_bytes = stored.checked_mul(weight.dtype.bits() / 8);
        let fits = row_bytes.and_then(|n| n.checked_mul(8)).zip(cols.checked_mul(u64::from(code.bits)));
        let row_bytes = row_bytes.filter(|_| fits.is_some_and(|(held, used)| used <= held));
        let row_bytes = row_bytes.ok_or_else(|| misfit(weight, &format!("rows of {cols} codes")))?;
        let mut shape = weight.shape.to_vec();
        if let Some(last) = shape.last_mut() {
            *last = cols;
        }
        Ok(Self {
            shape,
            extent: [rows, cols],
            leaf,
            code,
            row_bytes,
            scales,
            outer: None,
            zeros: None,
            centre: None,
            order: None,
            biases: None,
            divisor: None,
            round: Round::No,
        })
    }

    /// Bytes of a row that hold the codes of some columns.
    fn code_bytes(&self, region: &Region) -> std::ops::Range<u64> {
        let bits = u64::from(self.code.bits);
        region.cols.start.saturating_mul(bits) / 8..region.cols.end.saturating_mul(bits).div_ceil(8)
    }

    /// The region of the grids: all columns where a map may point to any.
    fn governing(&self, region: &Region) -> Region {
        let cols = if self.order.is_some() { 0..self.extent[1] } else { region.cols.clone() };
        Region { rows: region.rows.clone(), cols }
    }

    fn decode_region(&self, region: &Region, parts: &[Vec<u8>], out: &mut Vec<f32>) {
        let mut next = 0;
        let mut take = || {
            next += 1;
            part(parts, next - 1)
        };
        let governing = self.governing(region);
        let codes = take();
        let scales = self.scales.view(&governing, take());
        let outer = self.outer.map(|(_, number, what)| {
            let value = number.values(take()).first().copied().unwrap_or(f32::NAN);
            if what == Outer::Largest { (Outer::Times, value / 2688.0) } else { (what, value) }
        });
        let zeros = self.zeros.as_ref().map(|grid| grid.view(&governing, take()));
        let biases = self.biases.as_ref().map(|grid| grid.view(&governing, take()));
        let order = self.order.map(|_| take());
        let bytes = self.code_bytes(region);
        let run = index(bytes.end.saturating_sub(bytes.start)).max(1);
        let width = index(region.cols.end.saturating_sub(region.cols.start));
        // No more than there are bytes for.
        out.reserve(codes.len().saturating_mul(8) / usize::try_from(self.code.bits).unwrap_or(8).max(1));
        let table: Vec<f32> = (0..=u8::MAX).map(self.code.value).collect();
        let mut row_codes = Vec::new();
        for (row, codes) in region.rows.clone().zip(codes.chunks(run)) {
            bits::unpack(codes, self.code.bits, width.next_multiple_of(2), &mut row_codes);
            if self.code.is_high_first {
                row_codes.as_chunks_mut::<2>().0.iter_mut().for_each(|pair| pair.swap(0, 1));
            }
            let mut col = region.cols.start;
            while col < region.cols.end {
                let place = order.map(|map| word_at(map, col - region.cols.start));
                let (at, stop) = match place {
                    None => (col, scales.next_stop(col).min(region.cols.end)),
                    // A map may send neighbours anywhere; what it sends nowhere is NaN.
                    Some(place) => {
                        let place = place.and_then(|p| u64::try_from(p.cast_signed()).ok());
                        (place.map_or(u64::MAX, |place| scales.column_of(place)), col + 1)
                    }
                };
                let factor = match outer {
                    None => scales.at(row, at),
                    Some((Outer::Divide, by)) => scales.at(row, at) / by,
                    Some((_, by)) => scales.at(row, at) * by,
                };
                let number = |grid: &Option<GridView>| grid.as_ref().map(|grid| grid.at(row, at));
                let (zero, bias) = (number(&zeros).or(self.centre), number(&biases));
                let block = index(col - region.cols.start)..index(stop - region.cols.start);
                let held = row_codes.get(block.start..block.end.min(row_codes.len())).unwrap_or_default();
                out.extend(held.iter().map(|&code| {
                    let value = table.get(usize::from(code)).copied().unwrap_or(f32::NAN);
                    let value = zero.map_or(value, |zero| value - zero) * factor;
                    let value = self.divisor.map_or(value, |divisor| value / divisor);
                    self.rounded(bias.map_or(value, |bias| value + bias))
                }));
                // Where bytes are missing, so are values.
                out.extend((held.len()..block.len()).map(|_| f32::NAN));
                col = stop;
            }
        }
    }

    fn rounded(&self, value: f32) -> f32 {
        match self.round {
            Round::No => value,
            Round::Bf16 => round_to_bf16(value),
            Round::F16 => round_to_f16(value),
        }
    }
}

impl Decoder for RowDecoder {
    fn shape(&self) -> Vec<u64> {
        self.shape.clone()
    }

    fn extent(&self) -> [u64; 2] {
        self.extent
    }

    fn column_unit(&self) -> u64 {
        // Eight codes of any width end with a byte.
        8
    }

    fn needs(&self, region: &Region) -> Vec<Slab> {
        let bytes = self.code_bytes(region);
        let governing = self.governing(region);
        let mut slabs = vec![
            Slab::rectangle(self.leaf, self.row_bytes, region.rows.clone(), bytes),
            self.scales.slab(&governing),
        ];
        slabs.extend(self.outer.map(|(leaf, number, _)| Slab::range(leaf, 0, number.bytes())));
        slabs.extend([&self.zeros, &self.biases].into_iter().flatten().map(|grid| grid.slab(&governing)));
        let width = region.cols.end.saturating_sub(region.cols.start);
        let map = |leaf| Slab::range(leaf, region.cols.start.saturating_mul(4), width.saturating_mul(4));
        slabs.extend(self.order.map(map));
        slabs
    }

    fn decode<'a>(
        &'a self,
        _engine: &'a dyn Engine,
        region: &'a Region,
        parts: &'a [Vec<u8>],
        out: &'a mut Vec<f32>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        self.decode_region(region, parts, out);
        Box::pin(ready(Ok(())))
    }
}
