//! Decoding signed integers under float scales: bytes with a scale per row, and nibbles that two output rows
//! share, with a scale per group of a row.
//!
//! Source: `formats.md` a (nibble order) and e.

use crate::decode::{Decoder, Refusal, Region, Slab};
use crate::layer::LayerView;
use crate::parts::bytes::{floats, index, part};
use crate::parts::shapes::{expect_elements, expect_type, matrix, needed, text};
use futures_util::future::{LocalBoxFuture, ready};
use quantscope_kernels::{Engine, EngineError};
use quantscope_numeric::{Dtype, int4};

/// How codes stand in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// A signed byte each.
    Bytes,
    /// Rows 2i and 2i + 1 in one byte, the even one in the low nibble.
    RowPairs,
}

/// Decodes rows of integers.
pub(crate) struct IntDecoder {
    rows: u64,
    cols: u64,
    group: u64,
    packing: Packing,
    weight: &'static str,
    scale: &'static str,
    scale_dtype: Dtype,
}

impl IntDecoder {
    /// Checks that every row, or every group of a row, has its scale. The group size follows from the shapes.
    pub(crate) fn new(
        layer: &LayerView<'_>,
        [weight, scale]: [&'static str; 2],
        packing: Packing,
    ) -> Result<Self, Refusal> {
        let (codes, scales) = (needed(layer, weight)?, needed(layer, scale)?);
        expect_type(codes, &[Dtype::I8, Dtype::U8])?;
        expect_type(scales, &[Dtype::F32, Dtype::BF16, Dtype::F16])?;
        let [stored_rows, cols] = matrix(codes)?;
        let (rows, group) = match packing {
            Packing::Bytes => {
                expect_elements(scales, Some(stored_rows))?;
                (stored_rows, cols)
            }
            Packing::RowPairs => {
                let rows = stored_rows.saturating_mul(2);
                let groups = matrix(scales)?[1];
                expect_elements(scales, rows.checked_mul(groups))?;
                if groups == 0 || !cols.is_multiple_of(groups) {
                    let (codes, scales) = (text(codes.shape), text(scales.shape));
                    let reason = format!("has `{scale}` {scales} beside `{weight}` {codes}: no whole groups");
                    return Err(Refusal::new(reason, "export the layer again"));
                }
                (rows, cols / groups)
            }
        };
        Ok(Self { rows, cols, group: group.max(1), packing, weight, scale, scale_dtype: scales.dtype })
    }

    /// Groups that a region touches.
    fn groups(&self, region: &Region) -> std::ops::Range<u64> {
        region.cols.start / self.group..region.cols.end.div_ceil(self.group)
    }
}

impl Decoder for IntDecoder {
    fn shape(&self) -> Vec<u64> {
        vec![self.rows, self.cols]
    }

    fn extent(&self) -> [u64; 2] {
        [self.rows, self.cols]
    }

    fn column_unit(&self) -> u64 {
        if self.group >= self.cols { 1 } else { self.group }
    }

    fn needs(&self, region: &Region) -> Vec<Slab> {
        let rows = match self.packing {
            Packing::Bytes => region.rows.clone(),
            Packing::RowPairs => region.rows.start / 2..region.rows.end.div_ceil(2),
        };
        let width = self.scale_dtype.bits() / 8;
        let groups = self.groups(region);
        let scale_row = self.cols.div_ceil(self.group).saturating_mul(width);
        let bytes = groups.start.saturating_mul(width)..groups.end.saturating_mul(width);
        vec![
            Slab::rectangle(self.weight, self.cols, rows, region.cols.clone()),
            Slab::rectangle(self.scale, scale_row, region.rows.clone(), bytes),
        ]
    }

    fn decode<'a>(
        &'a self,
        _engine: &'a dyn Engine,
        region: &'a Region,
        parts: &'a [Vec<u8>],
        out: &'a mut Vec<f32>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        let width = index(region.cols.end.saturating_sub(region.cols.start)).max(1);
        let scales = floats(self.scale_dtype, part(parts, 1));
        let groups = self.groups(region);
        let across = index(groups.end.saturating_sub(groups.start)).max(1);
        let run = index(self.group);
        let mut scale_rows = scales.chunks(across);
        let lines: Vec<&[u8]> = part(parts, 0).chunks(width).collect();
        for row in region.rows.clone() {
            let at = match self.packing {
                Packing::Bytes => row - region.rows.start,
                Packing::RowPairs => row / 2 - region.rows.start / 2,
            };
            let codes = lines.get(index(at)).copied().unwrap_or_default();
            let scales = scale_rows.next().unwrap_or_default();
            for (codes, &scale) in codes.chunks(run).zip(scales) {
                out.extend(codes.iter().map(|&byte| match self.packing {
                    Packing::Bytes => f32::from(byte.cast_signed()) * scale,
                    Packing::RowPairs if row % 2 == 0 => f32::from(int4::decode(byte)) * scale,
                    Packing::RowPairs => f32::from(int4::decode(byte >> 4)) * scale,
                }));
            }
        }
        Box::pin(ready(Ok(())))
    }
}
