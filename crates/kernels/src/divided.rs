//! An engine that divides large calls among helpers: bands of rows, each worked on somewhere else.
//!
//! Knows how calls are divided and joined; who the helpers are is theirs to know ([`Helpers`]). Every helper runs
//! the CPU twin, and a band that a helper does not bring back is done here, so the results are those of
//! [`CpuEngine`], byte for byte, however many helpers there are and whatever becomes of them.

use crate::block_absmax::BlockSize;
use crate::byte_census::ByteCensus;
use crate::call::{Call, Governed, PackedShape, Summary};
use crate::cpu_engine::CpuEngine;
use crate::engine::{
    AbsMax, Engine, EngineError, EngineKind, FloatTile, Fp8Census, Fp8Tile, Nvfp4Census, Nvfp4Out, Nvfp4Tile,
    ScaleCensus,
};
use crate::error_metrics::{self, ErrorMetrics};
use crate::fp4_decode::{Fp4DecodeTable, Fp4Tile};
use crate::fp8_decode;
use crate::fp8_encode::{self, Fp8Rule};
use crate::mx_encode::MxElement;
use crate::nvfp4_quantize::{CodeCast, Nvfp4Block, Nvfp4Table};
use crate::nvfp4_search::ScaleSearch;
use crate::scale_grid::ScaleGrid;
use futures_util::future::{LocalBoxFuture, join_all};

/// Those who work on bands.
pub trait Helpers {
    /// How many there are now. Fewer than before if some were lost.
    fn count(&self) -> usize;

    /// Has helper `number` do a call. It is handed over when the future is first polled, without waiting for
    /// anything. `None` if the helper is lost or there is none of that number; `outputs` may hold anything then.
    fn work<'a>(
        &'a self,
        number: usize,
        call: &'a Call,
        inputs: &'a [&'a [u8]],
        outputs: &'a mut [&mut [u8]],
    ) -> LocalBoxFuture<'a, Option<Summary>>;

    /// Words for the status bar.
    fn description(&self) -> String;
}

/// The CPU twins, with helpers.
#[derive(Debug)]
pub struct DividedEngine<H> {
    helpers: H,
    own: CpuEngine,
    least: usize,
}

/// Source bytes that an element's work in a scale search stands for, against one that is only encoded.
const SEARCH_WEIGHT: usize = 32;

/// Bytes whose largest magnitude is found in the time in which one byte is encoded: hardly more than copying them to a
/// helper takes.
const MAXIMUM_SHARE: usize = 32;

/// Some rows of a call, with their parts of its buffers.
struct Band<'a> {
    row: u32,
    call: Call,
    inputs: Vec<&'a [u8]>,
    outputs: Vec<&'a mut [u8]>,
}

impl<H: Helpers> DividedEngine<H> {
    /// Divides calls from `least` bytes of source on; handing smaller ones over costs more than it saves.
    pub fn new(helpers: H, least: usize) -> Self {
        Self { helpers, own: CpuEngine::new(), least }
    }

    /// The helpers.
    pub fn helpers(&self) -> &H {
        &self.helpers
    }

    /// Whether a call of so many source bytes is to be divided.
    fn pays(&self, bytes: usize) -> bool {
        bytes >= self.least && self.helpers.count() > 0
    }

    /// Divides a call whose buffers have been checked.
    async fn divide(
        &self,
        call: Call,
        inputs: &[&[u8]],
        outputs: Vec<&mut [u8]>,
    ) -> Result<Summary, EngineError> {
        let bands = bands(&call, self.helpers.count() + 1, inputs, outputs);
        let handed_over = bands.len().saturating_sub(1);
        let work = bands.into_iter().enumerate().map(|(i, band)| async move {
            let Band { row, call, inputs, mut outputs } = band;
            // The last one is done here, after all others were handed over.
            let helped =
                if i < handed_over { self.helpers.work(i, &call, &inputs, &mut outputs).await } else { None };
            let summary = match helped {
                Some(summary) => summary,
                None => call.run(&inputs, &mut outputs)?,
            };
            Ok((row, summary))
        });
        let mut whole = Summary::Nothing;
        for band in join_all(work).await {
            let (row, summary) = band?;
            call.add(&mut whole, summary, row);
        }
        Ok(whole)
    }
}

