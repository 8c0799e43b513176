//! The encoders and decoders of element types on a device.

use crate::engine::{GpuEngine, census_of, count, short, slice, slice_mut, words};
use crate::run::Storage;
use crate::split::{Part, split};
use quantscope_kernels::nvfp4_quantize::CodeCast;
use quantscope_kernels::{
    ByteCensus, EngineError, FloatTile, Fp4DecodeTable, Fp4Tile, Fp8Rule, Fp8Tile, Kernel, MxElement,
    Nibbles, ScaleGrid, byte_census, fp4_decode, fp8_decode, fp8_encode, mx_encode,
};

impl GpuEngine {
    /// The scales that govern a part of a tile, and where its first row is within them.
    pub(crate) fn grid_of<'s>(&self, grid: ScaleGrid<'s>, part: &Part) -> Result<ScaleGrid<'s>, EngineError> {
        let block_rows = u64::from(grid.block_rows.max(1));
        let first_row = u64::from(grid.first_row) + part.rows.start;
        let last_row = u64::from(grid.first_row) + part.rows.end.saturating_sub(1);
        let start = first_row / block_rows * u64::from(grid.scale_cols);
        let end = (last_row / block_rows + 1) * u64::from(grid.scale_cols);
        let range = usize::try_from(start).unwrap_or(usize::MAX)
            ..usize::try_from(end).unwrap_or(usize::MAX).min(grid.scales.len());
        let scales = grid.scales.get(range).unwrap_or_default();
        let bytes = scales.len() as u64 * 4;
        if bytes > self.most_buffer_bytes() {
            return Err(EngineError::Refused(format!(
                "{bytes} bytes of scales, a buffer has at most {}",
                self.most_buffer_bytes()
            )));
        }
        let first = first_row % block_rows;
        if first + (part.rows.end - part.rows.start) > u64::from(u32::MAX) {
            return Err(EngineError::Refused(format!("row {first_row} of rows that share a scale")));
        }
        Ok(ScaleGrid { scales, first_row: count(first), ..grid })
    }

    pub(crate) async fn fp8_codes(
        &self,
        tile: FloatTile<'_>,
        grid: ScaleGrid<'_>,
        rule: Fp8Rule,
        codes: &mut [u8],
    ) -> Result<(), EngineError> {
        fp8_encode::check(&tile, &grid, codes)?;
        let width = tile.dtype.bytes() as u64;
        let cols = u64::from(tile.cols);
        let [code_cast, quotient] = rule.numbers();
        for part in split(u64::from(tile.rows), cols, self.most_units(width)?) {
            let grid = self.grid_of(grid, &part)?;
            let element_count = part.unit_count();
            let params = fp8_encode::Params {
                element_count: count(element_count),
                cols: count(part.units.end - part.units.start),
                first_row: grid.first_row,
                first_col: count(part.units.start),
                block_rows: grid.block_rows,
                block_cols: grid.block_cols,
                scale_cols: grid.scale_cols,
                dtype: tile.dtype.number(),
                code_cast,
                quotient,
            };
            let storage = [
                Storage::Input(slice(tile.bytes, &part, width, cols)),
                Storage::Input(bytemuck::cast_slice(grid.scales)),
                Storage::Output { bytes: element_count, is_zeroed: false },
            ];
            let write = copy_to([slice_mut(codes, &part, 1, cols)]);
            let invocations = element_count.div_ceil(4 * u64::from(fp8_encode::WORDS_PER_INVOCATION));
            self.runner.run(Kernel::Fp8Encode, &params.words(), &storage, invocations, write).await?;
        }
        Ok(())
    }

    pub(crate) async fn fp8_values(&self, tile: Fp8Tile<'_>, out: &mut [u32]) -> Result<(), EngineError> {
        fp8_decode::check(&tile, out)?;
        let cols = u64::from(tile.cols);
        for part in split(u64::from(tile.rows), cols, self.most_units(4)?) {
            let grid = self.grid_of(tile.grid, &part)?;
            let element_count = part.unit_count();
            let params = fp8_decode::Params {
                element_count: count(element_count),
                cols: count(part.units.end - part.units.start),
                first_row: grid.first_row,
                first_col: count(part.units.start),
                block_rows: grid.block_rows,
                block_cols: grid.block_cols,
                scale_cols: grid.scale_cols,
            };
            let storage = [
                Storage::Input(slice(tile.codes, &part, 1, cols)),
                Storage::Input(bytemuck::cast_slice(grid.scales)),
                Storage::Output { bytes: element_count * 4, is_zeroed: false },
            ];
            let write = copy_to([slice_mut(bytemuck::cast_slice_mut(out), &part, 4, cols)]);
            let invocations = element_count.div_ceil(u64::from(fp8_decode::ELEMENTS_PER_INVOCATION));
            self.runner.run(Kernel::Fp8Decode, &params.words(), &storage, invocations, write).await?;
        }
        Ok(())
    }

    pub(crate) async fn mx_codes(
        &self,
        tile: FloatTile<'_>,
        element: MxElement,
        cast: CodeCast,
        codes: &mut [u8],
        scales: &mut [u8],
    ) -> Result<(), EngineError> {
        tile.check()?;
        element.check(&tile, codes, scales)?;
        let block = u64::from(mx_encode::BLOCK);
        let (width, block_bytes) = (tile.dtype.bytes() as u64, u64::from(element.block_bytes()));
        let cols = u64::from(tile.cols);
        let row_blocks = cols.div_ceil(block);
        let thresholds = mx_encode::ScaleTable::of(element).words();
        for part in split(u64::from(tile.rows), row_blocks, self.most_units(block * width)?) {
            // A part of a row ends at a block; the last one where the row does.
            let part_cols = part.units.start * block..cols.min(part.units.end * block);
            let elements = Part { rows: part.rows.clone(), units: part_cols.clone() };
            let block_count = part.unit_count();
            let params = mx_encode::Params {
                cols: count(part_cols.end - part_cols.start),
                row_blocks: count(part.units.end - part.units.start),
                block_count: count(block_count),
                dtype: tile.dtype.number(),
                code_cast: cast.number(),
                wide: u32::from(element == MxElement::E4m3),
            };
            let storage = [
                Storage::Input(slice(tile.bytes, &elements, width, cols)),
                Storage::Input(bytemuck::cast_slice(thresholds)),
                Storage::Output { bytes: block_count * block_bytes, is_zeroed: false },
                Storage::Output { bytes: block_count, is_zeroed: true },
            ];
            let write = copy_to([
                slice_mut(codes, &part, block_bytes, row_blocks),
                slice_mut(scales, &part, 1, row_blocks),
            ]);
            self.runner.run(Kernel::MxEncode, &params.words(), &storage, block_count, write).await?;
        }
        Ok(())
    }

    pub(crate) async fn fp4_values(
        &self,
        tile: Fp4Tile<'_>,
        table: &Fp4DecodeTable,
        out: &mut [u32],
    ) -> Result<(), EngineError> {
        tile.check(out)?;
        let block = u64::from(tile.block);
        let row_blocks = u64::from(tile.blocks);
        for part in split(u64::from(tile.rows), row_blocks, self.most_units(block * 4)?) {
            let element_count = part.unit_count() * block;
            let params = fp4_decode::Params {
                element_count: count(element_count),
                block: tile.block,
                high_first: u32::from(table.nibbles() == Nibbles::HighFirst),
            };
            let storage = [
                Storage::Input(slice(tile.codes, &part, block / 2, row_blocks)),
                Storage::Input(slice(tile.scales, &part, 1, row_blocks)),
                Storage::Input(bytemuck::cast_slice(table.words())),
                Storage::Output { bytes: element_count * 4, is_zeroed: false },
            ];
            let write = copy_to([slice_mut(bytemuck::cast_slice_mut(out), &part, block * 4, row_blocks)]);
            let invocations = element_count.div_ceil(u64::from(fp4_decode::ELEMENTS_PER_INVOCATION));
            self.runner.run(Kernel::Fp4Decode, &params.words(), &storage, invocations, write).await?;
        }
        Ok(())
    }

    pub(crate) async fn count_bytes(&self, bytes: &[u8]) -> Result<ByteCensus, EngineError> {
        let byte_count = bytes.len() as u64;
        let mut census = ByteCensus::default();
        for part in split(1, byte_count, self.most_units(1)?) {
            let params = byte_census::Params { byte_count: count(part.unit_count()) };
            let storage =
                [Storage::Input(slice(bytes, &part, 1, byte_count)), census_of(byte_census::CENSUS_WORDS)];
            let invocations = part.unit_count().div_ceil(4 * u64::from(byte_census::WORDS_PER_INVOCATION));
            let result =
                self.runner.run(Kernel::ByteCensus, &params.words(), &storage, invocations, words).await?;
            let result = ByteCensus::from_words(&result).ok_or_else(short)?;
            census.add(&result, part.first_unit(byte_count));
        }
        Ok(census)
    }
}

/// Copies the outputs of a run to these places, in order.
fn copy_to<const N: usize>(places: [&mut [u8]; N]) -> impl FnOnce(&[&[u8]]) {
    move |results| {
        for (place, result) in places.into_iter().zip(results) {
            if place.len() == result.len() {
                place.copy_from_slice(result);
            }
        }
    }
}
