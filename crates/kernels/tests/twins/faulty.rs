//! Engines with a planted fault, which every comparison must see.

use futures_util::future::LocalBoxFuture;
use quantscope_kernels::block_absmax::BlockSize;
use quantscope_kernels::error_metrics::ErrorMetrics;
use quantscope_kernels::nvfp4_quantize::{CodeCast, Nvfp4Table};
use quantscope_kernels::nvfp4_search::ScaleSearch;
use quantscope_kernels::{
    AbsMax, ByteCensus, Engine, EngineError, EngineKind, FloatTile, Fp4DecodeTable, Fp4Tile, Fp8Census,
    Fp8Rule, Fp8Tile, MxElement, Nvfp4Census, Nvfp4Out, Nvfp4Tile, ScaleCensus, ScaleGrid,
};

/// An engine that flips one bit of each result: the last code's lowest, or one count's.
pub(crate) struct Flipped<'e>(pub(crate) &'e dyn Engine);

impl Engine for Flipped<'_> {
    fn kind(&self) -> EngineKind {
        self.0.kind()
    }

    fn description(&self) -> String {
        self.0.description()
    }

    fn absmax<'a>(&'a self, tile: FloatTile<'a>) -> LocalBoxFuture<'a, Result<AbsMax, EngineError>> {
        Box::pin(async move { Ok(AbsMax { bits: self.0.absmax(tile).await?.bits ^ 1 }) })
    }

    fn block_absmax<'a>(
        &'a self,
        tile: FloatTile<'a>,
        block: BlockSize,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            self.0.block_absmax(tile, block, &mut *out).await?;
            if let Some(last) = out.last_mut() {
                *last ^= 1;
            }
            Ok(())
        })
    }

    fn nvfp4_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        table: &'a Nvfp4Table,
        scales: &'a [u8],
        codes: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            self.0.nvfp4_encode(tile, table, scales, &mut *codes).await?;
            if let Some(last) = codes.last_mut() {
                *last ^= 0x10;
            }
            Ok(())
        })
    }

    fn nvfp4_quantize<'a>(
        &'a self,
        tile: FloatTile<'a>,
        table: &'a Nvfp4Table,
        out: Nvfp4Out<'a>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            let Nvfp4Out { codes, scales } = out;
            self.0.nvfp4_quantize(tile, table, Nvfp4Out { codes: &mut *codes, scales }).await?;
            if let Some(last) = codes.last_mut() {
                *last ^= 0x10;
            }
            Ok(())
        })
    }

    fn nvfp4_search<'a>(
        &'a self,
        tile: FloatTile<'a>,
        search: &'a ScaleSearch,
        scales: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            self.0.nvfp4_search(tile, search, &mut *scales).await?;
            if let Some(last) = scales.last_mut() {
                *last ^= 1;
            }
            Ok(())
        })
    }

    fn nvfp4_verify<'a>(
        &'a self,
        tile: Nvfp4Tile<'a>,
    ) -> LocalBoxFuture<'a, Result<Nvfp4Census, EngineError>> {
        Box::pin(async move {
            let mut census = self.0.nvfp4_verify(tile).await?;
            census.scales[255] ^= 1;
            Ok(census)
        })
    }

    fn fp8_verify<'a>(&'a self, tile: Fp8Tile<'a>) -> LocalBoxFuture<'a, Result<Fp8Census, EngineError>> {
        Box::pin(async move {
            let mut census = self.0.fp8_verify(tile).await?;
            census.codes[0] ^= 1;
            Ok(census)
        })
    }

    fn scale_verify<'a>(&'a self, scales: &'a [u32]) -> LocalBoxFuture<'a, Result<ScaleCensus, EngineError>> {
        Box::pin(async move {
            let mut census = self.0.scale_verify(scales).await?;
            census.subnormal ^= 1;
            Ok(census)
        })
    }

    fn fp8_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        grid: ScaleGrid<'a>,
        rule: Fp8Rule,
        codes: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            self.0.fp8_encode(tile, grid, rule, &mut *codes).await?;
            codes.iter_mut().rev().take(1).for_each(|last| *last ^= 1);
            Ok(())
        })
    }

    fn fp8_decode<'a>(
        &'a self,
        tile: Fp8Tile<'a>,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            self.0.fp8_decode(tile, &mut *out).await?;
            out.iter_mut().rev().take(1).for_each(|last| *last ^= 1);
            Ok(())
        })
    }

    fn mx_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        element: MxElement,
        cast: CodeCast,
        codes: &'a mut [u8],
        scales: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            self.0.mx_encode(tile, element, cast, codes, &mut *scales).await?;
            scales.iter_mut().rev().take(1).for_each(|last| *last ^= 1);
            Ok(())
        })
    }

    fn fp4_decode<'a>(
        &'a self,
        tile: Fp4Tile<'a>,
        table: &'a Fp4DecodeTable,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            self.0.fp4_decode(tile, table, &mut *out).await?;
            out.iter_mut().rev().take(1).for_each(|last| *last ^= 1);
            Ok(())
        })
    }

    fn error_metrics<'a>(
        &'a self,
        tile: FloatTile<'a>,
        decoded: &'a [u32],
    ) -> LocalBoxFuture<'a, Result<ErrorMetrics, EngineError>> {
        Box::pin(async move {
            let mut metrics = self.0.error_metrics(tile, decoded).await?;
            metrics.max_abs_bits ^= 1;
            Ok(metrics)
        })
    }

    fn byte_census<'a>(&'a self, bytes: &'a [u8]) -> LocalBoxFuture<'a, Result<ByteCensus, EngineError>> {
        Box::pin(async move {
            let mut census = self.0.byte_census(bytes).await?;
            census.first[255] ^= 1;
            Ok(census)
        })
    }
}