/// Cuts a call into at most `count` bands of about as many rows each.
fn bands<'a>(
    call: &Call,
    count: usize,
    inputs: &[&'a [u8]],
    mut outputs: Vec<&'a mut [u8]>,
) -> Vec<Band<'a>> {
    let (rows, unit) = call.rows();
    let strides = call.strides();
    let units = rows.div_ceil(unit);
    let each = units.div_ceil(u32::try_from(count).unwrap_or(u32::MAX).max(1)).max(1);
    let mut bands = Vec::with_capacity(count);
    let mut first = 0;
    while first < units {
        let end = first.saturating_add(each).min(units);
        let rows = first * unit..end.saturating_mul(unit).min(rows);
        let at = |stride: u64, units: u32| {
            usize::try_from(stride.saturating_mul(u64::from(units))).unwrap_or(usize::MAX)
        };
        let inputs = inputs.iter().zip(&strides.inputs).map(|(whole, stride)| match *stride {
            Some(stride) => {
                let from = at(stride, first).min(whole.len());
                whole.get(from..at(stride, end).min(whole.len())).unwrap_or_default()
            }
            None => whole,
        });
        let mut own = Vec::with_capacity(outputs.len());
        let mut rest = Vec::with_capacity(outputs.len());
        for (whole, &stride) in outputs.into_iter().zip(&strides.outputs) {
            let (mine, after) = whole.split_at_mut(at(stride, end - first).min(whole.len()));
            own.push(mine);
            rest.push(after);
        }
        outputs = rest;
        bands.push(Band { row: rows.start, call: call.band(&rows), inputs: inputs.collect(), outputs: own });
        first = end;
    }
    bands
}

/// Answers with the summary of one kind. Bands of a call say nothing else; without rows they say nothing.
macro_rules! summary {
    ($summary:expr, $kind:ident) => {
        match $summary {
            Summary::$kind(value) => Ok(*value),
            _ => Ok(Default::default()),
        }
    };
}

impl<H: Helpers> Engine for DividedEngine<H> {
    fn kind(&self) -> EngineKind {
        EngineKind::Cpu
    }

    fn description(&self) -> String {
        if self.helpers.count() == 0 { self.own.description() } else { self.helpers.description() }
    }

    fn absmax<'a>(&'a self, tile: FloatTile<'a>) -> LocalBoxFuture<'a, Result<AbsMax, EngineError>> {
        Box::pin(async move {
            tile.check()?;
            if !self.pays(tile.bytes.len() / MAXIMUM_SHARE) {
                return self.own.absmax(tile).await;
            }
            summary!(self.divide(Call::AbsMax(tile.into()), &[tile.bytes], Vec::new()).await?, AbsMax)
        })
    }

