//! E4M3 codes under scales, one per tile of rows and columns: a tensor, a row, 128 x 128, or 1 x 32.

use crate::decode::{Decoder, Refusal, Region, Slab};
use crate::layer::LayerView;
use crate::parts::bytes::{floats, part, room};
use crate::parts::shapes::{expect_elements, expect_type, needed};
use futures_util::future::LocalBoxFuture;
use quantscope_kernels::{Engine, EngineError, Fp8Tile, ScaleGrid};
use quantscope_numeric::{Dtype, e8m0};

/// Types of scales.
const SCALES: &[Dtype] = &[Dtype::F32, Dtype::BF16, Dtype::F16, Dtype::F8_E8M0, Dtype::U8];

/// Scales as numbers. Bytes that are no float are powers of two.
fn scale_bits(dtype: Dtype, bytes: &[u8]) -> Vec<u32> {
    let values = match dtype {
        Dtype::U8 | Dtype::F8_E8M0 => bytes.iter().map(|&byte| e8m0::decode(byte)).collect(),
        _ => floats(dtype, bytes),
    };
    values.into_iter().map(f32::to_bits).collect()
}

/// Decodes E4M3 rows whose scales govern tiles of `block_rows` x `block_cols`.
pub(crate) struct TileDecoder {
    shape: Vec<u64>,
    rows: u64,
    cols: u64,
    block_rows: u64,
    block_cols: u64,
    weight: &'static str,
    scale: &'static str,
    scale_dtype: Dtype,
}

impl TileDecoder {
    /// Checks shapes. `u64::MAX` as a side of the block is the whole extent; no side is zero.
    pub(crate) fn new(
        layer: &LayerView<'_>,
        weight: &'static str,
        scale: &'static str,
        [block_rows, block_cols]: [u64; 2],
    ) -> Result<Self, Refusal> {
        let stored = needed(layer, weight)?;
        let scales = needed(layer, scale)?;
        expect_type(stored, &[Dtype::F8_E4M3])?;
        expect_type(scales, SCALES)?;
        let rows = stored.shape.first().copied().unwrap_or(1);
        let cols = stored.shape.iter().skip(1).fold(1_u64, |n, &d| n.saturating_mul(d));
        let [block_rows, block_cols] = [block_rows.max(1), block_cols.max(1)];
        expect_elements(scales, rows.div_ceil(block_rows).checked_mul(cols.div_ceil(block_cols)))?;
        Ok(Self {
            shape: stored.shape.to_vec(),
            rows,
            cols,
            block_rows,
            block_cols,
            weight,
            scale,
            scale_dtype: scales.dtype,
        })
    }

    /// Columns of the scale grid that a region touches.
    fn across(&self, region: &Region) -> std::ops::Range<u64> {
        region.cols.start / self.block_cols..region.cols.end.div_ceil(self.block_cols)
    }
}

impl Decoder for TileDecoder {
    fn shape(&self) -> Vec<u64> {
        self.shape.clone()
    }

    fn extent(&self) -> [u64; 2] {
        [self.rows, self.cols]
    }

    fn column_unit(&self) -> u64 {
        if self.block_cols >= self.cols { 1 } else { self.block_cols }
    }

    fn needs(&self, region: &Region) -> Vec<Slab> {
        let width = self.scale_dtype.bits() / 8;
        let down = region.rows.start / self.block_rows..region.rows.end.div_ceil(self.block_rows);
        let across = self.across(region);
        let grid_row = self.cols.div_ceil(self.block_cols).saturating_mul(width);
        let bytes = across.start.saturating_mul(width)..across.end.saturating_mul(width);
        vec![
            Slab::rectangle(self.weight, self.cols, region.rows.clone(), region.cols.clone()),
            Slab::rectangle(self.scale, grid_row, down, bytes),
        ]
    }

    fn decode<'a>(
        &'a self,
        engine: &'a dyn Engine,
        region: &'a Region,
        parts: &'a [Vec<u8>],
        out: &'a mut Vec<f32>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            let scales = scale_bits(self.scale_dtype, part(parts, 1));
            let codes = part(parts, 0);
            let across = self.across(region);
            let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
            let tile = Fp8Tile {
                codes,
                rows: narrow(region.rows.end.saturating_sub(region.rows.start)),
                cols: narrow(region.cols.end.saturating_sub(region.cols.start)),
                grid: ScaleGrid {
                    scales: &scales,
                    block_rows: narrow(self.block_rows),
                    block_cols: narrow(self.block_cols),
                    scale_cols: narrow(across.end.saturating_sub(across.start)),
                    first_row: if self.block_rows >= self.rows {
                        0
                    } else {
                        narrow(region.rows.start % self.block_rows)
                    },
                },
            };
            engine.fp8_decode(tile, room(out, codes.len())).await?;
            Ok(())
        })
    }
}
