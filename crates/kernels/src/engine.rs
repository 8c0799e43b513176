//! What an engine can do, as plain data in and plain data out.
//!
//! Two engines implement this: [`crate::CpuEngine`] here, and the WebGPU engine in its own room.
//! Every method is exact: both engines give the same bits for the same tile, on every adapter.

use crate::block_absmax::BlockSize;
use crate::byte_census::ByteCensus;
use crate::error_metrics::{ErrorMetrics, packed};
use crate::fp4_decode::{Fp4DecodeTable, Fp4Tile};
use crate::fp8_encode::Fp8Rule;
use crate::mx_encode::MxElement;
use crate::nvfp4_quantize::{CodeCast, Nvfp4Table};
use crate::nvfp4_search::ScaleSearch;
use crate::scale_grid::ScaleGrid;
use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};

/// Why an engine could not run a kernel. The caller goes on with another engine from the same tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The device is gone: driver reset, tab in the background for long, unplugged.
    #[error("the GPU device was lost: {0}")]
    DeviceLost(String),
    /// The tile or a buffer is larger than the device allows.
    #[error("the GPU refused: {0}")]
    Refused(String),
    /// The tile does not have the bytes that its shape says. A fault of the caller.
    #[error("tile of {expected} bytes expected, {found} given")]
    TileSize {
        /// Bytes the shape needs.
        expected: u64,
        /// Bytes given.
        found: u64,
    },
}

/// Which engine did the work; shown to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// The CPU twin.
    Cpu,
    /// A WebGPU (or, natively, Vulkan/Metal/DX12) device.
    Gpu,
}

/// A plain floating-point element type a kernel can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FloatType {
    /// IEEE binary32.
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE binary16.
    F16,
}

impl FloatType {
    /// Bytes of one element.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    /// The type as a number for shaders: what `source_f32` of `shared/source.wgsl` reads.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::Bf16 => 1,
            Self::F16 => 2,
        }
    }
}

/// Rows of a plain float matrix, little-endian, row-major, without padding between rows.
#[derive(Debug, Clone, Copy)]
pub struct FloatTile<'a> {
    /// Element type.
    pub dtype: FloatType,
    /// `rows * cols * dtype.bytes()` bytes.
    pub bytes: &'a [u8],
    /// Number of rows.
    pub rows: u32,
    /// Elements in a row; need not be a multiple of 16.
    pub cols: u32,
}

/// The largest magnitude of a tile, as the bits of an `f32` without its sign.
///
/// Widening BF16 and F16 to F32 is exact and keeps their order, so the largest pattern is the largest
/// magnitude. `bits >= 0x7f80_0000` means that the tile holds an infinity or a NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AbsMax {
    /// Bits of the magnitude, sign cleared.
    pub bits: u32,
}

impl AbsMax {
    /// The magnitude as a number.
    #[must_use]
    pub fn value(self) -> f32 {
        f32::from_bits(self.bits)
    }

    /// Whether no element is infinite or NaN.
    #[must_use]
    pub fn is_finite(self) -> bool {
        self.bits < 0x7f80_0000
    }

    /// The larger of two tiles.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { bits: self.bits.max(other.bits) }
    }
}

/// Where a quantized tile goes. `B = ceil(cols / b)` blocks a row, `b` elements a block: 16 or 32.
#[derive(Debug)]
pub struct Nvfp4Out<'a> {
    /// `rows * B * b / 2` bytes of E2M1 codes, two to a byte, the even column in the low nibble.
    pub codes: &'a mut [u8],
    /// `rows * B` bytes of E4M3 block scales.
    pub scales: &'a mut [u8],
}

/// A tile of a packed NVFP4 weight: whole rows, or one part of a row that starts at a block.
#[derive(Debug, Clone, Copy)]
pub struct Nvfp4Tile<'a> {
    /// `rows * blocks * block / 2` bytes of codes.
    pub codes: &'a [u8],
    /// `rows * blocks` bytes of E4M3 block scales.
    pub scales: &'a [u8],
    /// Number of rows.
    pub rows: u32,
    /// Blocks in a row of this tile.
    pub blocks: u32,
    /// Elements in a block: 16, or 32 under W4A8.
    pub block: u32,
    /// Elements of a row that are not padding, counted in this tile; `blocks * block` if there is none.
    pub logical_cols: u32,
}

