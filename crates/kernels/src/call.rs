//! A kernel call as plain data, so that it can be sent to where its rows are worked on.
//!
//! The buffers are not part of it. Each kernel has a fixed list of inputs and outputs (see [`Call`]), every one
//! of them bytes; words are little-endian, four bytes each. Rows follow each other in all of them, so that a
//! band of rows of the call is a band of bytes of each buffer.

use crate::block_absmax::BlockSize;
use crate::byte_census::ByteCensus;
use crate::cpu_engine::CpuEngine;
use crate::engine::{
    AbsMax, EngineError, FloatTile, FloatType, Fp8Census, Fp8Tile, Nvfp4Census, Nvfp4Out, Nvfp4Tile,
    ScaleCensus,
};
use crate::error_metrics::ErrorMetrics;
use crate::fp4_decode::{Fp4DecodeTable, Fp4Tile, Nibbles};
use crate::fp8_encode::Fp8Rule;
use crate::mx_encode::{self, MxElement};
use crate::nvfp4_quantize::{BLOCK, CodeCast, Nvfp4Block, Nvfp4Table, ScaleRule};
use crate::nvfp4_search::ScaleSearch;
use crate::scale_grid::ScaleGrid;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The shape of a tile of plain floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Element type.
    pub dtype: FloatType,
    /// Number of rows.
    pub rows: u32,
    /// Elements in a row.
    pub cols: u32,
}

/// The shape of packed FP4 codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedShape {
    /// Number of rows.
    pub rows: u32,
    /// Blocks in a row.
    pub blocks: u32,
    /// Elements in a block.
    pub block: u32,
}

/// FP8 codes and how scales govern them, without the scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Governed {
    /// Number of rows.
    pub rows: u32,
    /// Elements in a row.
    pub cols: u32,
    /// As in [`ScaleGrid`].
    pub block_rows: u32,
    /// As in [`ScaleGrid`].
    pub block_cols: u32,
    /// As in [`ScaleGrid`].
    pub scale_cols: u32,
    /// As in [`ScaleGrid`].
    pub first_row: u32,
}

/// What [`Nvfp4Table`] is made of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TableKey {
    /// How scales are made of block maxima.
    pub rule: ScaleRule,
    /// How many elements share a scale.
    pub block: Nvfp4Block,
    /// The cast the codes are taken after.
    pub cast: CodeCast,
}

/// A kernel call. The comments name inputs and outputs in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Call {
    /// Floats; nothing.
    AbsMax(Shape),
    /// Floats; maxima (words).
    BlockAbsMax(Shape, BlockSize),
    /// Floats; codes, scales.
    Nvfp4Quantize(Shape, TableKey),
    /// Floats, scales; codes.
    Nvfp4Encode(Shape, TableKey),
    /// Floats; scales.
    Nvfp4Search(Shape, ScaleSearch),
    /// Codes, scales; nothing. Beside the shape, the elements of a row that are not padding.
    Nvfp4Verify(PackedShape, u32),
    /// Codes, scales of the grid (words); nothing.
    Fp8Verify(Governed),
    /// Scales (words), as many as the rows told; nothing.
    ScaleVerify(u32),
    /// Floats, scales of the grid (words); codes.
    Fp8Encode(FloatType, Governed, Fp8Rule),
    /// Codes, scales of the grid (words); values (words).
    Fp8Decode(Governed),
    /// Floats; codes, scales.
    MxEncode(Shape, MxElement, CodeCast),
    /// Codes, scales, products of the table (words); values (words).
    Fp4Decode(PackedShape, Nibbles),
    /// Floats, decoded values (words); nothing.
    ErrorMetrics(Shape),
    /// Floats, codes, scales, products of the table (words); nothing.
    Fp4Errors(Shape, PackedShape, Nibbles),
    /// Bytes, as many as the rows told; nothing.
    ByteCensus(u32),
}

/// What a call says beside what it writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Summary {
    /// It only writes.
    Nothing,
    /// The largest magnitude.
    AbsMax(Box<AbsMax>),
    /// Of a packed NVFP4 tile.
    Nvfp4(Box<Nvfp4Census>),
    /// Of an FP8 tile.
    Fp8(Box<Fp8Census>),
    /// Of scales.
    Scales(Box<ScaleCensus>),
    /// Of decoded values.
    Errors(Box<ErrorMetrics>),
    /// Of bytes.
    Bytes(Box<ByteCensus>),
}

/// Bytes that a unit of rows has in each buffer; `None` where all units need the whole buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strides {
    /// Inputs.
    pub inputs: Vec<Option<u64>>,
    /// Outputs. Those of the last unit may be shorter only if no bytes are left.
    pub outputs: Vec<u64>,
}

