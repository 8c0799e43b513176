//! Encoding to signed integers: the nearest multiple of a row's or a group's scale, ties to even.
//!
//! Source: `formats.md` e: `q = clamp(rint(f32(w / s)))`.

use crate::encode::{EncodeInput, Encoded, Encoder};
use crate::parts::fp8::block_maxima;
use crate::parts::int_decode::Packing;
use crate::parts::scales::MaximumRule;
use futures_util::future::LocalBoxFuture;
use quantscope_kernels::block_absmax::BlockSize;
use quantscope_kernels::nvfp4_quantize::CodeCast;
use quantscope_kernels::{Engine, EngineError, FloatTile, FloatType};
use quantscope_numeric::{Dtype, int4, int8, round_to_bf16, round_to_f16, widen};

/// Makes scales and codes of one tensor.
pub(crate) struct IntEncoder {
    rule: MaximumRule,
    packing: Packing,
    /// Columns that share a scale; `u32::MAX` for a whole row.
    group: u32,
    cast: CodeCast,
    /// A scale of the whole tensor that is stored beside.
    global: Option<(&'static str, f32)>,
}

impl IntEncoder {
    /// The encoder of one tensor.
    pub(crate) fn new(
        input: &EncodeInput,
        rule: MaximumRule,
        packing: Packing,
        group: u32,
        global: Option<(&'static str, f32)>,
    ) -> Self {
        Self { rule, packing, group: group.max(1), cast: input.cast, global }
    }

    /// Codes of one row under its scales, a byte each.
    fn row(&self, values: &[f32], scales: &[f32]) -> Vec<u8> {
        let run = usize::try_from(self.group).unwrap_or(usize::MAX);
        let mut codes = Vec::with_capacity(values.len());
        for (values, &scale) in values.chunks(run).zip(scales) {
            codes.extend(values.iter().map(|&value| {
                let value = match self.cast {
                    CodeCast::Keep => value,
                    CodeCast::ToBf16 => round_to_bf16(value),
                    CodeCast::ToF16 => round_to_f16(value),
                };
                match self.packing {
                    Packing::Bytes => int8::encode(value / scale).cast_unsigned(),
                    Packing::RowPairs => int4::encode(value / scale),
                }
            }));
        }
        codes
    }

    fn codes_of(&self, tile: &FloatTile<'_>, scales: &[u8]) -> Vec<u8> {
        let dtype = match tile.dtype {
            FloatType::F32 => Dtype::F32,
            FloatType::Bf16 => Dtype::BF16,
            FloatType::F16 => Dtype::F16,
        };
        let cols = usize::try_from(tile.cols).unwrap_or(usize::MAX).max(1);
        let across = usize::try_from(tile.cols.div_ceil(self.group)).unwrap_or(usize::MAX).max(1);
        let mut factors = Vec::new();
        widen(Dtype::F32, scales, &mut factors);
        let mut factors = factors.chunks(across);
        let mut codes = Vec::new();
        let mut values = Vec::new();
        let mut even = None;
        for row in tile.bytes.chunks(cols.saturating_mul(tile.dtype.bytes())) {
            values.clear();
            widen(dtype, row, &mut values);
            let row = self.row(&values, factors.next().unwrap_or_default());
            match (self.packing, even.take()) {
                (Packing::Bytes, _) => codes.extend(row),
                (Packing::RowPairs, None) => even = Some(row),
                (Packing::RowPairs, Some(low)) => {
                    codes.extend(low.iter().zip(row).map(|(&low, high)| int4::pack(low, high)));
                }
            }
        }
        codes
    }
}

impl Encoder for IntEncoder {
    fn scalars(&self) -> Vec<(&'static str, f32)> {
        self.global.into_iter().collect()
    }

    fn scales(&self, maxima: &[u32]) -> Vec<u8> {
        self.rule.stored(maxima)
    }

    fn codes<'a>(
        &'a self,
        _engine: &'a dyn Engine,
        tile: FloatTile<'a>,
        _first_row: u32,
        scales: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<Vec<u8>, EngineError>> {
        Box::pin(async move {
            tile.check()?;
            Ok(self.codes_of(&tile, scales))
        })
    }

    fn encode<'a>(
        &'a self,
        engine: &'a dyn Engine,
        tile: FloatTile<'a>,
    ) -> LocalBoxFuture<'a, Result<Encoded, EngineError>> {
        Box::pin(async move {
            let maxima = block_maxima(engine, tile, BlockSize::group(self.group)).await?;
            let scales = self.rule.stored(&maxima);
            Ok(Encoded { codes: self.codes_of(&tile, &scales), scales })
        })
    }
}
