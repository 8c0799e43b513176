//! The engine that is always there: the CPU twins, natively on every core.

use crate::block_absmax::BlockSize;
use crate::byte_census::ByteCensus;
use crate::engine::{
    AbsMax, Engine, EngineError, EngineKind, FloatTile, Fp8Census, Fp8Tile, Nvfp4Census, Nvfp4Out, Nvfp4Tile,
    ScaleCensus,
};
use crate::error_metrics::{self, ErrorMetrics};
use crate::fp4_decode::{Fp4DecodeTable, Fp4Tile};
use crate::fp8_encode::Fp8Rule;
use crate::mx_encode::MxElement;
use crate::nvfp4_quantize::{BLOCK, CodeCast, Nvfp4Block, Nvfp4Table};
use crate::nvfp4_search::{self, Candidates, ScaleSearch};
use crate::scale_grid::ScaleGrid;
use crate::{
    absmax, block_absmax, byte_census, fp4_decode, fp8_decode, fp8_encode, fp8_verify, mx_encode,
    nvfp4_encode, nvfp4_quantize, nvfp4_verify, parts, scale_verify,
};
use futures_util::future::LocalBoxFuture;

/// Bytes of source a thread takes at a time: large enough that handing out parts costs nothing.
pub(crate) const PART_BYTES: usize = 1 << 18;

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

    pub(crate) fn absmax_now(tile: &FloatTile<'_>) -> Result<AbsMax, EngineError> {
        tile.check()?;
        let maxima = parts::map(tile.bytes.chunks(PART_BYTES), |part| absmax::cpu::absmax(tile.dtype, part));
        Ok(maxima.into_iter().fold(AbsMax::default(), AbsMax::max))
    }

    pub(crate) fn block_absmax_now(
        tile: &FloatTile<'_>,
        block: BlockSize,
        out: &mut [u32],
    ) -> Result<(), EngineError> {
        block.check(tile, out)?;
        if out.is_empty() {
            return Ok(());
        }
        let [_, col_blocks] = block.grid(tile.rows, tile.cols);
        let row_bytes = tile.cols as usize * tile.dtype.bytes();
        let block_bytes = (block.rows.min(tile.rows) as usize).saturating_mul(row_bytes);
        let rows = (PART_BYTES / block_bytes).max(1);
        let places = tile.bytes.chunks(rows * block_bytes).zip(out.chunks_mut(rows * col_blocks as usize));
        parts::map(places, |(bytes, maxima)| block_absmax::cpu::maxima(tile, block, bytes, maxima));
        Ok(())
    }

    pub(crate) fn quantize_now(
        tile: &FloatTile<'_>,
        table: &Nvfp4Table,
        out: &mut Nvfp4Out<'_>,
    ) -> Result<(), EngineError> {
        tile.check_nvfp4(table.block(), out.codes, out.scales)?;
        let (blocks, code_bytes) = nvfp4_part(tile, table);
        let places = out.codes.chunks_mut(code_bytes).zip(out.scales.chunks_mut(blocks)).enumerate();
        parts::map(places, |(i, (codes, scales))| {
            nvfp4_quantize::cpu::quantize(tile, table, i * blocks, codes, scales);
        });
        Ok(())
    }

    pub(crate) fn encode_now(
        tile: &FloatTile<'_>,
        table: &Nvfp4Table,
        scales: &[u8],
        codes: &mut [u8],
    ) -> Result<(), EngineError> {
        tile.check_nvfp4(table.block(), codes, scales)?;
        let (blocks, code_bytes) = nvfp4_part(tile, table);
        let places = codes.chunks_mut(code_bytes).zip(scales.chunks(blocks)).enumerate();
        parts::map(places, |(i, (codes, scales))| {
            nvfp4_encode::cpu::encode(tile, table, i * blocks, scales, codes);
        });
        Ok(())
    }

    pub(crate) fn search_now(
        tile: &FloatTile<'_>,
        search: &ScaleSearch,
        scales: &mut [u8],
    ) -> Result<(), EngineError> {
        tile.check_scales(Nvfp4Block::Of16, scales)?;
        let candidates = Candidates::new(*search);
        let blocks = PART_BYTES / BLOCK as usize / tile.dtype.bytes();
        parts::map(scales.chunks_mut(blocks).enumerate(), |(i, scales)| {
            nvfp4_search::cpu::search(tile, &candidates, i * blocks, None, scales);
        });
        Ok(())
    }

    pub(crate) fn error_metrics_now(
        tile: &FloatTile<'_>,
        decoded: &[u32],
    ) -> Result<ErrorMetrics, EngineError> {
        error_metrics::check(tile, decoded)?;
        let elements = PART_BYTES / tile.dtype.bytes();
        let places = tile.bytes.chunks(PART_BYTES).zip(decoded.chunks(elements));
        let parts =
            parts::map(places, |(source, decoded)| error_metrics::cpu::metrics(tile.dtype, source, decoded));
        let mut metrics = ErrorMetrics::default();
        for part in &parts {
            metrics.add(part);
        }
        Ok(metrics)
    }

    pub(crate) fn fp4_errors_now(
        source: &FloatTile<'_>,
        packed: &Fp4Tile<'_>,
        table: &Fp4DecodeTable,
    ) -> Result<ErrorMetrics, EngineError> {
        error_metrics::packed::check(source, packed)?;
        let mut metrics = ErrorMetrics::default();
        let row_bytes = source.cols as usize * source.dtype.bytes();
        if source.bytes.is_empty() {
            return Ok(metrics);
        }
        let rows = (PART_BYTES / row_bytes).max(1);
        let blocks = rows * packed.blocks as usize;
        let codes = packed.codes.chunks(blocks * packed.block as usize / 2);
        let places = source.bytes.chunks(rows * row_bytes).zip(codes).zip(packed.scales.chunks(blocks));
        let parts = parts::map(places, |((bytes, codes), scales)| {
            let source = FloatTile { bytes, ..*source };
            error_metrics::packed::metrics(source, Fp4Tile { codes, scales, ..*packed }, table)
        });
        for part in &parts {
            metrics.add(part);
        }
        Ok(metrics)
    }

    pub(crate) fn nvfp4_census_now(tile: &Nvfp4Tile<'_>) -> Result<Nvfp4Census, EngineError> {
        tile.check()?;
        let block_bytes = tile.block as usize / 2;
        let blocks = (PART_BYTES / block_bytes).max(1);
        let places = tile.codes.chunks(block_bytes * blocks).zip(tile.scales.chunks(blocks)).enumerate();
        let parts = parts::map(places, |(i, (codes, scales))| {
            nvfp4_verify::cpu::census(tile, i * blocks, codes, scales)
        });
        let mut census = Nvfp4Census::default();
        for part in parts {
            census.add(&part, 0);
        }
        Ok(census)
    }

    pub(crate) fn fp8_census_now(tile: &Fp8Tile<'_>) -> Result<Fp8Census, EngineError> {
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

    pub(crate) fn fp8_encode_now(
        tile: &FloatTile<'_>,
        grid: ScaleGrid<'_>,
        rule: Fp8Rule,
        codes: &mut [u8],
    ) -> Result<(), EngineError> {
        fp8_encode::check(tile, &grid, codes)?;
        if codes.is_empty() {
            return Ok(());
        }
        let encoding = fp8_encode::cpu::Encoding::new(*tile, grid, rule);
        parts::map(codes.chunks_mut(PART_BYTES).enumerate(), |(i, codes)| {
            encoding.encode(i * PART_BYTES, codes);
        });
        Ok(())
    }

    pub(crate) fn fp8_decode_now(tile: &Fp8Tile<'_>, out: &mut [u32]) -> Result<(), EngineError> {
        fp8_decode::check(tile, out)?;
        parts::map(out.chunks_mut(PART_BYTES).enumerate(), |(i, out)| {
            fp8_decode::cpu::decode(tile, i * PART_BYTES, out);
        });
        Ok(())
    }

    pub(crate) fn mx_encode_now(
        tile: &FloatTile<'_>,
        element: MxElement,
        cast: CodeCast,
        codes: &mut [u8],
        scales: &mut [u8],
    ) -> Result<(), EngineError> {
        tile.check()?;
        element.check(tile, codes, scales)?;
        let block_bytes = element.block_bytes() as usize;
        let blocks = PART_BYTES / block_bytes;
        let places = codes.chunks_mut(block_bytes * blocks).zip(scales.chunks_mut(blocks)).enumerate();
        parts::map(places, |(i, (codes, scales))| {
            mx_encode::cpu::encode(tile, element, cast, i * blocks, codes, scales);
        });
        Ok(())
    }

    pub(crate) fn fp4_decode_now(
        tile: &Fp4Tile<'_>,
        table: &Fp4DecodeTable,
        out: &mut [u32],
    ) -> Result<(), EngineError> {
        tile.check(out)?;
        let block = tile.block as usize;
        let blocks = (PART_BYTES / block).max(1);
        parts::map(out.chunks_mut(block * blocks).enumerate(), |(i, out)| {
            fp4_decode::cpu::decode(tile, table, i * blocks, out);
        });
        Ok(())
    }

    pub(crate) fn byte_census_now(bytes: &[u8]) -> ByteCensus {
        let mut census = ByteCensus::default();
        for (i, part) in parts::map(bytes.chunks(PART_BYTES), byte_census::cpu::census).iter().enumerate() {
            census.add(part, (i * PART_BYTES) as u64);
        }
        census
    }

    pub(crate) fn scale_census_now(scales: &[u32]) -> ScaleCensus {
        let size = PART_BYTES / 4;
        let mut census = ScaleCensus::default();
        for (i, part) in parts::map(scales.chunks(size), scale_verify::cpu::census).iter().enumerate() {
            census.add(part, (i * size) as u64);
        }
        census
    }
}

