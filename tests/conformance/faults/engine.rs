//! An engine behind a trap, with the arithmetic of the CPU twin.

use super::{Door, Trap, Way};
use futures_util::future::LocalBoxFuture;
use quantscope_kernels::block_absmax::BlockSize;
use quantscope_kernels::error_metrics::ErrorMetrics;
use quantscope_kernels::nvfp4_quantize::{CodeCast, Nvfp4Table};
use quantscope_kernels::nvfp4_search::ScaleSearch;
use quantscope_kernels::{
    AbsMax, ByteCensus, CpuEngine, Engine, EngineError, EngineKind, FloatTile, Fp4DecodeTable, Fp4Tile,
    Fp8Census, Fp8Rule, Fp8Tile, MxElement, Nvfp4Census, Nvfp4Out, Nvfp4Tile, ScaleCensus, ScaleGrid,
};
use std::cell::Cell;
use std::rc::Rc;

/// An engine that passes for a GPU or for the CPU. A device that was lost stays lost.
pub struct TrappedEngine {
    trap: Rc<Trap>,
    door: Door,
    cpu: CpuEngine,
    lost: Cell<bool>,
}

impl TrappedEngine {
    /// An engine behind [`Door::Gpu`] or [`Door::Cpu`].
    #[must_use]
    pub fn new(trap: Rc<Trap>, door: Door) -> Self {
        Self { trap, door, cpu: CpuEngine::new(), lost: Cell::new(false) }
    }

    async fn pass(&self, kernel: &str) -> Result<(), EngineError> {
        let way = self.trap.pass(self.door, kernel);
        if way == Some(Way::Stopped) {
            return self.trap.stop().await;
        }
        if way == Some(Way::Lost) || self.lost.get() {
            self.lost.set(true);
            return Err(EngineError::DeviceLost("the driver was reset".into()));
        }
        match way {
            Some(_) => Err(EngineError::Refused("a buffer cannot be mapped".into())),
            None => Ok(()),
        }
    }
}

/// Runs a call on the CPU twin behind the trap.
macro_rules! behind {
    ($self:ident, $kernel:ident($($argument:expr),*)) => {
        Box::pin(async move {
            $self.pass(stringify!($kernel)).await?;
            $self.cpu.$kernel($($argument),*).await
        })
    };
}

impl Engine for TrappedEngine {
    fn kind(&self) -> EngineKind {
        if self.door == Door::Gpu { EngineKind::Gpu } else { EngineKind::Cpu }
    }

    fn description(&self) -> String {
        "an engine of the tests".into()
    }

    fn absmax<'a>(&'a self, tile: FloatTile<'a>) -> LocalBoxFuture<'a, Result<AbsMax, EngineError>> {
        behind!(self, absmax(tile))
    }

    fn block_absmax<'a>(
        &'a self,
        tile: FloatTile<'a>,
        block: BlockSize,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        behind!(self, block_absmax(tile, block, out))
    }

    fn nvfp4_quantize<'a>(
        &'a self,
        tile: FloatTile<'a>,
        table: &'a Nvfp4Table,
        out: Nvfp4Out<'a>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        behind!(self, nvfp4_quantize(tile, table, out))
    }

    fn nvfp4_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        table: &'a Nvfp4Table,
        scales: &'a [u8],
        codes: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        behind!(self, nvfp4_encode(tile, table, scales, codes))
    }

    fn nvfp4_search<'a>(
        &'a self,
        tile: FloatTile<'a>,
        search: &'a ScaleSearch,
        scales: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        behind!(self, nvfp4_search(tile, search, scales))
    }

    fn nvfp4_verify<'a>(
        &'a self,
        tile: Nvfp4Tile<'a>,
    ) -> LocalBoxFuture<'a, Result<Nvfp4Census, EngineError>> {
        behind!(self, nvfp4_verify(tile))
    }

    fn fp8_verify<'a>(&'a self, tile: Fp8Tile<'a>) -> LocalBoxFuture<'a, Result<Fp8Census, EngineError>> {
        behind!(self, fp8_verify(tile))
    }

    fn scale_verify<'a>(&'a self, scales: &'a [u32]) -> LocalBoxFuture<'a, Result<ScaleCensus, EngineError>> {
        behind!(self, scale_verify(scales))
    }

    fn fp8_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        grid: ScaleGrid<'a>,
        rule: Fp8Rule,
        codes: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        behind!(self, fp8_encode(tile, grid, rule, codes))
    }

    fn fp8_decode<'a>(
        &'a self,
        tile: Fp8Tile<'a>,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        behind!(self, fp8_decode(tile, out))
    }

    fn mx_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        element: MxElement,
        cast: CodeCast,
        codes: &'a mut [u8],
        scales: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        behind!(self, mx_encode(tile, element, cast, codes, scales))
    }

    fn fp4_decode<'a>(
        &'a self,
        tile: Fp4Tile<'a>,
        table: &'a Fp4DecodeTable,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        behind!(self, fp4_decode(tile, table, out))
    }

    fn error_metrics<'a>(
        &'a self,
        tile: FloatTile<'a>,
        decoded: &'a [u32],
    ) -> LocalBoxFuture<'a, Result<ErrorMetrics, EngineError>> {
        behind!(self, error_metrics(tile, decoded))
    }

    fn fp4_errors<'a>(
        &'a self,
        source: FloatTile<'a>,
        packed: Fp4Tile<'a>,
        table: &'a Fp4DecodeTable,
    ) -> LocalBoxFuture<'a, Result<ErrorMetrics, EngineError>> {
        behind!(self, fp4_errors(source, packed, table))
    }

    fn byte_census<'a>(&'a self, bytes: &'a [u8]) -> LocalBoxFuture<'a, Result<ByteCensus, EngineError>> {
        behind!(self, byte_census(bytes))
    }
}
