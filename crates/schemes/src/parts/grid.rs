//! Factors that lie in a grid over the rows and columns of a weight: scales, zero points, biases.

use crate::arrangement::{TILE_COLS, TILE_ROWS, tiled_offset};
use crate::decode::{Refusal, Region, Slab};
use crate::layer::Stored;
use crate::parts::bytes::{floats, index};
use crate::parts::columns::word_at;
use crate::parts::foreign::misfit;
use crate::parts::shapes::{expect_elements, round_up};
use quantscope_numeric::{Dtype, e8m0};
use std::ops::Range;

/// How a number is spelled in bytes, which is not always what the header calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    /// A float type of the header.
    Float(Dtype),
    /// A power of two.
    E8m0,
    /// A signed byte.
    Signed,
    /// Unsigned numbers of so many bits, packed down the columns in words of 32.
    Down(u32),
}

impl Number {
    /// Bytes of one, or of the words that hold it.
    pub(crate) const fn bytes(self) -> u64 {
        match self {
            Self::Float(dtype) => dtype.bits() / 8,
            Self::E8m0 | Self::Signed => 1,
            Self::Down(_) => 4,
        }
    }

    /// Rows of the stored tensor that hold rows of the grid.
    fn stored_rows(self, rows: &Range<u64>) -> Range<u64> {
        let Self::Down(bits) = self else { return rows.clone() };
        let bits = u64::from(bits);
        rows.start.saturating_mul(bits) / 32..rows.end.saturating_mul(bits).div_ceil(32)
    }

    /// Numbers as F32.
    pub(crate) fn values(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::Float(dtype) => floats(dtype, bytes),
            Self::E8m0 => bytes.iter().map(|&b| e8m0::decode(b)).collect(),
            Self::Signed => bytes.iter().map(|&b| f32::from(b.cast_signed())).collect(),
            // A word means nothing without its neighbour: see `unpacked`.
            Self::Down(_) => Vec::new(),
        }
    }
}

/// Numbers packed down the columns: rows of words of `width` columns, to rows of numbers.
fn unpacked(bytes: &[u8], bits: u32, rows: &Range<u64>, width: u64) -> Vec<f32> {
    let first = Number::Down(bits).stored_rows(rows).start;
    let number = |row: u64, col: u64| {
        let bit = row.checked_mul(u64::from(bits))?.checked_sub(first.checked_mul(32)?)?;
        let word = |at: u64| word_at(bytes, at.checked_mul(width)?.checked_add(col)?).map(u64::from);
        let low = word(bit / 32)?;
        let high = if bit % 32 + u64::from(bits) > 32 { word(bit / 32 + 1)? } else { 0 };
        let value = (low | (high << 32)) >> (bit % 32) & ((1 << bits) - 1);
        u8::try_from(value).ok().map(f32::from)
    };
    let columns = |row: u64| (0..width).map(move |col| number(row, col).unwrap_or(f32::NAN));
    rows.clone().flat_map(columns).collect()
}

/// A grid of numbers, each for a block of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grid {
    leaf: &'static str,
    number: Number,
    /// Rows and columns of weights that share a number; `u64::MAX` is the whole extent.
    block: [u64; 2],
    /// Numbers in a row of the grid.
    columns: u64,
    is_tiled: bool,
}

/// Sides of the grid for a weight of `rows` x `cols`.
fn sides([rows, cols]: [u64; 2], [down, across]: [u64; 2]) -> [u64; 2] {
    [rows.div_ceil(down.max(1)), cols.div_ceil(across.max(1))]
}

impl Grid {
    /// A grid in rows.
    pub(crate) fn new(
        stored: Stored<'_>,
        leaf: &'static str,
        number: Number,
        weights: [u64; 2],
        block: [u64; 2],
    ) -> Result<Self, Refusal> {
        let [rows, columns] = sides(weights, block);
        let rows = number.stored_rows(&(0..rows)).end;
        expect_elements(stored, rows.checked_mul(columns))?;
        Ok(Self { leaf, number, block: block.map(|side| side.max(1)), columns, is_tiled: false })
    }

    /// A grid whose blocks follow from its shape: one number, one a row, or one for equal parts of rows and
    /// columns.
    pub(crate) fn fitting(
        stored: Stored<'_>,
        leaf: &'static str,
        number: Number,
        weights: [u64; 2],
    ) -> Result<Self, Refusal> {
        let [rows, cols] = weights;
        let part = |whole: u64, parts: u64| {
            if parts == 1 {
                Some(u64::MAX)
            } else {
                whole.checked_div(parts).filter(|&n| n > 0 && n.checked_mul(parts) == Some(whole))
            }
        };
        let block = match *stored.shape {
            [] => Some([u64::MAX; 2]),
            [down] => {
                Some(down).filter(|&d| d == rows || d == 1).and_then(|d| part(rows, d)).map(|n| [n, u64::MAX])
            }
            [.., across] => {
                let down = stored.shape.iter().rev().skip(1).fold(1_u64, |n, &d| n.saturating_mul(d));
                part(rows, down).zip(part(cols, across)).map(|(down, across)| [down, across])
            }
        };
        let block = block.ok_or_else(|| misfit(stored, &format!("a divisor of [{rows}, {cols}]")))?;
        Self::new(stored, leaf, number, weights, block)
    }