impl Governed {
    /// Shape and grid of a tile.
    #[must_use]
    pub fn new(rows: u32, cols: u32, grid: &ScaleGrid<'_>) -> Self {
        let ScaleGrid { block_rows, block_cols, scale_cols, first_row, .. } = *grid;
        Self { rows, cols, block_rows, block_cols, scale_cols, first_row }
    }

    fn grid<'a>(&self, scales: &'a [u32]) -> ScaleGrid<'a> {
        let Self { block_rows, block_cols, scale_cols, first_row, .. } = *self;
        ScaleGrid { scales, block_rows, block_cols, scale_cols, first_row }
    }

    fn tile<'a>(&self, codes: &'a [u8], scales: &'a [u32]) -> Fp8Tile<'a> {
        Fp8Tile { codes, rows: self.rows, cols: self.cols, grid: self.grid(scales) }
    }

    fn band(&self, rows: &Range<u32>) -> Self {
        let first_row = self.first_row.saturating_add(rows.start);
        Self { rows: rows.end - rows.start, first_row, ..*self }
    }
}

impl Shape {
    fn tile<'a>(&self, bytes: &'a [u8]) -> FloatTile<'a> {
        FloatTile { dtype: self.dtype, bytes, rows: self.rows, cols: self.cols }
    }

    fn row_bytes(&self) -> u64 {
        u64::from(self.cols) * self.dtype.bytes() as u64
    }
}

impl From<FloatTile<'_>> for Shape {
    fn from(tile: FloatTile<'_>) -> Self {
        Self { dtype: tile.dtype, rows: tile.rows, cols: tile.cols }
    }
}

impl From<&Nvfp4Table> for TableKey {
    fn from(table: &Nvfp4Table) -> Self {
        Self { rule: table.rule(), block: table.block(), cast: table.cast() }
    }
}

impl TableKey {
    fn table(&self) -> Nvfp4Table {
        Nvfp4Table::new(self.rule, self.block, self.cast)
    }

    fn blocks(&self, shape: &Shape) -> u64 {
        u64::from(shape.cols.div_ceil(self.block.elems()))
    }
}

impl PackedShape {
    fn row_codes(&self) -> u64 {
        u64::from(self.blocks) * u64::from(self.block / 2)
    }
}

impl Call {
    /// Rows, and how many of them belong together: bands begin at multiples of that.
    #[must_use]
    pub fn rows(&self) -> (u32, u32) {
        match self {
            Self::BlockAbsMax(shape, block) => (shape.rows, block.rows.max(1)),
            Self::AbsMax(shape)
            | Self::Nvfp4Quantize(shape, _)
            | Self::Nvfp4Encode(shape, _)
            | Self::Nvfp4Search(shape, _)
            | Self::MxEncode(shape, ..)
            | Self::Fp4Errors(shape, ..)
            | Self::ErrorMetrics(shape) => (shape.rows, 1),
            Self::Nvfp4Verify(packed, _) | Self::Fp4Decode(packed, _) => (packed.rows, 1),
            Self::Fp8Verify(governed) | Self::Fp8Encode(_, governed, _) | Self::Fp8Decode(governed) => {
                (governed.rows, 1)
            }
            Self::ScaleVerify(count) | Self::ByteCensus(count) => (*count, 1),
        }
    }

    /// The same call on some of the rows. They lie within those of the call, and begin where a unit does.
    #[must_use]
    pub fn band(&self, rows: &Range<u32>) -> Self {
        let count = rows.end - rows.start;
        let mut band = self.clone();
        match &mut band {
            Self::BlockAbsMax(shape, _)
            | Self::AbsMax(shape)
            | Self::Nvfp4Quantize(shape, _)
            | Self::Nvfp4Encode(shape, _)
            | Self::Nvfp4Search(shape, _)
            | Self::MxEncode(shape, ..)
            | Self::ErrorMetrics(shape) => shape.rows = count,
            Self::Fp4Errors(shape, packed, _) => (shape.rows, packed.rows) = (count, count),
            Self::Nvfp4Verify(packed, _) | Self::Fp4Decode(packed, _) => packed.rows = count,
            Self::Fp8Verify(governed) | Self::Fp8Encode(_, governed, _) | Self::Fp8Decode(governed) => {
                *governed = governed.band(rows);
            }
            Self::ScaleVerify(of) | Self::ByteCensus(of) => *of = count,
        }
        band
    }

