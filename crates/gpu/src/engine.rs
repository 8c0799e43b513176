//! The kernels on a device: each tile cut into parts that fit, each part one dispatch.

use crate::device::{Device, GpuOptions, GpuUnavailable};
use crate::run::{Runner, Storage};
use crate::split::{Part, split};
use futures_util::future::LocalBoxFuture;
use quantscope_kernels::block_absmax::BlockSize;
use quantscope_kernels::error_metrics::ErrorMetrics;
use quantscope_kernels::nvfp4_quantize::{CodeCast, Nvfp4Table};
use quantscope_kernels::nvfp4_search::ScaleSearch;
use quantscope_kernels::spec::KernelSpec;
use quantscope_kernels::{
    AbsMax, ByteCensus, Engine, EngineError, EngineKind, FloatTile, FloatType, Fp4DecodeTable, Fp4Tile,
    Fp8Census, Fp8Rule, Fp8Tile, Kernel, MxElement, Nvfp4Census, Nvfp4Out, Nvfp4Tile, ScaleCensus, ScaleGrid,
    absmax, fp8_verify, nvfp4_verify, scale_verify,
};

/// A GPU as an engine: WebGPU in a browser, Vulkan, Metal or Direct3D 12 natively.
pub struct GpuEngine {
    pub(crate) runner: Runner,
}

impl GpuEngine {
    /// Opens a device on the system's preferred adapter. In a browser this works in a page and in a
    /// dedicated worker.
    ///
    /// # Errors
    /// Why there is none; the CPU engine then does the work.
    pub async fn request(options: GpuOptions) -> Result<Self, GpuUnavailable> {
        Ok(Self { runner: Runner::new(Device::request(options).await?) })
    }

    /// Whether the adapter computes on the CPU (SwiftShader, lavapipe, WARP). The CPU engine is faster.
    #[must_use]
    pub fn is_software(&self) -> bool {
        self.runner.device.is_software
    }

    /// Bytes that one buffer holds; tiles that need more are worked on in parts.
    #[must_use]
    pub fn most_buffer_bytes(&self) -> u64 {
        self.runner.device.most_buffer_bytes
    }

    /// Gives the device back to the system. What is asked of the engine afterwards, and what is under way,
    /// is answered with [`EngineError::DeviceLost`].
    pub fn destroy(&self) {
        self.runner.device.device.destroy();
    }

    /// Runs a shader that is none of the kernels: a test of a function library, with a name of its own.
    /// `inputs` are its buffers but for the last, which has `output_words` words and comes back.
    ///
    /// # Errors
    /// As for any kernel; also if the device finds the shader invalid.
    pub async fn run_shader(
        &self,
        spec: &'static KernelSpec,
        params: &[u32],
        inputs: &[&[u32]],
        output_words: u64,
    ) -> Result<Vec<u32>, EngineError> {
        let mut storage: Vec<_> =
            inputs.iter().map(|&input| Storage::Input(bytemuck::cast_slice(input))).collect();
        storage.push(Storage::Output { bytes: output_words * 4, is_zeroed: false });
        self.runner.run_shader(spec, params, &storage, output_words, words).await
    }

    /// How many units of `bytes` bytes fit a buffer.
    pub(crate) fn most_units(&self, bytes: u64) -> Result<u64, EngineError> {
        match self.most_buffer_bytes() / bytes {
            0 => Err(EngineError::Refused(format!(
                "a buffer of {} bytes holds nothing",
                self.most_buffer_bytes()
            ))),
            most => Ok(most),
        }
    }

    async fn absmax_of(&self, tile: FloatTile<'_>) -> Result<AbsMax, EngineError> {
        tile.check()?;
        let mut largest = AbsMax::default();
        for part in split(1, tile.bytes.len() as u64, self.most_units(1)?) {
            let bytes = slice(tile.bytes, &part, 1, tile.bytes.len() as u64);
            let word_count = count(bytes.len().div_ceil(4) as u64);
            let params = absmax::Params { word_count, narrow: narrow(tile.dtype) };
            let storage = [Storage::Input(bytes), Storage::Output { bytes: 4, is_zeroed: true }];
            let invocations = u64::from(word_count.div_ceil(absmax::WORDS_PER_INVOCATION));
            let result =
                self.runner.run(Kernel::AbsMax, &params.words(), &storage, invocations, words).await?;
            let pattern = result.first().copied().unwrap_or_default();
            largest = largest.max(AbsMax::from_pattern(pattern, tile.dtype));
        }
        Ok(largest)
    }

