//! E4M3 codes under float scales, one per tile of rows and columns.

use crate::decode::{Decoder, Refusal, Region, Slab};
use crate::layer::LayerView;
use crate::parts::bytes::{floats, index, part};
use crate::parts::shapes::{expect_elements, needed};
use futures_util::future::{LocalBoxFuture, ready};
use quantscope_kernels::{Engine, EngineError};
use quantscope_numeric::{Dtype, e4m3};

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
    /// Checks shapes. `u64::MAX` as a side of the block is the whole extent.
    pub(crate) fn new(
        layer: &LayerView<'_>,
        weight: &'static str,
        scale: &'static str,
        [block_rows, block_cols]: [u64; 2],
    ) -> Result<Self, Refusal> {
        let stored = needed(layer, weight)?;
        let scales = needed(layer, scale)?;
        let rows = stored.shape.first().copied().unwrap_or(1);
        let cols = stored.shape.iter().skip(1).fold(1_u64, |n, &d| n.saturating_mul(d));
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

    fn decode_region(&self, region: &Region, parts: &[Vec<u8>], out: &mut Vec<f32>) {
        let scales = floats(self.scale_dtype, part(parts, 1));
        let width = region.cols.end.saturating_sub(region.cols.start);
        let (first_row, first_col) =
            (region.rows.start / self.block_rows, region.cols.start / self.block_cols);
        let across = region.cols.end.div_ceil(self.block_cols).saturating_sub(first_col);
        for (row, codes) in (region.rows.start..).zip(part(parts, 0).chunks(index(width).max(1))) {
            let base = (row / self.block_rows).saturating_sub(first_row).saturating_mul(across);
            for (col, &code) in (region.cols.start..).zip(codes) {
                let at = base.saturating_add((col / self.block_cols).saturating_sub(first_col));
                let scale = scales.get(index(at)).copied().unwrap_or(f32::NAN);
                out.push(e4m3::decode(code) * scale);
            }
        }
    }
}

impl Decoder for TileDecoder {
    fn shape(&self) -> Vec<u64> {
        self.shape.clone()
    }

    fn extent(&self) -> [u64; 2] {
        [self.rows, self.cols]
    }

    fn needs(&self, region: &Region) -> Vec<Slab> {
        let width = self.scale_dtype.bits() / 8;
        let down = region.rows.start / self.block_rows..region.rows.end.div_ceil(self.block_rows);
        let across = region.cols.start / self.block_cols..region.cols.end.div_ceil(self.block_cols);
        let grid_row = self.cols.div_ceil(self.block_cols).saturating_mul(width);
        let bytes = across.start.saturating_mul(width)..across.end.saturating_mul(width);
        vec![
            Slab::rectangle(self.weight, self.cols, region.rows.clone(), region.cols.clone()),
            Slab::rectangle(self.scale, grid_row, down, bytes),
        ]
    }

    fn decode<'a>(
        &'a self,
        _engine: &'a dyn Engine,
        region: &'a Region,
        parts: &'a [Vec<u8>],
        out: &'a mut Vec<f32>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        self.decode_region(region, parts, out);
        Box::pin(ready(Ok(())))
    }
}