/// Index of nothing in a census.
pub const NONE: u64 = u64::MAX;

/// What a packed NVFP4 tile holds. Counts add up over tiles; indices are of this tile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nvfp4Census {
    /// How often each of the 16 codes occurs, padding included.
    pub codes: [u64; 16],
    /// How often each scale byte occurs.
    pub scales: Vec<u64>,
    /// Blocks whose scale is 0 (byte 0x00 or 0x80) although a code is not zero (codes 1-7, 9-15).
    pub zero_scale_with_codes: u64,
    /// The first such block (`row * blocks + block`), or [`NONE`].
    pub first_zero_scale_with_codes: u64,
    /// Blocks whose scale is 0 and whose codes are all zero.
    pub zero_scale_zero_codes: u64,
    /// The first block whose scale is NaN (0x7f, 0xff) or negative and not zero, or [`NONE`].
    pub first_bad_scale: u64,
    /// Codes other than 0 and 8 at columns from `logical_cols` on.
    pub padding_not_zero: u64,
}

impl Default for Nvfp4Census {
    fn default() -> Self {
        Self {
            codes: [0; 16],
            scales: vec![0; 256],
            zero_scale_with_codes: 0,
            first_zero_scale_with_codes: NONE,
            zero_scale_zero_codes: 0,
            first_bad_scale: NONE,
            padding_not_zero: 0,
        }
    }
}

/// Rows of an FP8 (E4M3) weight with the F32 scales that govern them.
#[derive(Debug, Clone, Copy)]
pub struct Fp8Tile<'a> {
    /// `rows * cols` bytes of E4M3 codes.
    pub codes: &'a [u8],
    /// Number of rows.
    pub rows: u32,
    /// Elements in a row.
    pub cols: u32,
    /// The scales.
    pub grid: ScaleGrid<'a>,
}

/// What an FP8 tile holds. Counts add up over tiles; indices are of this tile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fp8Census {
    /// How often each of the 256 codes occurs.
    pub codes: Vec<u64>,
    /// Elements that are not zero although their scale is zero.
    pub nonzero_under_zero_scale: u64,
    /// The first such element (`row * cols + col`), or [`NONE`].
    pub first_nonzero_under_zero_scale: u64,
    /// The first element that is NaN (0x7f, 0xff), or [`NONE`].
    pub first_nan: u64,
}

impl Default for Fp8Census {
    fn default() -> Self {
        Self {
            codes: vec![0; 256],
            nonzero_under_zero_scale: 0,
            first_nonzero_under_zero_scale: NONE,
            first_nan: NONE,
        }
    }
}

/// What a list of F32 scales holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleCensus {
    /// NaN or infinite.
    pub not_finite: u64,
    /// Negative and not zero, finite.
    pub negative: u64,
    /// Zero of either sign.
    pub zero: u64,
    /// Not zero, but below the smallest normal number.
    pub subnormal: u64,
    /// The first that is NaN, infinite or negative, or [`NONE`].
    pub first_bad: u64,
}

impl Default for ScaleCensus {
    fn default() -> Self {
        Self { not_finite: 0, negative: 0, zero: 0, subnormal: 0, first_bad: NONE }
    }
}

/// The kernels, each on one tile. All are exact.
///
/// A tile with no rows or no columns is answered with empty counts. Tiles have fewer than 2^31 bytes.
pub trait Engine {
    /// Which engine this is.
    fn kind(&self) -> EngineKind;

    /// Words for the status bar: the adapter's name, or how the CPU twin runs.
    fn description(&self) -> String;

    /// The largest magnitude of the tile (kernel `absmax`).
    fn absmax<'a>(&'a self, tile: FloatTile<'a>) -> LocalBoxFuture<'a, Result<AbsMax, EngineError>>;

    /// The largest magnitude of each block of the tile, as F32 bits without the sign, rows of blocks after
    /// each other (kernel `block_absmax`). `out` has `ceil(rows / block.rows) * ceil(cols / block.cols)`
    /// words; blocks at the edges may be partial. Bits from `0x7f80_0000` on tell an infinity or a NaN.
    fn block_absmax<'a>(
        &'a self,
        tile: FloatTile<'a>,
        block: BlockSize,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>>;

