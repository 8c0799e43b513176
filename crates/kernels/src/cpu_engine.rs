//! The engine that is always there: the CPU twins, natively on every core.

use crate::engine::{
    AbsMax, Engine, EngineError, EngineKind, FloatTile, Fp8Census, Fp8Tile, Nvfp4Census, Nvfp4Out, Nvfp4Tile,
    ScaleCensus,
};
use crate::nvfp4_quantize::Nvfp4Table;
use crate::{absmax, fp8_verify, nvfp4_quantize, nvfp4_verify, parts, scale_verify};
use futures_util::future::LocalBoxFuture;

/// Bytes of source a thread takes at a time: large enough that handing out parts costs nothing.
const PART_BYTES: usize = 1 << 18;

/// The CPU twins as an engine. Work is divided among threads where there are any; the results do not
/// depend on how.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuEngine {}

impl CpuEngine {
    /// The engine.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }

    fn absmax_now(tile: &FloatTile<'_>) -> Result<AbsMax, EngineError> {
        tile.check()?;
        let maxima = parts::map(tile.bytes.chunks(PART_BYTES), |part| absmax::cpu::absmax(tile.dtype, part));
        Ok(maxima.into_iter().fold(AbsMax::default(), AbsMax::max))
    }

    fn quantize_now(
        tile: &FloatTile<'_>,
        table: &Nvfp4Table,
        out: &mut Nvfp4Out<'_>,
    ) -> Result<(), EngineError> {
        tile.check()?;
        out.check(tile)?;
        let blocks = PART_BYTES / 16 / tile.dtype.bytes();
        let places = out.codes.chunks_mut(8 * blocks).zip(out.scales.chunks_mut(blocks)).enumerate();
        parts::map(places, |(i, (codes, scales))| {
            nvfp4_quantize::cpu::quantize(tile, table, i * blocks, codes, scales);
        });
        Ok(())
    }

    fn nvfp4_census_now(tile: &Nvfp4Tile<'_>) -> Result<Nvfp4Census, EngineError> {
        tile.check()?;
        let blocks = PART_BYTES / 8;
        let places = tile.codes.chunks(8 * blocks).zip(tile.scales.chunks(blocks)).enumerate();
        let parts = parts::map(places, |(i, (codes, scales))| {
            nvfp4_verify::cpu::census(tile, i * blocks, codes, scales)
        });
        let mut census = Nvfp4Census::default();
        for part in parts {
            census.add(&part, 0);
        }
        Ok(census)
    }

    fn fp8_census_now(tile: &Fp8Tile<'_>) -> Result<Fp8Census, EngineError> {
        tile.check()?;
        let mut census = Fp8Census::default();
        let cols = tile.cols as usize;
        if tile.rows == 0 || cols == 0 {
            return Ok(census);
        }
        let rows = (PART_BYTES / cols).max(1);
        let parts = parts::map(tile.codes.chunks(rows * cols).enumerate(), |(i, codes)| {
            fp8_verify::cpu::census(tile, i * rows, codes)
        });
        for (i, part) in parts.iter().enumerate() {
            census.add(part, (i * rows * cols) as u64);
        }
        Ok(census)
    }

    fn scale_census_now(scales: &[u32]) -> ScaleCensus {
        let size = PART_BYTES / 4;
        let mut census = ScaleCensus::default();
        for (i, part) in parts::map(scales.chunks(size), scale_verify::cpu::census).iter().enumerate() {
            census.add(part, (i * size) as u64);
        }
        census
    }
}

impl Engine for CpuEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Cpu
    }

    fn description(&self) -> String {
        parts::description()
    }

    fn absmax<'a>(&'a self, tile: FloatTile<'a>) -> LocalBoxFuture<'a, Result<AbsMax, EngineError>> {
        Box::pin(async move { Self::absmax_now(&tile) })
    }

    fn nvfp4_quantize<'a>(
        &'a self,
        tile: FloatTile<'a>,
        table: &'a Nvfp4Table,
        mut out: Nvfp4Out<'a>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move { Self::quantize_now(&tile, table, &mut out) })
    }

    fn nvfp4_verify<'a>(
        &'a self,
        tile: Nvfp4Tile<'a>,
    ) -> LocalBoxFuture<'a, Result<Nvfp4Census, EngineError>> {
        Box::pin(async move { Self::nvfp4_census_now(&tile) })
    }

    fn fp8_verify<'a>(&'a self, tile: Fp8Tile<'a>) -> LocalBoxFuture<'a, Result<Fp8Census, EngineError>> {
        Box::pin(async move { Self::fp8_census_now(&tile) })
    }

    fn scale_verify<'a>(&'a self, scales: &'a [u32]) -> LocalBoxFuture<'a, Result<ScaleCensus, EngineError>> {
        Box::pin(async move { Ok(Self::scale_census_now(scales)) })
    }
}
