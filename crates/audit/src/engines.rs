//! A GPU engine that may fail, with the CPU twin behind it.
//!
//! Both give the same bits, so the work goes on from the very tile at which the GPU failed.

use futures_util::future::LocalBoxFuture;
use quantscope_kernels::block_absmax::BlockSize;
use quantscope_kernels::error_metrics::ErrorMetrics;
use quantscope_kernels::nvfp4_quantize::{CodeCast, Nvfp4Table};
use quantscope_kernels::nvfp4_search::ScaleSearch;
use quantscope_kernels::{
    AbsMax, ByteCensus, Engine, EngineError, EngineKind, FloatTile, Fp4DecodeTable, Fp4Tile, Fp8Census,
    Fp8Rule, Fp8Tile, MxElement, Nvfp4Census, Nvfp4Out, Nvfp4Tile, ScaleCensus, ScaleGrid,
};
use std::cell::RefCell;

/// The engines a job may use: a GPU if there is one, and the CPU twin, which goes on where the GPU fails.
#[derive(Clone, Copy)]
pub struct Engines<'a> {
    /// The GPU engine, if one is wanted and there.
    pub gpu: Option<&'a dyn Engine>,
    /// The CPU engine.
    pub cpu: &'a dyn Engine,
}

/// Runs on the GPU until it fails, on the CPU from then on.
pub struct FallbackEngine<'a> {
    engines: Engines<'a>,
    failure: RefCell<Option<String>>,
}

impl<'a> FallbackEngine<'a> {
    /// Begins with the GPU, if there is one.
    #[must_use]
    pub fn new(engines: Engines<'a>) -> Self {
        Self { engines, failure: RefCell::default() }
    }

    /// Why the work went from the GPU to the CPU, if it did.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        self.failure.borrow().as_ref().map(|why| format!("{why}; the CPU went on from the same tile"))
    }

    fn gpu(&self) -> Option<&'a dyn Engine> {
        self.engines.gpu.filter(|_| self.failure.borrow().is_none())
    }

    /// Keeps a GPU failure and asks for the CPU; a fault of the caller's is passed on.
    fn give_up(&self, error: EngineError) -> Result<(), EngineError> {
        if matches!(error, EngineError::TileSize { .. }) {
            return Err(error);
        }
        *self.failure.borrow_mut() = Some(error.to_string());
        Ok(())
    }
}

/// Runs a call on the GPU and, if that fails, again on the CPU.
macro_rules! fall_back {
    ($self:ident, |$engine:ident| $call:expr) => {
        Box::pin(async move {
            if let Some($engine) = $self.gpu() {
                match $call.await {
                    Ok(done) => return Ok(done),
                    Err(error) => $self.give_up(error)?,
                }
            }
            let $engine = $self.engines.cpu;
            $call.await
        })
    };
}

impl Engine for FallbackEngine<'_> {
    fn kind(&self) -> EngineKind {
        self.gpu().unwrap_or(self.engines.cpu).kind()
    }

    fn description(&self) -> String {
        self.gpu().unwrap_or(self.engines.cpu).description()
    }

    fn absmax<'a>(&'a self, tile: FloatTile<'a>) -> LocalBoxFuture<'a, Result<AbsMax, EngineError>> {
        fall_back!(self, |engine| engine.absmax(tile))
    }

    fn block_absmax<'a>(
        &'a self,
        tile: FloatTile<'a>,
        block: BlockSize,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        fall_back!(self, |engine| engine.block_absmax(tile, block, &mut *out))
    }

    fn nvfp4_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        table: &'a Nvfp4Table,
        scales: &'a [u8],
        codes: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        fall_back!(self, |engine| engine.nvfp4_encode(tile, table, scales, &mut *codes))
    }

    fn nvfp4_quantize<'a>(
        &'a self,
        tile: FloatTile<'a>,
        table: &'a Nvfp4Table,
        out: Nvfp4Out<'a>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        let Nvfp4Out { codes, scales } = out;
        fall_back!(self, |engine| engine.nvfp4_quantize(
            tile,
            table,
            Nvfp4Out { codes: &mut *codes, scales: &mut *scales }
        ))
    }

    fn nvfp4_search<'a>(
        &'a self,
        tile: FloatTile<'a>,
        search: &'a ScaleSearch,
        scales: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        fall_back!(self, |engine| engine.nvfp4_search(tile, search, &mut *scales))
    }

    fn nvfp4_verify<'a>(
        &'a self,
        tile: Nvfp4Tile<'a>,
    ) -> LocalBoxFuture<'a, Result<Nvfp4Census, EngineError>> {
        fall_back!(self, |engine| engine.nvfp4_verify(tile))
    }

    fn fp8_verify<'a>(&'a self, tile: Fp8Tile<'a>) -> LocalBoxFuture<'a, Result<Fp8Census, EngineError>> {
        fall_back!(self, |engine| engine.fp8_verify(tile))
    }

    fn scale_verify<'a>(&'a self, scales: &'a [u32]) -> LocalBoxFuture<'a, Result<ScaleCensus, EngineError>> {
        fall_back!(self, |engine| engine.scale_verify(scales))
    }

    fn fp8_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        grid: ScaleGrid<'a>,
        rule: Fp8Rule,
        codes: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        fall_back!(self, |engine| engine.fp8_encode(tile, grid, rule, &mut *codes))
    }

    fn fp8_decode<'a>(
        &'a self,
        tile: Fp8Tile<'a>,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        fall_back!(self, |engine| engine.fp8_decode(tile, &mut *out))
    }

    fn mx_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        element: MxElement,
        cast: CodeCast,
        codes: &'a mut [u8],
        scales: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        fall_back!(self, |engine| engine.mx_encode(tile, element, cast, &mut *codes, &mut *scales))
    }

    fn fp4_decode<'a>(
        &'a self,
        tile: Fp4Tile<'a>,
        table: &'a Fp4DecodeTable,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        fall_back!(self, |engine| engine.fp4_decode(tile, table, &mut *out))
    }

    fn error_metrics<'a>(
        &'a self,
        tile: FloatTile<'a>,
        decoded: &'a [u32],
    ) -> LocalBoxFuture<'a, Result<ErrorMetrics, EngineError>> {
        fall_back!(self, |engine| engine.error_metrics(tile, decoded))
    }

    fn fp4_errors<'a>(
        &'a self,
        source: FloatTile<'a>,
        packed: Fp4Tile<'a>,
        table: &'a Fp4DecodeTable,
    ) -> LocalBoxFuture<'a, Result<ErrorMetrics, EngineError>> {
        fall_back!(self, |engine| engine.fp4_errors(source, packed, table))
    }

    fn byte_census<'a>(&'a self, bytes: &'a [u8]) -> LocalBoxFuture<'a, Result<ByteCensus, EngineError>> {
        fall_back!(self, |engine| engine.byte_census(bytes))
    }
}