    /// Quantizes to NVFP4 with the thresholds of `table` (kernel `nvfp4_quantize`).
    /// Rows are padded with zeros to whole blocks.
    fn nvfp4_quantize<'a>(
        &'a self,
        tile: FloatTile<'a>,
        table: &'a Nvfp4Table,
        out: Nvfp4Out<'a>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>>;

    /// Writes the NVFP4 codes of the tile under block scales that are given, one E4M3 byte a block (kernel
    /// `nvfp4_encode`). `codes` is as long as in [`Nvfp4Out`]; rows are padded with zeros to whole blocks.
    fn nvfp4_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        table: &'a Nvfp4Table,
        scales: &'a [u8],
        codes: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>>;

    /// Finds the NVFP4 block scales of least error, one byte for each block of 16 (kernel `nvfp4_search`).
    /// Rows are padded with zeros to whole blocks.
    fn nvfp4_search<'a>(
        &'a self,
        tile: FloatTile<'a>,
        search: &'a ScaleSearch,
        scales: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>>;

    /// Takes the census of a packed NVFP4 tile (kernel `nvfp4_verify`).
    fn nvfp4_verify<'a>(
        &'a self,
        tile: Nvfp4Tile<'a>,
    ) -> LocalBoxFuture<'a, Result<Nvfp4Census, EngineError>>;

    /// Takes the census of an FP8 tile (kernel `fp8_verify`).
    fn fp8_verify<'a>(&'a self, tile: Fp8Tile<'a>) -> LocalBoxFuture<'a, Result<Fp8Census, EngineError>>;

    /// Takes the census of F32 scales given as bits (kernel `scale_verify`).
    fn scale_verify<'a>(&'a self, scales: &'a [u32]) -> LocalBoxFuture<'a, Result<ScaleCensus, EngineError>>;

    /// Encodes to FP8 under given scales (kernel `fp8_encode`): a code for each element.
    fn fp8_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        grid: ScaleGrid<'a>,
        rule: Fp8Rule,
        codes: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>>;

    /// Decodes FP8 (kernel `fp8_decode`): the F32 bits of each element.
    fn fp8_decode<'a>(
        &'a self,
        tile: Fp8Tile<'a>,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>>;

    /// Encodes to an MX format (kernel `mx_encode`). Rows are padded with zeros to `B` whole blocks of 32;
    /// `codes` has `rows * B * element.block_bytes()` bytes, `scales` has `rows * B`.
    fn mx_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        element: MxElement,
        cast: CodeCast,
        codes: &'a mut [u8],
        scales: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>>;

    /// Decodes packed FP4 (kernel `fp4_decode`): the F32 bits of each element, padding included.
    fn fp4_decode<'a>(
        &'a self,
        tile: Fp4Tile<'a>,
        table: &'a Fp4DecodeTable,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>>;

    /// How far decoded values, F32 bits, are from their source (kernel `error_metrics`). As many as the tile
    /// has elements, without padding.
    fn error_metrics<'a>(
        &'a self,
        tile: FloatTile<'a>,
        decoded: &'a [u32],
    ) -> LocalBoxFuture<'a, Result<ErrorMetrics, EngineError>>;

    /// How far packed FP4 is from its source: the metrics of what kernel `fp4_decode` makes of it. Rows are padded
    /// to whole blocks; padding is left out.
    fn fp4_errors<'a>(
        &'a self,
        source: FloatTile<'a>,
        packed: Fp4Tile<'a>,
        table: &'a Fp4DecodeTable,
    ) -> LocalBoxFuture<'a, Result<ErrorMetrics, EngineError>> {
        Box::pin(async move {
            packed::check(&source, &packed)?;
            let mut values = vec![0; packed.codes.len().saturating_mul(2)];
            self.fp4_decode(packed, table, &mut values).await?;
            let [stored, cols] = [values.len() / packed.rows.max(1) as usize, source.cols as usize];
            if stored != cols {
                values =
                    values.chunks(stored.max(1)).flat_map(|row| row.iter().take(cols).copied()).collect();
            }
            self.error_metrics(source, &values).await
        })
    }

    /// Counts bytes (kernel `byte_census`).
    fn byte_census<'a>(&'a self, bytes: &'a [u8]) -> LocalBoxFuture<'a, Result<ByteCensus, EngineError>>;
}