    fn block_absmax<'a>(
        &'a self,
        tile: FloatTile<'a>,
        block: BlockSize,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            block.check(&tile, out)?;
            if !self.pays(tile.bytes.len()) {
                return self.own.block_absmax(tile, block, out).await;
            }
            let call = Call::BlockAbsMax(tile.into(), block);
            self.divide(call, &[tile.bytes], vec![bytemuck::cast_slice_mut(out)]).await.map(|_| ())
        })
    }

    fn nvfp4_quantize<'a>(
        &'a self,
        tile: FloatTile<'a>,
        table: &'a Nvfp4Table,
        out: Nvfp4Out<'a>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            tile.check_nvfp4(table.block(), out.codes, out.scales)?;
            if !self.pays(tile.bytes.len()) {
                return self.own.nvfp4_quantize(tile, table, out).await;
            }
            let call = Call::Nvfp4Quantize(tile.into(), table.into());
            self.divide(call, &[tile.bytes], vec![out.codes, out.scales]).await.map(|_| ())
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
            tile.check_nvfp4(table.block(), codes, scales)?;
            if !self.pays(tile.bytes.len()) {
                return self.own.nvfp4_encode(tile, table, scales, codes).await;
            }
            let call = Call::Nvfp4Encode(tile.into(), table.into());
            self.divide(call, &[tile.bytes, scales], vec![codes]).await.map(|_| ())
        })
    }

    fn nvfp4_search<'a>(
        &'a self,
        tile: FloatTile<'a>,
        search: &'a ScaleSearch,
        scales: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            tile.check_scales(Nvfp4Block::Of16, scales)?;
            if !self.pays(tile.bytes.len().saturating_mul(SEARCH_WEIGHT)) {
                return self.own.nvfp4_search(tile, search, scales).await;
            }
            let call = Call::Nvfp4Search(tile.into(), *search);
            self.divide(call, &[tile.bytes], vec![scales]).await.map(|_| ())
        })
    }

    fn nvfp4_verify<'a>(
        &'a self,
        tile: Nvfp4Tile<'a>,
    ) -> LocalBoxFuture<'a, Result<Nvfp4Census, EngineError>> {
        Box::pin(async move {
            tile.check()?;
            if !self.pays(tile.codes.len()) {
                return self.own.nvfp4_verify(tile).await;
            }
            let shape = PackedShape { rows: tile.rows, blocks: tile.blocks, block: tile.block };
            let call = Call::Nvfp4Verify(shape, tile.logical_cols);
            summary!(self.divide(call, &[tile.codes, tile.scales], Vec::new()).await?, Nvfp4)
        })
    }

    fn fp8_verify<'a>(&'a self, tile: Fp8Tile<'a>) -> LocalBoxFuture<'a, Result<Fp8Census, EngineError>> {
        Box::pin(async move {
            tile.check()?;
            if !self.pays(tile.codes.len()) {
                return self.own.fp8_verify(tile).await;
            }
            let call = Call::Fp8Verify(Governed::new(tile.rows, tile.cols, &tile.grid));
            let inputs = [tile.codes, bytemuck::cast_slice(tile.grid.scales)];
            summary!(self.divide(call, &inputs, Vec::new()).await?, Fp8)
        })
    }

    fn scale_verify<'a>(&'a self, scales: &'a [u32]) -> LocalBoxFuture<'a, Result<ScaleCensus, EngineError>> {
        Box::pin(async move {
            let bytes: &[u8] = bytemuck::cast_slice(scales);
            let count = u32::try_from(scales.len()).ok().filter(|_| self.pays(bytes.len()));
            let Some(count) = count else { return self.own.scale_verify(scales).await };
            summary!(self.divide(Call::ScaleVerify(count), &[bytes], Vec::new()).await?, Scales)
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
            fp8_encode::check(&tile, &grid, codes)?;
            if !self.pays(tile.bytes.len()) {
                return self.own.fp8_encode(tile, grid, rule, codes).await;
            }
            let call = Call::Fp8Encode(tile.dtype, Governed::new(tile.rows, tile.cols, &grid), rule);
            let inputs = [tile.bytes, bytemuck::cast_slice(grid.scales)];
            self.divide(call, &inputs, vec![codes]).await.map(|_| ())
        })
    }

    fn fp8_decode<'a>(
        &'a self,
        tile: Fp8Tile<'a>,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            fp8_decode::check(&tile, out)?;
            if !self.pays(tile.codes.len()) {
                return self.own.fp8_decode(tile, out).await;
            }
            let call = Call::Fp8Decode(Governed::new(tile.rows, tile.cols, &tile.grid));
            let inputs = [tile.codes, bytemuck::cast_slice(tile.grid.scales)];
            self.divide(call, &inputs, vec![bytemuck::cast_slice_mut(out)]).await.map(|_| ())
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
            tile.check()?;
            element.check(&tile, codes, scales)?;
            if !self.pays(tile.bytes.len()) {
                return self.own.mx_encode(tile, element, cast, codes, scales).await;
            }
            let call = Call::MxEncode(tile.into(), element, cast);
            self.divide(call, &[tile.bytes], vec![codes, scales]).await.map(|_| ())
        })
    }

    fn fp4_decode<'a>(
        &'a self,
        tile: Fp4Tile<'a>,
        table: &'a Fp4DecodeTable,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            tile.check(out)?;
            if !self.pays(tile.codes.len()) {
                return self.own.fp4_decode(tile, table, out).await;
            }
            let shape = PackedShape { rows: tile.rows, blocks: tile.blocks, block: tile.block };
            let call = Call::Fp4Decode(shape, table.nibbles());
            let inputs = [tile.codes, tile.scales, bytemuck::cast_slice(table.words())];
            self.divide(call, &inputs, vec![bytemuck::cast_slice_mut(out)]).await.map(|_| ())
        })
    }

    fn error_metrics<'a>(
        &'a self,
        tile: FloatTile<'a>,
        decoded: &'a [u32],
    ) -> LocalBoxFuture<'a, Result<ErrorMetrics, EngineError>> {
        Box::pin(async move {
            error_metrics::check(&tile, decoded)?;
            if !self.pays(tile.bytes.len()) {
                return self.own.error_metrics(tile, decoded).await;
            }
            let inputs = [tile.bytes, bytemuck::cast_slice(decoded)];
            summary!(self.divide(Call::ErrorMetrics(tile.into()), &inputs, Vec::new()).await?, Errors)
        })
    }

    fn fp4_errors<'a>(
        &'a self,
        source: FloatTile<'a>,
        packed: Fp4Tile<'a>,
        table: &'a Fp4DecodeTable,
    ) -> LocalBoxFuture<'a, Result<ErrorMetrics, EngineError>> {
        Box::pin(async move {
            error_metrics::packed::check(&source, &packed)?;
            if !self.pays(source.bytes.len()) {
                return self.own.fp4_errors(source, packed, table).await;
            }
            let shape = PackedShape { rows: packed.rows, blocks: packed.blocks, block: packed.block };
            let call = Call::Fp4Errors(source.into(), shape, table.nibbles());
            let inputs = [source.bytes, packed.codes, packed.scales, bytemuck::cast_slice(table.words())];
            summary!(self.divide(call, &inputs, Vec::new()).await?, Errors)
        })
    }

    fn byte_census<'a>(&'a self, bytes: &'a [u8]) -> LocalBoxFuture<'a, Result<ByteCensus, EngineError>> {
        Box::pin(async move {
            let count = u32::try_from(bytes.len()).ok().filter(|_| self.pays(bytes.len()));
            let Some(count) = count else { return self.own.byte_census(bytes).await };
            summary!(self.divide(Call::ByteCensus(count), &[bytes], Vec::new()).await?, Bytes)
        })
    }
}