    async fn nvfp4_census(&self, tile: Nvfp4Tile<'_>) -> Result<Nvfp4Census, EngineError> {
        tile.check()?;
        let row_blocks = u64::from(tile.blocks);
        let mut census = Nvfp4Census::default();
        let block_bytes = u64::from(tile.block / 2);
        for part in split(u64::from(tile.rows), row_blocks, self.most_units(block_bytes)?) {
            let block_count = part.unit_count();
            let params = nvfp4_verify::Params {
                block_count: count(block_count),
                row_blocks: count(part.units.end - part.units.start),
                block_words: tile.block / 8,
                logical_cols: tile
                    .logical_cols
                    .saturating_sub(count(part.units.start * u64::from(tile.block))),
            };
            let storage = [
                Storage::Input(slice(tile.codes, &part, block_bytes, row_blocks)),
                Storage::Input(slice(tile.scales, &part, 1, row_blocks)),
                census_of(nvfp4_verify::CENSUS_WORDS),
            ];
            let invocations = block_count.div_ceil(4 * u64::from(nvfp4_verify::QUADS_PER_INVOCATION));
            let result =
                self.runner.run(Kernel::Nvfp4Verify, &params.words(), &storage, invocations, words).await?;
            let result = Nvfp4Census::from_words(&result).ok_or_else(short)?;
            census.add(&result, part.first_unit(row_blocks));
        }
        Ok(census)
    }

    async fn fp8_census(&self, tile: Fp8Tile<'_>) -> Result<Fp8Census, EngineError> {
        tile.check()?;
        let cols = u64::from(tile.cols);
        let mut census = Fp8Census::default();
        for part in split(u64::from(tile.rows), cols, self.most_units(1)?) {
            let element_count = part.unit_count();
            let grid = self.grid_of(tile.grid, &part)?;
            let params = fp8_verify::Params {
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
                census_of(fp8_verify::CENSUS_WORDS),
            ];
            let invocations = element_count.div_ceil(4 * u64::from(fp8_verify::WORDS_PER_INVOCATION));
            let result =
                self.runner.run(Kernel::Fp8Verify, &params.words(), &storage, invocations, words).await?;
            let result = Fp8Census::from_words(&result).ok_or_else(short)?;
            census.add(&result, part.first_unit(cols));
        }
        Ok(census)
    }

    async fn scale_census(&self, scales: &[u32]) -> Result<ScaleCensus, EngineError> {
        let bytes: &[u8] = bytemuck::cast_slice(scales);
        let scale_count = scales.len() as u64;
        let mut census = ScaleCensus::default();
        for part in split(1, scale_count, self.most_units(4)?) {
            let params = scale_verify::Params { scale_count: count(part.unit_count()) };
            let storage =
                [Storage::Input(slice(bytes, &part, 4, scale_count)), census_of(scale_verify::CENSUS_WORDS)];
            let invocations = part.unit_count().div_ceil(u64::from(scale_verify::SCALES_PER_INVOCATION));
            let result =
                self.runner.run(Kernel::ScaleVerify, &params.words(), &storage, invocations, words).await?;
            let result = ScaleCensus::from_words(&result).ok_or_else(short)?;
            census.add(&result, part.first_unit(scale_count));
        }
        Ok(census)
    }
}

/// A count of a part: a buffer holds the part, so the count fits.
pub(crate) fn count(of: u64) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

pub(crate) fn narrow(dtype: FloatType) -> u32 {
    u32::from(dtype.bytes() == 2)
}

pub(crate) fn census_of(words: u32) -> Storage<'static> {
    Storage::Output { bytes: u64::from(words) * 4, is_zeroed: true }
}

/// The first output as words. Copied: a mapped range need not be aligned.
pub(crate) fn words(results: &[&[u8]]) -> Vec<u32> {
    let bytes = results.first().copied().unwrap_or_default();
    bytes.as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word)).collect()
}

