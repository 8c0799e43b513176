//! E2M1 codes, two to a byte with the even column in the low nibble, under E4M3 block scales and one F32
//! global scale: `formats.md` b, decoding and the dynamic rule of encoding.

use crate::decode::{Decoder, Refusal, Region, Slab};
use crate::encode::{EncodeInput, Encoded, Encoder};
use crate::layer::LayerView;
use crate::parts::bytes::{part, scalar};
use crate::parts::shapes::{expect_elements, matrix, needed};
use futures_util::future::{LocalBoxFuture, ready};
use quantscope_kernels::nvfp4_quantize::{Nvfp4Block, Nvfp4Table};
use quantscope_kernels::{Engine, EngineError, FloatTile, Nvfp4Out};
use quantscope_numeric::{Dtype, e2m1, e4m3};

/// Decodes rows of packed codes.
pub(crate) struct BlockDecoder {
    rows: u64,
    cols: u64,
    block: u64,
    weight: &'static str,
    scale: &'static str,
    global: &'static str,
    global_dtype: Dtype,
}

impl BlockDecoder {
    /// Checks that every block has its scale.
    pub(crate) fn new(
        layer: &LayerView<'_>,
        [weight, scale, global]: [&'static str; 3],
        block: u64,
    ) -> Result<Self, Refusal> {
        let [rows, row_bytes] = matrix(needed(layer, weight)?)?;
        let cols = row_bytes.saturating_mul(2);
        let (scales, whole) = (needed(layer, scale)?, needed(layer, global)?);
        expect_elements(scales, rows.checked_mul(cols / block).filter(|_| cols.is_multiple_of(block)))?;
        expect_elements(whole, Some(1))?;
        Ok(Self { rows, cols, block, weight, scale, global, global_dtype: whole.dtype })
    }
}

impl Decoder for BlockDecoder {
    fn shape(&self) -> Vec<u64> {
        vec![self.rows, self.cols]
    }

    fn extent(&self) -> [u64; 2] {
        [self.rows, self.cols]
    }

    fn column_unit(&self) -> u64 {
        self.block
    }

    fn needs(&self, region: &Region) -> Vec<Slab> {
        let (rows, cols) = (&region.rows, &region.cols);
        let blocks = cols.start / self.block..cols.end.div_ceil(self.block);
        vec![
            Slab::rectangle(self.weight, self.cols / 2, rows.clone(), cols.start / 2..cols.end.div_ceil(2)),
            Slab::rectangle(self.scale, self.cols / self.block, rows.clone(), blocks),
            Slab::range(self.global, 0, self.global_dtype.bits() / 8),
        ]
    }

    fn decode<'a>(
        &'a self,
        _engine: &'a dyn Engine,
        _region: &'a Region,
        parts: &'a [Vec<u8>],
        out: &'a mut Vec<f32>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        let global = scalar(self.global_dtype, parts.get(2));
        let bytes = usize::try_from(self.block / 2).unwrap_or(8);
        // f32(f32(dec(scale) * ws2) * value): one rounding for the scale, one for the product.
        for (block, &scale) in part(parts, 0).chunks(bytes).zip(part(parts, 1)) {
            let scale = e4m3::decode(scale) * global;
            for &byte in block {
                out.push(e2m1::decode(byte & 15) * scale);
                out.push(e2m1::decode(byte >> 4) * scale);
            }
        }
        Box::pin(ready(Ok(())))
    }
}

/// Encodes with scales from each block's own maximum.
pub(crate) struct DynamicEncoder {
    table: Nvfp4Table,
}

impl DynamicEncoder {
    /// `largest` is what codes and block scales reach together.
    pub(crate) fn new(input: &EncodeInput, largest: f32) -> Self {
        Self { table: Nvfp4Table::dynamic(input.maximum / largest, Nvfp4Block::Of16, input.cast) }
    }
}

impl Encoder for DynamicEncoder {
    fn scalars(&self) -> Vec<(&'static str, f32)> {
        vec![("weight_scale_2", self.table.ws2())]
    }

    fn scales(&self, maxima: &[u32]) -> Vec<u8> {
        maxima.iter().map(|&bits| self.table.scale_byte(bits)).collect()
    }

    fn codes<'a>(
        &'a self,
        engine: &'a dyn Engine,
        tile: FloatTile<'a>,
        _first_row: u32,
        _scales: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<Vec<u8>, EngineError>> {
        Box::pin(async move { Ok(self.encode(engine, tile).await?.codes) })
    }

    fn encode<'a>(
        &'a self,
        engine: &'a dyn Engine,
        tile: FloatTile<'a>,
    ) -> LocalBoxFuture<'a, Result<Encoded, EngineError>> {
        Box::pin(async move {
            let blocks =
                usize::try_from(u64::from(tile.rows) * u64::from(tile.row_blocks(self.table.block())))
                    .unwrap_or(0);
            let mut encoded = Encoded { codes: vec![0; blocks.saturating_mul(8)], scales: vec![0; blocks] };
            let out = Nvfp4Out { codes: &mut encoded.codes, scales: &mut encoded.scales };
            engine.nvfp4_quantize(tile, &self.table, out).await?;
            Ok(encoded)
        })
    }
}
