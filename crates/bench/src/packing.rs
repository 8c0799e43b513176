//! BF16 matrices to NVFP4 and FP8, by the kernels: from the bytes of a weight to codes and scales, maxima included.

use crate::Contestant;
use crate::machine::{self, bytes, shared};
use anyhow::{Context as _, Result, ensure};
use futures_util::FutureExt as _;
use quantscope_kernels::block_absmax::BlockSize;
use quantscope_kernels::nvfp4_quantize::{CodeCast, Nvfp4Block, Nvfp4Table, ScaleRange};
use quantscope_kernels::nvfp4_search::{ScaleSearch, SearchMethod};
use quantscope_kernels::{
    CpuEngine, Engine as _, EngineError, FloatTile, FloatType, Fp8Rule, Nvfp4Out, QuotientRounding, ScaleGrid,
};
use std::path::Path;

/// Side of an FP8 tile.
const TILE: u32 = 128;

/// A matrix and the room for what is made of it.
pub(crate) struct Matrix {
    source: Vec<u8>,
    rows: u32,
    cols: u32,
    /// Codes of the result.
    pub(crate) codes: Vec<u8>,
    /// Scales of the result.
    pub(crate) scales: Vec<u8>,
    maxima: Vec<u32>,
}

impl Matrix {
    /// The first rows of a matrix of BF16 in a file, and room for `code_bytes` and `scale_bytes` a row.
    pub(crate) fn open(
        file: &Path,
        rows: u32,
        cols: u32,
        [code_bytes, scale_bytes]: [u32; 2],
    ) -> Result<Self> {
        let mut source = bytes(file)?;
        let len = rows as usize * cols as usize * 2;
        ensure!(len <= source.len(), "{} has no {rows} rows of {cols}", file.display());
        source.truncate(len);
        let room = |bytes: u32| vec![0; rows as usize * bytes as usize];
        let tiles = rows.div_ceil(TILE) as usize * cols.div_ceil(TILE) as usize;
        let (codes, scales) = (room(code_bytes), room(scale_bytes));
        Ok(Self { source, rows, cols, codes, scales, maxima: vec![0; tiles] })
    }

    /// Its values as the kernels take them.
    pub(crate) fn tile(&self) -> FloatTile<'_> {
        FloatTile { dtype: FloatType::Bf16, bytes: &self.source, rows: self.rows, cols: self.cols }
    }

    /// A check of codes and scales.
    pub(crate) fn check(&self) -> u64 {
        machine::check(&[&self.codes, &self.scales])
    }
}

/// What the CPU engine answers, which it does at once.
pub(crate) fn now<T>(answer: impl Future<Output = Result<T, EngineError>>) -> Result<T> {
    Ok(answer.now_or_never().context("the CPU engine answers at once")??)
}

/// The largest magnitude of a matrix.
pub(crate) fn largest(matrix: &Matrix) -> Result<f32> {
    Ok(now(CpuEngine::new().absmax(matrix.tile()))?.value())
}

fn quantize(matrix: &mut Matrix, table: &Nvfp4Table) -> Result<()> {
    let (mut codes, mut scales) = (std::mem::take(&mut matrix.codes), std::mem::take(&mut matrix.scales));
    let out = Nvfp4Out { codes: &mut codes, scales: &mut scales };
    let done = now(CpuEngine::new().nvfp4_quantize(matrix.tile(), table, out));
    (matrix.codes, matrix.scales) = (codes, scales);
    done
}

fn half_and_sixteenth(cols: u32) -> [u32; 2] {
    let blocks = cols.div_ceil(16);
    [blocks * 8, blocks]
}

/// The maximum, then block scales and codes.
pub(crate) fn nvfp4(file: &Path, rows: u32, cols: u32) -> Result<Contestant> {
    let matrix = Matrix::open(file, rows, cols, half_and_sixteenth(cols))?;
    let run = |matrix: &mut Matrix| {
        let table = Nvfp4Table::dynamic(largest(matrix)? / 2688.0, Nvfp4Block::Of16, CodeCast::Keep);
        quantize(matrix, &table)
    };
    Ok(shared(matrix, run, Matrix::check))
}

/// Block scales and codes of a matrix whose maximum is known, as while converting, where it is found with the hash.
pub(crate) fn nvfp4_codes(file: &Path, rows: u32, cols: u32) -> Result<Contestant> {
    let matrix = Matrix::open(file, rows, cols, half_and_sixteenth(cols))?;
    let table = Nvfp4Table::dynamic(largest(&matrix)? / 2688.0, Nvfp4Block::Of16, CodeCast::Keep);
    Ok(shared(matrix, move |matrix| quantize(matrix, &table), Matrix::check))
}

/// The maximum, the scales of least error out of 126 for each block, and the codes under them.
pub(crate) fn nvfp4_mse(file: &Path, rows: u32, cols: u32) -> Result<Contestant> {
    let matrix = Matrix::open(file, rows, cols, half_and_sixteenth(cols))?;
    let run = |matrix: &mut Matrix| {
        let global = largest(matrix)?;
        let search = ScaleSearch { method: SearchMethod::SweepE4m3, global };
        let mut scales = std::mem::take(&mut matrix.scales);
        now(CpuEngine::new().nvfp4_search(matrix.tile(), &search, &mut scales))?;
        let table = Nvfp4Table::fixed(global, ScaleRange::Full, CodeCast::Keep);
        let mut codes = std::mem::take(&mut matrix.codes);
        let done = now(CpuEngine::new().nvfp4_encode(matrix.tile(), &table, &scales, &mut codes));
        (matrix.codes, matrix.scales) = (codes, scales);
        done
    };
    Ok(shared(matrix, run, Matrix::check))
}

/// The maximum of each tile of 128 by 128, its scale, and the codes: a row of tiles at a time, as a conversion takes a
/// weight in bands.
pub(crate) fn fp8_block(file: &Path, rows: u32, cols: u32) -> Result<Contestant> {
    let matrix = Matrix::open(file, rows, cols, [cols, 0])?;
    let run = |matrix: &mut Matrix| {
        let Matrix { source, cols, codes, maxima, .. } = matrix;
        let (cols, band) = (*cols, TILE as usize * *cols as usize);
        let bands = source.chunks(2 * band).zip(codes.chunks_mut(band));
        for ((bytes, codes), scales) in bands.zip(maxima.chunks_mut(cols.div_ceil(TILE) as usize)) {
            let rows = u32::try_from(codes.len())?.checked_div(cols).context("a matrix without columns")?;
            fp8_band(FloatTile { dtype: FloatType::Bf16, bytes, rows, cols }, scales, codes)?;
        }
        Ok(())
    };
    Ok(shared(matrix, run, Matrix::check))
}

fn fp8_band(tile: FloatTile<'_>, scales: &mut [u32], codes: &mut [u8]) -> Result<()> {
    let engine = CpuEngine::new();
    now(engine.block_absmax(tile, BlockSize { rows: TILE, cols: TILE }, scales))?;
    for scale in &mut *scales {
        *scale = (f32::from_bits(*scale) / 448.0).to_bits();
    }
    let scale_cols = tile.cols.div_ceil(TILE);
    let grid = ScaleGrid { scales, block_rows: TILE, block_cols: TILE, scale_cols, first_row: 0 };
    let rule = Fp8Rule { cast: CodeCast::Keep, quotient: QuotientRounding::None };
    now(engine.fp8_encode(tile, grid, rule, codes))
}
