//! The kernels that write NVFP4 on a device.

use crate::engine::{GpuEngine, count, narrow, short, slice, slice_mut, words};
use crate::run::Storage;
use crate::split::{Part, split};
use quantscope_kernels::nvfp4_quantize::{BLOCK, BLOCKS_PER_INVOCATION, Nvfp4Block, Nvfp4Table};
use quantscope_kernels::nvfp4_search::{self, Candidates, ScaleSearch};
use quantscope_kernels::{EngineError, FloatTile, Kernel, Nvfp4Out, nvfp4_encode, nvfp4_quantize};

/// The elements of a part whose units are blocks. A part of a row ends at a block; the last one where the
/// row does.
fn elements_of(part: &Part, tile: &FloatTile<'_>, block: u64) -> Part {
    let units = part.units.start * block..u64::from(tile.cols).min(part.units.end * block);
    Part { rows: part.rows.clone(), units }
}

impl GpuEngine {
    pub(crate) async fn quantize(
        &self,
        tile: FloatTile<'_>,
        table: &Nvfp4Table,
        out: &mut Nvfp4Out<'_>,
    ) -> Result<(), EngineError> {
        tile.check_nvfp4(table.block(), out.codes, out.scales)?;
        let (element, block) = (tile.dtype.bytes() as u64, u64::from(table.block().elems()));
        let row_blocks = u64::from(tile.row_blocks(table.block()));
        let scale_last = table.scale_words(tile.dtype);
        let code_last = table.code_words(tile.dtype);
        for part in split(u64::from(tile.rows), row_blocks, self.most_units(block * element)?) {
            let elements = elements_of(&part, &tile, block);
            let block_count = part.unit_count();
            let params = nvfp4_quantize::Params {
                cols: count(elements.units.end - elements.units.start),
                row_blocks: count(part.units.end - part.units.start),
                block_count: count(block_count),
                block: count(block),
                narrow: narrow(tile.dtype),
                zero_scale: u32::from(table.zero_scale()),
            };
            let storage = [
                Storage::Input(slice(tile.bytes, &elements, element, u64::from(tile.cols))),
                Storage::Input(bytemuck::cast_slice(&scale_last)),
                Storage::Input(bytemuck::cast_slice(&code_last)),
                Storage::Output { bytes: block_count * block / 2, is_zeroed: false },
                Storage::Output { bytes: block_count, is_zeroed: false },
            ];
            let codes = slice_mut(out.codes, &part, block / 2, row_blocks);
            let scales = slice_mut(out.scales, &part, 1, row_blocks);
            let invocations = block_count.div_ceil(u64::from(BLOCKS_PER_INVOCATION));
            let write = |results: &[&[u8]]| {
                if let [new_codes, new_scales] = results {
                    codes.copy_from_slice(new_codes);
                    scales.copy_from_slice(new_scales);
                }
            };
            self.runner.run(Kernel::Nvfp4Quantize, &params.words(), &storage, invocations, write).await?;
        }
        Ok(())
    }

    pub(crate) async fn encode(
        &self,
        tile: FloatTile<'_>,
        table: &Nvfp4Table,
        scales: &[u8],
        codes: &mut [u8],
    ) -> Result<(), EngineError> {
        tile.check_nvfp4(table.block(), codes, scales)?;
        let (element, block) = (tile.dtype.bytes() as u64, u64::from(table.block().elems()));
        let row_blocks = u64::from(tile.row_blocks(table.block()));
        let code_last = table.code_words(tile.dtype);
        for part in split(u64::from(tile.rows), row_blocks, self.most_units(block * element)?) {
            let elements = elements_of(&part, &tile, block);
            let block_count = part.unit_count();
            let params = nvfp4_encode::Params {
                cols: count(elements.units.end - elements.units.start),
                row_blocks: count(part.units.end - part.units.start),
                block_count: count(block_count),
                block: count(block),
                narrow: narrow(tile.dtype),
            };
            let storage = [
                Storage::Input(slice(tile.bytes, &elements, element, u64::from(tile.cols))),
                Storage::Input(slice(scales, &part, 1, row_blocks)),
                Storage::Input(bytemuck::cast_slice(&code_last)),
                Storage::Output { bytes: block_count * block / 2, is_zeroed: false },
            ];
            let codes = slice_mut(codes, &part, block / 2, row_blocks);
            let write = |results: &[&[u8]]| {
                if let [new_codes] = results {
                    codes.copy_from_slice(new_codes);
                }
            };
            let invocations = block_count * block / 8;
            self.runner.run(Kernel::Nvfp4Encode, &params.words(), &storage, invocations, write).await?;
        }
        Ok(())
    }

    /// The search on the device as far as it goes, then on the CPU.
    pub(crate) async fn search(
        &self,
        tile: FloatTile<'_>,
        search: &ScaleSearch,
        scales: &mut [u8],
    ) -> Result<(), EngineError> {
        tile.check_scales(Nvfp4Block::Of16, scales)?;
        let ranges = self.narrow(tile, search).await?;
        if ranges.len() != scales.len() {
            return Err(short());
        }
        nvfp4_search::settle(&tile, search, &ranges, scales)
    }

    /// For each block of 16 the candidates of a search that are left to the CPU twin, as kernel
    /// `nvfp4_search` describes them. The scales are the twin's choice among those.
    ///
    /// # Errors
    /// As every kernel of the engine.
    pub async fn narrow(&self, tile: FloatTile<'_>, search: &ScaleSearch) -> Result<Vec<u32>, EngineError> {
        tile.check()?;
        let (element, block) = (tile.dtype.bytes() as u64, u64::from(BLOCK));
        let row_blocks = u64::from(tile.row_blocks(Nvfp4Block::Of16));
        let mut ranges = Vec::new();
        if !search.narrows() {
            let blocks = usize::try_from(u64::from(tile.rows) * row_blocks).unwrap_or(usize::MAX);
            ranges.resize(blocks, nvfp4_search::WHOLE);
            return Ok(ranges);
        }
        let candidates = Candidates::new(*search);
        let (divisors, amax_last) = (candidates.divisor_words(), candidates.amax_words());
        let most_groups = u64::from(self.runner.device.most_workgroups);
        let most_blocks = most_groups.saturating_mul(most_groups) * u64::from(nvfp4_search::BLOCKS_PER_GROUP);
        let most_blocks = most_blocks.min(self.most_units(block * element)?);
        for part in split(u64::from(tile.rows), row_blocks, most_blocks) {
            let elements = elements_of(&part, &tile, block);
            let block_count = part.unit_count();
            let cols = count(elements.units.end - elements.units.start);
            let part_blocks = count(part.units.end - part.units.start);
            let params = search.params(cols, part_blocks, count(block_count), tile.dtype);
            let storage = [
                Storage::Input(slice(tile.bytes, &elements, element, u64::from(tile.cols))),
                Storage::Input(bytemuck::cast_slice(&divisors)),
                Storage::Input(bytemuck::cast_slice(&amax_last)),
                Storage::Output { bytes: block_count * 4, is_zeroed: false },
            ];
            // A workgroup has an invocation for each element of its blocks.
            let invocations = block_count * block;
            let found =
                self.runner.run(Kernel::Nvfp4Search, &params.words(), &storage, invocations, words).await?;
            ranges.extend(found);
        }
        Ok(ranges)
    }
}
