//! MXFP4 experts of gpt-oss cast to NVFP4 without quantizing anew, in ModelOpt's layout of stacked experts.
//!
//! Source: `formats.md` b (BMM experts) and c (the cast).

use crate::about::Role;
use crate::decode::{Refusal, Slab};
use crate::encode::Output;
use crate::layer::LayerView;
use crate::parts::bytes::{index, part};
use crate::parts::mx_powers::{BYTES, FAR, HALVES, NAN, Powers};
use crate::parts::mx_stack::{BLOCKS, SCALES, sides};
use crate::recast::{Lossless, Recast};
use quantscope_numeric::Dtype;
use std::ops::Range;

/// Places of the outputs.
const WEIGHT: usize = 0;
const SCALE: usize = 1;

/// Takes over a stack of experts.
pub(crate) fn to_nvfp4(layer: &LayerView<'_>) -> Result<Box<dyn Recast>, Refusal> {
    let [experts, outputs, blocks] = sides(layer)?;
    Ok(Box::new(Cast { experts, outputs, halves: blocks.saturating_mul(HALVES), powers: Powers::UNSEEN }))
}

/// A stack of experts.
struct Cast {
    experts: u64,
    outputs: u64,
    /// Blocks of 16 along an output's row.
    halves: u64,
    powers: Powers,
}

impl Cast {
    /// Rows of blocks that a span of an output covers: experts times blocks along a row.
    fn rows(&self, output: usize, span: &Range<u64>) -> Range<u64> {
        let row = self.unit(output).max(1);
        span.start / row..span.end.div_ceil(row)
    }

    /// The experts that rows of blocks touch, and of each the blocks.
    fn pieces(&self, rows: &Range<u64>) -> Vec<(u64, Range<u64>)> {
        let Some(first) = rows.start.checked_div(self.halves) else { return Vec::new() };
        let piece = |expert: u64| {
            let start = expert.saturating_mul(self.halves);
            (expert, rows.start.saturating_sub(start)..rows.end.saturating_sub(start).min(self.halves))
        };
        let experts = first..rows.end.div_ceil(self.halves);
        experts.map(piece).filter(|(_, blocks)| !blocks.is_empty()).collect()
    }
}

impl Cast {
    /// Power and codes of one block of each output, out of the bytes that a piece asked for.
    fn column<'p>(
        &self,
        blocks: &Range<u64>,
        block: u64,
        parts: &'p [Vec<u8>],
    ) -> impl Iterator<Item = (u8, &'p [u8])> + use<'p> {
        let (powers, codes) = (part(parts, 0), part(parts, 1));
        let wide = blocks.end.div_ceil(HALVES) - blocks.start / HALVES;
        let count = blocks.end - blocks.start;
        let (half, first) = (block / HALVES - blocks.start / HALVES, block - blocks.start);
        (0..self.outputs).map(move |at| {
            let power = index(at.saturating_mul(wide).saturating_add(half));
            let from = index(at.saturating_mul(count).saturating_add(first).saturating_mul(BYTES));
            let power = powers.get(power).copied().unwrap_or(NAN);
            (power, codes.get(from..from.saturating_add(8)).unwrap_or_default())
        })
    }
}

impl Recast for Cast {
    fn outputs(&self) -> Vec<Output> {
        let (experts, outputs) = (self.experts, self.outputs);
        let output = |leaf, role, dtype, shape| Output { leaf, role, dtype, shape };
        let packed = vec![experts, self.halves.saturating_mul(BYTES), outputs];
        vec![
            output("weight", Role::Weight, Dtype::U8, packed),
            output("weight_scale", Role::WeightScale, Dtype::F8_E4M3, vec![experts, self.halves, outputs]),
            output("weight_scale_2", Role::GlobalScale, Dtype::F32, vec![]),
        ]
    }

    fn surveys(&self) -> Option<&'static str> {
        Some(SCALES.leaf)
    }

    fn survey(&mut self, bytes: &[u8]) {
        self.powers.survey(bytes);
    }

    fn unit(&self, output: usize) -> u64 {
        match output {
            WEIGHT => self.outputs.saturating_mul(BYTES),
            SCALE => self.outputs,
            _ => 4,
        }
    }

    fn needs(&self, output: usize, span: Range<u64>) -> Vec<Slab> {
        if output > SCALE {
            return Vec::new();
        }
        let mut slabs = Vec::new();
        for (expert, blocks) in self.pieces(&self.rows(output, &span)) {
            let first = expert.saturating_mul(self.outputs);
            let rows = first..first.saturating_add(self.outputs);
            let wide = blocks.start / HALVES..blocks.end.div_ceil(HALVES);
            let bytes = blocks.start.saturating_mul(BYTES)..blocks.end.saturating_mul(BYTES);
            // Scales follow from the powers alone, unless a block is judged by its own values.
            let bytes = if output == WEIGHT || self.powers.is_far() { bytes } else { 0..0 };
            slabs.push(Slab::rectangle(SCALES.leaf, self.halves / HALVES, rows.clone(), wide));
            slabs.push(Slab::rectangle(BLOCKS.leaf, self.halves.saturating_mul(BYTES), rows, bytes));
        }
        slabs
    }

    fn produce(&self, output: usize, span: Range<u64>, parts: &[Vec<u8>]) -> Vec<u8> {
        if output > SCALE {
            return self.powers.global().to_le_bytes().to_vec();
        }
        let mut out = Vec::new();
        for ((_, blocks), parts) in self.pieces(&self.rows(output, &span)).into_iter().zip(parts.chunks(2)) {
            for block in blocks.clone() {
                let mut rows: [Vec<u8>; 8] = Default::default();
                for (power, stored) in self.column(&blocks, block, parts) {
                    let made = self.powers.block(power, stored);
                    if output == SCALE {
                        out.push(made.scale);
                        continue;
                    }
                    for (row, code) in rows.iter_mut().zip(made.codes) {
                        row.push(code);
                    }
                }
                out.extend(rows.into_iter().flatten());
            }
        }
        out
    }

    fn lossless(&self) -> Lossless {
        if self.powers.is_near() { Lossless::Yes } else { Lossless::DataDecides }
    }

    fn blocks(&self) -> u64 {
        self.experts.saturating_mul(self.outputs).saturating_mul(self.halves)
    }

    fn inexact(&self, span: Range<u64>, parts: &[Vec<u8>]) -> u64 {
        let pieces = self.pieces(&self.rows(WEIGHT, &span)).into_iter().zip(parts.chunks(2));
        let columns = pieces.flat_map(|((_, blocks), parts)| {
            blocks.clone().flat_map(move |block| self.column(&blocks, block, parts))
        });
        let inexact = columns.filter(|&(power, stored)| !self.powers.is_exact(power, stored));
        u64::try_from(inexact.count()).unwrap_or(u64::MAX)
    }

    fn loss(&self) -> Option<String> {
        self.powers.is_far().then(|| FAR.to_string())
    }
}