    /// Bytes of a unit of rows in each buffer.
    #[must_use]
    pub fn strides(&self) -> Strides {
        let (inputs, outputs) = match self {
            Self::AbsMax(shape) => (vec![Some(shape.row_bytes())], vec![]),
            Self::BlockAbsMax(shape, block) => {
                let rows = u64::from(block.rows.clamp(1, shape.rows.max(1)));
                let [_, across] = block.grid(shape.rows, shape.cols);
                (vec![Some(shape.row_bytes() * rows)], vec![u64::from(across) * 4])
            }
            Self::Nvfp4Quantize(shape, key) => {
                let blocks = key.blocks(shape);
                (vec![Some(shape.row_bytes())], vec![blocks * key.block.code_bytes() as u64, blocks])
            }
            Self::Nvfp4Encode(shape, key) => {
                let blocks = key.blocks(shape);
                let codes = blocks * key.block.code_bytes() as u64;
                (vec![Some(shape.row_bytes()), Some(blocks)], vec![codes])
            }
            Self::Nvfp4Search(shape, _) => {
                (vec![Some(shape.row_bytes())], vec![u64::from(shape.cols.div_ceil(BLOCK))])
            }
            Self::Nvfp4Verify(packed, _) => {
                (vec![Some(packed.row_codes()), Some(packed.blocks.into())], vec![])
            }
            Self::Fp8Verify(governed) => (vec![Some(governed.cols.into()), None], vec![]),
            Self::ScaleVerify(_) => (vec![Some(4)], vec![]),
            Self::Fp8Encode(dtype, governed, _) => {
                let row = u64::from(governed.cols) * dtype.bytes() as u64;
                (vec![Some(row), None], vec![governed.cols.into()])
            }
            Self::Fp8Decode(governed) => {
                (vec![Some(governed.cols.into()), None], vec![u64::from(governed.cols) * 4])
            }
            Self::MxEncode(shape, element, _) => {
                let blocks = u64::from(shape.cols.div_ceil(mx_encode::BLOCK));
                (vec![Some(shape.row_bytes())], vec![blocks * u64::from(element.block_bytes()), blocks])
            }
            Self::Fp4Decode(packed, _) => {
                let values = u64::from(packed.blocks) * u64::from(packed.block) * 4;
                (vec![Some(packed.row_codes()), Some(packed.blocks.into()), None], vec![values])
            }
            Self::ErrorMetrics(shape) => {
                (vec![Some(shape.row_bytes()), Some(u64::from(shape.cols) * 4)], vec![])
            }
            Self::Fp4Errors(shape, packed, _) => {
                let packed = [Some(packed.row_codes()), Some(packed.blocks.into()), None];
                ([Some(shape.row_bytes())].into_iter().chain(packed).collect(), vec![])
            }
            Self::ByteCensus(_) => (vec![Some(1)], vec![]),
        };
        Strides { inputs, outputs }
    }

    /// Bytes that the outputs have in all.
    #[must_use]
    pub fn output_lengths(&self) -> Vec<u64> {
        let (rows, unit) = self.rows();
        let units = u64::from(rows.div_ceil(unit));
        self.strides().outputs.into_iter().map(|stride| stride.saturating_mul(units)).collect()
    }