    /// A grid in tiles of 128 x 4 numbers, padded to whole tiles (`formats.md` f): one number for `block`
    /// weights of a row.
    pub(crate) fn tiled(
        stored: Stored<'_>,
        leaf: &'static str,
        number: Number,
        weights: [u64; 2],
        block: u64,
    ) -> Result<Self, Refusal> {
        let [rows, columns] = tiled_sides(weights, block);
        expect_elements(stored, rows.checked_mul(columns))?;
        Ok(Self { leaf, number, block: [1, block.max(1)], columns, is_tiled: true })
    }

    /// The bytes that a region needs.
    pub(crate) fn slab(&self, region: &Region) -> Slab {
        let [down, across] = self.block;
        let rows = region.rows.start / down..region.rows.end.div_ceil(down);
        let cols = region.cols.start / across..region.cols.end.div_ceil(across);
        let width = self.number.bytes();
        if self.is_tiled {
            let tile = TILE_ROWS * TILE_COLS * width;
            let bytes = (cols.start / TILE_COLS).saturating_mul(tile)
                ..cols.end.div_ceil(TILE_COLS).saturating_mul(tile);
            let rows = rows.start / TILE_ROWS..rows.end.div_ceil(TILE_ROWS);
            return Slab::rectangle(self.leaf, (self.columns / TILE_COLS).saturating_mul(tile), rows, bytes);
        }
        let bytes = cols.start.saturating_mul(width)..cols.end.saturating_mul(width);
        let rows = self.number.stored_rows(&rows);
        Slab::rectangle(self.leaf, self.columns.saturating_mul(width), rows, bytes)
    }

    /// The numbers of a region, from the bytes of [`Self::slab`].
    pub(crate) fn view(&self, region: &Region, bytes: &[u8]) -> GridView {
        let [down, across] = self.block;
        let (mut row, mut col) = (region.rows.start / down, region.cols.start / across);
        let mut width = region.cols.end.div_ceil(across).saturating_sub(col);
        if self.is_tiled {
            let end = col.saturating_add(width).div_ceil(TILE_COLS);
            (row, col) = (row / TILE_ROWS, col / TILE_COLS);
            width = end.saturating_sub(col);
        }
        let values = match self.number {
            Number::Down(bits) => unpacked(bytes, bits, &(row..region.rows.end.div_ceil(down)), width),
            number => number.values(bytes),
        };
        GridView { values, block: self.block, first: [row, col], width, is_tiled: self.is_tiled }
    }
}

/// Sides of a tiled grid, padded to whole tiles.
pub(crate) fn tiled_sides([rows, cols]: [u64; 2], block: u64) -> [u64; 2] {
    [round_up(rows, TILE_ROWS), round_up(cols.div_ceil(block.max(1)), TILE_COLS)]
}

/// The numbers of a region.
pub(crate) struct GridView {
    values: Vec<f32>,
    block: [u64; 2],
    /// First row and column of the grid that the region touches; of tiles where it is tiled.
    first: [u64; 2],
    /// Numbers in a row of `values`, or tiles.
    width: u64,
    is_tiled: bool,
}

impl GridView {
    /// The number of a weight, by its row and column in the whole matrix; NaN outside the region.
    pub(crate) fn at(&self, row: u64, col: u64) -> f32 {
        let (row, col) = (row / self.block[0], col / self.block[1]);
        let from = |place: u64, side: usize| place.checked_sub(self.first[side]);
        let place = if self.is_tiled {
            let tile = from(row / TILE_ROWS, 0).zip(from(col / TILE_COLS, 1));
            let within = tiled_offset(row % TILE_ROWS, col % TILE_COLS, TILE_COLS);
            let tile = tile.and_then(|(r, c)| r.checked_mul(self.width)?.checked_add(c));
            tile.and_then(|t| t.checked_mul(TILE_ROWS * TILE_COLS)?.checked_add(within))
        } else {
            let place = from(row, 0).zip(from(col, 1).filter(|&col| col < self.width));
            place.and_then(|(r, c)| r.checked_mul(self.width)?.checked_add(c))
        };
        place.and_then(|at| self.values.get(index(at))).copied().unwrap_or(f32::NAN)
    }

    /// A column of the weight under the number of that place in its row.
    pub(crate) fn column_of(&self, place: u64) -> u64 {
        place.saturating_mul(self.block[1])
    }

    /// The first column after `col` that has another number.
    pub(crate) fn next_stop(&self, col: u64) -> u64 {
        (col / self.block[1]).saturating_add(1).saturating_mul(self.block[1])
    }
}