pub(crate) fn short() -> EngineError {
    EngineError::Refused("a result of the wrong length came back".to_owned())
}

#[allow(clippy::cast_possible_truncation, reason = "the tile is in memory, so its offsets are usize")]
fn range(part: &Part, unit_bytes: u64, row_units: u64) -> std::ops::Range<usize> {
    let first = part.first_unit(row_units) * unit_bytes;
    first as usize..(first + part.unit_count() * unit_bytes) as usize
}

/// The bytes of a part. Parts are contiguous: whole rows, or a piece of one.
pub(crate) fn slice<'t>(tile: &'t [u8], part: &Part, unit_bytes: u64, row_units: u64) -> &'t [u8] {
    tile.get(range(part, unit_bytes, row_units)).unwrap_or_default()
}

pub(crate) fn slice_mut<'t>(
    tile: &'t mut [u8],
    part: &Part,
    unit_bytes: u64,
    row_units: u64,
) -> &'t mut [u8] {
    tile.get_mut(range(part, unit_bytes, row_units)).unwrap_or_default()
}

impl Engine for GpuEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Gpu
    }

    fn description(&self) -> String {
        self.runner.device.description.clone()
    }

    fn absmax<'a>(&'a self, tile: FloatTile<'a>) -> LocalBoxFuture<'a, Result<AbsMax, EngineError>> {
        Box::pin(self.absmax_of(tile))
    }

    fn block_absmax<'a>(
        &'a self,
        tile: FloatTile<'a>,
        block: BlockSize,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(self.block_maxima(tile, block, out))
    }

    fn nvfp4_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        table: &'a Nvfp4Table,
        scales: &'a [u8],
        codes: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(self.encode(tile, table, scales, codes))
    }

    fn nvfp4_quantize<'a>(
        &'a self,
        tile: FloatTile<'a>,
        table: &'a Nvfp4Table,
        mut out: Nvfp4Out<'a>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move { self.quantize(tile, table, &mut out).await })
    }

    fn nvfp4_search<'a>(
        &'a self,
        tile: FloatTile<'a>,
        search: &'a ScaleSearch,
        scales: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(self.search(tile, search, scales))
    }

    fn nvfp4_verify<'a>(
        &'a self,
        tile: Nvfp4Tile<'a>,
    ) -> LocalBoxFuture<'a, Result<Nvfp4Census, EngineError>> {
        Box::pin(self.nvfp4_census(tile))
    }

    fn fp8_verify<'a>(&'a self, tile: Fp8Tile<'a>) -> LocalBoxFuture<'a, Result<Fp8Census, EngineError>> {
        Box::pin(self.fp8_census(tile))
    }

    fn scale_verify<'a>(&'a self, scales: &'a [u32]) -> LocalBoxFuture<'a, Result<ScaleCensus, EngineError>> {
        Box::pin(self.scale_census(scales))
    }

    fn fp8_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        grid: ScaleGrid<'a>,
        rule: Fp8Rule,
        codes: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(self.fp8_codes(tile, grid, rule, codes))
    }

    fn fp8_decode<'a>(
        &'a self,
        tile: Fp8Tile<'a>,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(self.fp8_values(tile, out))
    }

    fn mx_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        element: MxElement,
        cast: CodeCast,
        codes: &'a mut [u8],
        scales: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(self.mx_codes(tile, element, cast, codes, scales))
    }

    fn fp4_decode<'a>(
        &'a self,
        tile: Fp4Tile<'a>,
        table: &'a Fp4DecodeTable,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(self.fp4_values(tile, table, out))
    }

    fn error_metrics<'a>(
        &'a self,
        tile: FloatTile<'a>,
        decoded: &'a [u32],
    ) -> LocalBoxFuture<'a, Result<ErrorMetrics, EngineError>> {
        Box::pin(self.metrics(tile, decoded))
    }

    fn byte_census<'a>(&'a self, bytes: &'a [u8]) -> LocalBoxFuture<'a, Result<ByteCensus, EngineError>> {
        Box::pin(self.count_bytes(bytes))
    }
}