    /// Does the call with the CPU twin.
    ///
    /// # Errors
    /// [`EngineError::TileSize`] if a buffer is not as long as the call says.
    pub fn run(&self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> Result<Summary, EngineError> {
        let input = |i: usize| inputs.get(i).copied().unwrap_or_default();
        let input_words = |i: usize| words_of(input(i));
        let mut nothing: [u8; 0] = [];
        let (first, second) = match outputs {
            [first, second, ..] => (&mut **first, &mut **second),
            [first] => (&mut **first, &mut nothing[..]),
            [] => (&mut [][..], &mut nothing[..]),
        };
        match self {
            Self::AbsMax(shape) => {
                return CpuEngine::absmax_now(&shape.tile(input(0)))
                    .map(|found| Summary::AbsMax(Box::new(found)));
            }
            Self::BlockAbsMax(shape, block) => {
                words(first, |out| CpuEngine::block_absmax_now(&shape.tile(input(0)), *block, out))?;
            }
            Self::Nvfp4Quantize(shape, key) => {
                let mut out = Nvfp4Out { codes: first, scales: second };
                CpuEngine::quantize_now(&shape.tile(input(0)), &key.table(), &mut out)?;
            }
            Self::Nvfp4Encode(shape, key) => {
                CpuEngine::encode_now(&shape.tile(input(0)), &key.table(), input(1), first)?;
            }
            Self::Nvfp4Search(shape, search) => {
                CpuEngine::search_now(&shape.tile(input(0)), search, first)?;
            }
            Self::Nvfp4Verify(PackedShape { rows, blocks, block }, logical_cols) => {
                let (codes, scales) = (input(0), input(1));
                let (rows, blocks, block, logical_cols) = (*rows, *blocks, *block, *logical_cols);
                let tile = Nvfp4Tile { codes, scales, rows, blocks, block, logical_cols };
                return CpuEngine::nvfp4_census_now(&tile).map(|census| Summary::Nvfp4(Box::new(census)));
            }
            Self::Fp8Verify(governed) => {
                let census = CpuEngine::fp8_census_now(&governed.tile(input(0), &input_words(1)))?;
                return Ok(Summary::Fp8(Box::new(census)));
            }
            Self::ScaleVerify(_) => {
                return Ok(Summary::Scales(Box::new(CpuEngine::scale_census_now(&input_words(0)))));
            }
            Self::Fp8Encode(dtype, governed, rule) => {
                let shape = Shape { dtype: *dtype, rows: governed.rows, cols: governed.cols };
                let scales = input_words(1);
                CpuEngine::fp8_encode_now(&shape.tile(input(0)), governed.grid(&scales), *rule, first)?;
            }
            Self::Fp8Decode(governed) => {
                words(first, |out| {
                    CpuEngine::fp8_decode_now(&governed.tile(input(0), &input_words(1)), out)
                })?;
            }
            Self::MxEncode(shape, element, cast) => {
                CpuEngine::mx_encode_now(&shape.tile(input(0)), *element, *cast, first, second)?;
            }
            Self::Fp4Decode(PackedShape { rows, blocks, block }, nibbles) => {
                let table = Fp4DecodeTable::from_words(*nibbles, &input_words(2));
                let (codes, scales) = (input(0), input(1));
                let tile = Fp4Tile { codes, scales, rows: *rows, blocks: *blocks, block: *block };
                words(first, |out| CpuEngine::fp4_decode_now(&tile, &table, out))?;
            }
            Self::ErrorMetrics(shape) => {
                let metrics = CpuEngine::error_metrics_now(&shape.tile(input(0)), &input_words(1))?;
                return Ok(Summary::Errors(Box::new(metrics)));
            }
            Self::Fp4Errors(shape, PackedShape { rows, blocks, block }, nibbles) => {
                let table = Fp4DecodeTable::from_words(*nibbles, &input_words(3));
                let (codes, scales) = (input(1), input(2));
                let packed = Fp4Tile { codes, scales, rows: *rows, blocks: *blocks, block: *block };
                let metrics = CpuEngine::fp4_errors_now(&shape.tile(input(0)), &packed, &table)?;
                return Ok(Summary::Errors(Box::new(metrics)));
            }
            Self::ByteCensus(_) => {
                return Ok(Summary::Bytes(Box::new(CpuEngine::byte_census_now(input(0)))));
            }
        }
        Ok(Summary::Nothing)
    }

    /// Adds what a band says whose first row is `row`. Bands come in order; those of one call say the same kind
    /// of thing.
    pub fn add(&self, into: &mut Summary, band: Summary, row: u32) {
        let row = u64::from(row);
        match (into, band) {
            (Summary::AbsMax(into), Summary::AbsMax(band)) => **into = into.max(*band),
            (Summary::Nvfp4(into), Summary::Nvfp4(band)) => {
                let blocks = if let Self::Nvfp4Verify(packed, _) = self { packed.blocks } else { 0 };
                into.add(&band, row * u64::from(blocks));
            }
            (Summary::Fp8(into), Summary::Fp8(band)) => {
                let cols = if let Self::Fp8Verify(governed) = self { governed.cols } else { 0 };
                into.add(&band, row * u64::from(cols));
            }
            (Summary::Scales(into), Summary::Scales(band)) => into.add(&band, row),
            (Summary::Errors(into), Summary::Errors(band)) => into.add(&band),
            (Summary::Bytes(into), Summary::Bytes(band)) => into.add(&band, row),
            (into @ Summary::Nothing, band) => *into = band,
            // Bands of one call differ in nothing but their rows.
            _ => {}
        }
    }
}

/// Little-endian words of an input.
fn words_of(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

/// Runs what writes words on an output of bytes.
fn words(out: &mut [u8], run: impl FnOnce(&mut [u32]) -> Result<(), EngineError>) -> Result<(), EngineError> {
    let mut words = vec![0_u32; out.len() / 4];
    run(&mut words)?;
    for (bytes, word) in out.chunks_exact_mut(4).zip(&words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    Ok(())
}