/// The blocks of a part, and the bytes of their codes.
fn nvfp4_part(tile: &FloatTile<'_>, table: &Nvfp4Table) -> (usize, usize) {
    let block = table.block();
    let blocks = PART_BYTES / block.elems() as usize / tile.dtype.bytes();
    (blocks, blocks * block.code_bytes())
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

    fn block_absmax<'a>(
        &'a self,
        tile: FloatTile<'a>,
        block: BlockSize,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move { Self::block_absmax_now(&tile, block, out) })
    }

    fn nvfp4_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        table: &'a Nvfp4Table,
        scales: &'a [u8],
        codes: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move { Self::encode_now(&tile, table, scales, codes) })
    }

    fn nvfp4_quantize<'a>(
        &'a self,
        tile: FloatTile<'a>,
        table: &'a Nvfp4Table,
        mut out: Nvfp4Out<'a>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move { Self::quantize_now(&tile, table, &mut out) })
    }

    fn nvfp4_search<'a>(
        &'a self,
        tile: FloatTile<'a>,
        search: &'a ScaleSearch,
        scales: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move { Self::search_now(&tile, search, scales) })
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

    fn fp8_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        grid: ScaleGrid<'a>,
        rule: Fp8Rule,
        codes: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move { Self::fp8_encode_now(&tile, grid, rule, codes) })
    }

    fn fp8_decode<'a>(
        &'a self,
        tile: Fp8Tile<'a>,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move { Self::fp8_decode_now(&tile, out) })
    }

    fn mx_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        element: MxElement,
        cast: CodeCast,
        codes: &'a mut [u8],
        scales: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move { Self::mx_encode_now(&tile, element, cast, codes, scales) })
    }

    fn fp4_decode<'a>(
        &'a self,
        tile: Fp4Tile<'a>,
        table: &'a Fp4DecodeTable,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move { Self::fp4_decode_now(&tile, table, out) })
    }

    fn error_metrics<'a>(
        &'a self,
        tile: FloatTile<'a>,
        decoded: &'a [u32],
    ) -> LocalBoxFuture<'a, Result<ErrorMetrics, EngineError>> {
        Box::pin(async move { Self::error_metrics_now(&tile, decoded) })
    }

    fn fp4_errors<'a>(
        &'a self,
        source: FloatTile<'a>,
        packed: Fp4Tile<'a>,
        table: &'a Fp4DecodeTable,
    ) -> LocalBoxFuture<'a, Result<ErrorMetrics, EngineError>> {
        Box::pin(async move { Self::fp4_errors_now(&source, &packed, table) })
    }

    fn byte_census<'a>(&'a self, bytes: &'a [u8]) -> LocalBoxFuture<'a, Result<ByteCensus, EngineError>> {
        Box::pin(async move { Ok(Self::byte_census_now(bytes)) })
    }
}
