//! gpt-oss: stacked experts in MXFP4, blocks and scales beside each other.
//!
//! Source: `formats.md` j. `<parameter>_blocks` [E, out, K/32, 16] and `<parameter>_scales` [E, out, K/32]
//! stand for the model's parameter [E, K, out]: what is decoded is transposed.

use crate::about::{About, Family, Match, ScaleLayout};
use crate::decode::{Decoder, Refusal, Region, Slab};
use crate::layer::LayerView;
use crate::parts::bits;
use crate::parts::bytes::{index, part};
use crate::parts::foreign::ABOUT;
use crate::parts::mx_stack::{BLOCK, BLOCK_BYTES, BLOCKS, SCALES, sides};
use crate::scheme::Scheme;
use futures_util::future::{LocalBoxFuture, ready};
use quantscope_kernels::{Engine, EngineError};
use quantscope_numeric::{Dtype, e2m1, e8m0};
use std::ops::Range;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&GptOss];

struct GptOss;

impl Scheme for GptOss {
    fn about(&self) -> &'static About {
        const GPT_OSS: About = About {
            id: "gpt-oss-mxfp4",
            place: 590,
            title: "gpt-oss MXFP4: stacked experts, E2M1 in blocks of 32, powers of two as scales",
            family: Family::Fp4,
            companions: &[BLOCKS, SCALES],
            declared_by: "`quant_method` `mxfp4`",
            formula: &["w[e, k, o] = code[e, o, k] * 2^(scale[e, o, k / 32] - 127)"],
            source: "transformers 5.23.0",
            ..ABOUT
        };
        &GPT_OSS
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let blocks = layer.get(BLOCKS.leaf).is_some_and(|b| b.dtype == Dtype::U8 && b.rank() == 4);
        match (blocks, layer.has(SCALES.leaf)) {
            (true, true) => Match::Full,
            (true, false) => Match::Partial,
            _ => Match::No,
        }
    }

    fn logical_shape(&self, layer: &LayerView<'_>) -> Vec<u64> {
        match layer.get(BLOCKS.leaf).map(|b| b.shape) {
            Some(&[experts, outputs, count, bytes]) => {
                vec![experts, count.saturating_mul(bytes).saturating_mul(2), outputs]
            }
            other => other.map(<[u64]>::to_vec).unwrap_or_default(),
        }
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        let (_, leading) = layer.get(BLOCKS.leaf)?.shape.split_last()?;
        (leaf == SCALES.leaf).then(|| vec![leading.to_vec()])
    }

    fn decodes_exactly(&self, dtype: Dtype) -> bool {
        // Two bits of a code under a power of two: BF16 has them down to 2^-133.
        matches!(dtype, Dtype::F32 | Dtype::BF16)
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::MxBlocks { scale: SCALES.leaf }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        let [experts, outputs, count] = sides(layer)?;
        Ok(Box::new(Transposed { experts, outputs, inputs: count.saturating_mul(BLOCK) }))
    }
}

/// Decodes `[E * K, out]` from `[E, out, K]`.
struct Transposed {
    experts: u64,
    outputs: u64,
    inputs: u64,
}

impl Transposed {
    /// The experts that a region's rows touch, and of each the inputs.
    fn pieces(&self, rows: &Range<u64>) -> Vec<(u64, Range<u64>)> {
        let Some(first) = rows.start.checked_div(self.inputs) else { return Vec::new() };
        let experts = first..rows.end.div_ceil(self.inputs);
        let of = |expert: u64| {
            let start = expert.saturating_mul(self.inputs);
            let from = rows.start.saturating_sub(start);
            (expert, from..rows.end.saturating_sub(start).min(self.inputs))
        };
        experts.map(of).filter(|(_, inputs)| !inputs.is_empty()).collect()
    }

    fn blocks(inputs: &Range<u64>) -> Range<u64> {
        inputs.start / BLOCK..inputs.end.div_ceil(BLOCK)
    }
}

impl Decoder for Transposed {
    fn shape(&self) -> Vec<u64> {
        vec![self.experts, self.inputs, self.outputs]
    }

    fn extent(&self) -> [u64; 2] {
        [self.experts.saturating_mul(self.inputs), self.outputs]
    }

    fn needs(&self, region: &Region) -> Vec<Slab> {
        let mut slabs = Vec::new();
        for (expert, inputs) in self.pieces(&region.rows) {
            let first = expert.saturating_mul(self.outputs);
            let rows = first.saturating_add(region.cols.start)..first.saturating_add(region.cols.end);
            let blocks = Self::blocks(&inputs);
            let bytes = blocks.start * BLOCK_BYTES..blocks.end.saturating_mul(BLOCK_BYTES);
            slabs.push(Slab::rectangle(BLOCKS.leaf, self.inputs / 2, rows.clone(), bytes));
            slabs.push(Slab::rectangle(SCALES.leaf, self.inputs / BLOCK, rows, blocks));
        }
        slabs
    }

    fn decode<'a>(
        &'a self,
        _engine: &'a dyn Engine,
        region: &'a Region,
        parts: &'a [Vec<u8>],
        out: &'a mut Vec<f32>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        let width = region.cols.end.saturating_sub(region.cols.start);
        for ((_, inputs), parts) in self.pieces(&region.rows).into_iter().zip(parts.chunks(2)) {
            let blocks = Self::blocks(&inputs);
            let count = blocks.end.saturating_sub(blocks.start);
            let (codes, scales) = (part(parts, 0), part(parts, 1));
            for input in inputs {
                let block = input / BLOCK - blocks.start;
                for output in 0..width {
                    let at = output.saturating_mul(count).saturating_add(block);
                    let code = bits::at(codes, at.saturating_mul(BLOCK).saturating_add(input % BLOCK), 4);
                    let scale = scales.get(index(at)).map(|&byte| e8m0::decode(byte));
                    let value = code.zip(scale).map(|(code, scale)| e2m1::decode(code) * scale);
                    out.push(value.unwrap_or(f32::NAN));
                }
            }
        }
        Box::pin(ready(Ok(())))
    }
}
