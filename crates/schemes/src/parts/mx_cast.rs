//! MXFP4 experts of gpt-oss cast to NVFP4 without quantizing anew, in ModelOpt's layout of stacked experts.
//!
//! Source: `formats.md` b (BMM experts) and c (the cast). Each block of 32 becomes two of 16 under the same power
//! of two. With m eight below the largest power of the tensor, every power from 2^(m - 9) to 2^(m + 8) is an E4M3
//! scale over the global scale 2^m, so that codes stay; a block further down is quantized by its own largest value.

use crate::about::Role;
use crate::decode::{Refusal, Slab};
use crate::encode::Output;
use crate::layer::LayerView;
use crate::parts::bytes::{index, part};
use crate::parts::mx_stack::{BLOCKS, SCALES, sides};
use crate::recast::Recast;
use quantscope_numeric::{Dtype, e2m1, e4m3, e8m0};
use std::ops::Range;

/// Bytes of codes of a block of 16.
const BYTES: u64 = 8;
/// Blocks of 16 in one of 32.
const HALVES: u64 = 2;
/// The byte of an E8M0 scale that is no number.
const NAN: u8 = 255;

/// Places of the outputs.
const WEIGHT: usize = 0;
const SCALE: usize = 1;

/// Takes over a stack of experts.
pub(crate) fn to_nvfp4(layer: &LayerView<'_>) -> Result<Box<dyn Recast>, Refusal> {
    let [experts, outputs, blocks] = sides(layer)?;
    Ok(Box::new(Cast { experts, outputs, halves: blocks.saturating_mul(HALVES), largest: 0, least: NAN }))
}

/// A stack of experts.
struct Cast {
    experts: u64,
    outputs: u64,
    /// Blocks of 16 along an output's row.
    halves: u64,
    /// Largest and smallest power as stored, NaN left out.
    largest: u8,
    least: u8,
}

/// What a block becomes.
struct Block {
    scale: u8,
    codes: [u8; 8],
}

/// 2 to the power of `exponent`, which may be below what E8M0 holds: F32 has subnormals down to -149.
fn power(exponent: i32) -> f32 {
    let bits = |n: i32| u32::try_from(n).unwrap_or(0);
    let subnormal = exponent < -126;
    f32::from_bits(if subnormal {
        1_u32.checked_shl(bits(exponent + 149)).unwrap_or(0)
    } else {
        bits(exponent + 127) << 23
    })
}

impl Cast {
    /// The global scale's power.
    fn global(&self) -> i32 {
        i32::from(self.largest) - 127 - 8
    }

    fn is_in_reach(&self, byte: u8) -> bool {
        (-9..=8).contains(&(i32::from(byte) - 127 - self.global()))
    }

    /// Whether some block's codes may change.
    fn is_far(&self) -> bool {
        self.least < NAN && !self.is_in_reach(self.least)
    }

    /// A block of 16 codes under a power of two.
    fn block(&self, byte: u8, stored: &[u8]) -> Block {
        let mut codes = [0; 8];
        for (code, &from) in codes.iter_mut().zip(stored) {
            *code = from;
        }
        if byte == NAN {
            return Block { scale: 0x7f, codes };
        }
        let global = power(self.global());
        if self.is_in_reach(byte) {
            let scale = e4m3::encode(power(i32::from(byte) - 127 - self.global()));
            // The reference has no negative zero: a weight that is none gets code 0.
            let plain = |nibble: u8| if nibble == 8 { 0 } else { nibble };
            return Block { scale, codes: codes.map(|b| e2m1::pack(plain(b & 15), plain(b >> 4))) };
        }
        let spread = e8m0::decode(byte);
        let value = |nibble: u8| e2m1::decode(nibble) * spread;
        let largest =
            codes.iter().flat_map(|&b| [value(b & 15), value(b >> 4)]).fold(0.0_f32, |m, v| m.max(v.abs()));
        let share = largest / 6.0;
        let share = if share == 0.0 { 1.0 } else { share };
        let ratio = (share * 448.0) / (448.0 * global);
        let scale = e4m3::encode(ratio.clamp(power(-9), 448.0));
        let divisor = e4m3::decode(scale) * global;
        let code = |nibble: u8| e2m1::encode_nvfp4(value(nibble) / divisor);
        Block { scale, codes: codes.map(|b| e2m1::pack(code(b & 15), code(b >> 4))) }
    }

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
        let numbers = || bytes.iter().copied().filter(|&b| b != NAN);
        self.largest = numbers().fold(self.largest, u8::max);
        self.least = numbers().fold(self.least, u8::min);
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
            let bytes = if output == WEIGHT || self.is_far() { bytes } else { 0..0 };
            slabs.push(Slab::rectangle(SCALES.leaf, self.halves / HALVES, rows.clone(), wide));
            slabs.push(Slab::rectangle(BLOCKS.leaf, self.halves.saturating_mul(BYTES), rows, bytes));
        }
        slabs
    }

    fn produce(&self, output: usize, span: Range<u64>, parts: &[Vec<u8>]) -> Vec<u8> {
        if output > SCALE {
            return power(self.global()).to_le_bytes().to_vec();
        }
        let mut out = Vec::new();
        for ((_, blocks), parts) in self.pieces(&self.rows(output, &span)).into_iter().zip(parts.chunks(2)) {
            let (powers, codes) = (part(parts, 0), part(parts, 1));
            let wide = blocks.end.div_ceil(HALVES) - blocks.start / HALVES;
            let count = blocks.end - blocks.start;
            for block in blocks.clone() {
                let mut rows: [Vec<u8>; 8] = Default::default();
                for at in 0..self.outputs {
                    let power =
                        at.saturating_mul(wide).saturating_add(block / HALVES - blocks.start / HALVES);
                    let from =
                        at.saturating_mul(count).saturating_add(block - blocks.start).saturating_mul(BYTES);
                    let power = powers.get(index(power)).copied().unwrap_or(NAN);
                    let from = index(from);
                    let stored = codes.get(from..from.saturating_add(8)).unwrap_or_default();
                    let made = self.block(power, stored);
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

    fn loss(&self) -> Option<String> {
        let far = "blocks whose power of two lies more than 2^17 below the largest are quantized anew";
        self.is_far().then(|| far.to_string())
    }
}