/// An engine that works on other inputs than it was given: every bit of them inverted.
pub(crate) struct Inverted<'e>(pub(crate) &'e dyn Engine);

fn inverted(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}

impl Engine for Inverted<'_> {
    fn kind(&self) -> EngineKind {
        self.0.kind()
    }

    fn description(&self) -> String {
        self.0.description()
    }

    fn absmax<'a>(&'a self, tile: FloatTile<'a>) -> LocalBoxFuture<'a, Result<AbsMax, EngineError>> {
        Box::pin(async move { self.0.absmax(FloatTile { bytes: &inverted(tile.bytes), ..tile }).await })
    }

    fn block_absmax<'a>(
        &'a self,
        tile: FloatTile<'a>,
        block: BlockSize,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            self.0.block_absmax(FloatTile { bytes: &inverted(tile.bytes), ..tile }, block, out).await
        })
    }

    fn nvfp4_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        table: &'a Nvfp4Table,
        scales: &'a [u8],
        codes: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            let tile = FloatTile { bytes: &inverted(tile.bytes), ..tile };
            self.0.nvfp4_encode(tile, table, scales, codes).await
        })
    }

    fn nvfp4_quantize<'a>(
        &'a self,
        tile: FloatTile<'a>,
        table: &'a Nvfp4Table,
        out: Nvfp4Out<'a>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            self.0.nvfp4_quantize(FloatTile { bytes: &inverted(tile.bytes), ..tile }, table, out).await
        })
    }

    fn nvfp4_search<'a>(
        &'a self,
        tile: FloatTile<'a>,
        search: &'a ScaleSearch,
        scales: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            let tile = FloatTile { bytes: &inverted(tile.bytes), ..tile };
            self.0.nvfp4_search(tile, search, scales).await
        })
    }

    fn nvfp4_verify<'a>(
        &'a self,
        tile: Nvfp4Tile<'a>,
    ) -> LocalBoxFuture<'a, Result<Nvfp4Census, EngineError>> {
        Box::pin(async move { self.0.nvfp4_verify(Nvfp4Tile { codes: &inverted(tile.codes), ..tile }).await })
    }

    fn fp8_verify<'a>(&'a self, tile: Fp8Tile<'a>) -> LocalBoxFuture<'a, Result<Fp8Census, EngineError>> {
        Box::pin(async move { self.0.fp8_verify(Fp8Tile { codes: &inverted(tile.codes), ..tile }).await })
    }

    fn scale_verify<'a>(&'a self, scales: &'a [u32]) -> LocalBoxFuture<'a, Result<ScaleCensus, EngineError>> {
        Box::pin(async move {
            let scales: Vec<u32> = scales.iter().map(|bits| !bits).collect();
            self.0.scale_verify(&scales).await
        })
    }

    fn fp8_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        grid: ScaleGrid<'a>,
        rule: Fp8Rule,
        codes: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            let tile = FloatTile { bytes: &inverted(tile.bytes), ..tile };
            self.0.fp8_encode(tile, grid, rule, codes).await
        })
    }

    fn fp8_decode<'a>(
        &'a self,
        tile: Fp8Tile<'a>,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(
            async move { self.0.fp8_decode(Fp8Tile { codes: &inverted(tile.codes), ..tile }, out).await },
        )
    }

    fn mx_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        element: MxElement,
        cast: CodeCast,
        codes: &'a mut [u8],
        scales: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            let tile = FloatTile { bytes: &inverted(tile.bytes), ..tile };
            self.0.mx_encode(tile, element, cast, codes, scales).await
        })
    }

    fn fp4_decode<'a>(
        &'a self,
        tile: Fp4Tile<'a>,
        table: &'a Fp4DecodeTable,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            self.0.fp4_decode(Fp4Tile { codes: &inverted(tile.codes), ..tile }, table, out).await
        })
    }

    fn error_metrics<'a>(
        &'a self,
        tile: FloatTile<'a>,
        decoded: &'a [u32],
    ) -> LocalBoxFuture<'a, Result<ErrorMetrics, EngineError>> {
        Box::pin(async move {
            self.0.error_metrics(FloatTile { bytes: &inverted(tile.bytes), ..tile }, decoded).await
        })
    }

    fn byte_census<'a>(&'a self, bytes: &'a [u8]) -> LocalBoxFuture<'a, Result<ByteCensus, EngineError>> {
        Box::pin(async move { self.0.byte_census(&inverted(bytes)).await })
    }
}
