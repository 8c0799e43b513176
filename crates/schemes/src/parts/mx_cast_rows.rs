//! ModelOpt's MXFP4 matrices cast to NVFP4 without quantizing anew.
//!
//! Source: `formats.md` c (the cast), e (the layout of `mxfp4`). Rows stay rows: the blocks of 16 follow each other as
//! those of 32 do, whose scales each count twice.

use crate::about::{Role, WEIGHT_LEAF};
use crate::decode::{Refusal, Slab};
use crate::encode::Output;
use crate::layer::LayerView;
use crate::parts::bytes::{index, part};
use crate::parts::mx::SCALE;
use crate::parts::mx_powers::{BYTES, FAR, HALVES, NAN, Powers};
use crate::parts::shapes::{expect_type, matrix, needed, text};
use crate::recast::{Lossless, Recast};
use quantscope_numeric::Dtype;
use std::ops::Range;

/// Bytes of codes of a block of 32.
const WIDE: u64 = 16;

/// Places of the outputs.
const CODES: usize = 0;
const SCALES: usize = 1;

/// Takes over a matrix.
pub(crate) fn to_nvfp4(layer: &LayerView<'_>) -> Result<Box<dyn Recast>, Refusal> {
    let (codes, scales) = (needed(layer, WEIGHT_LEAF)?, needed(layer, SCALE.leaf)?);
    expect_type(codes, &[Dtype::U8])?;
    expect_type(scales, SCALE.dtypes)?;
    let [rows, bytes] = matrix(codes)?;
    let blocks = bytes / WIDE;
    if !bytes.is_multiple_of(WIDE) || scales.shape != [rows, blocks] {
        let (codes, scales) = (text(codes.shape), text(scales.shape));
        let reason = format!("has `{}` {scales} beside `{WEIGHT_LEAF}` {codes}, in blocks of 32", SCALE.leaf);
        return Err(Refusal::new(reason, "export the layer again"));
    }
    Ok(Box::new(Rows { rows, halves: blocks.saturating_mul(HALVES), powers: Powers::UNSEEN }))
}

/// A matrix.
struct Rows {
    rows: u64,
    /// Blocks of 16 along a row.
    halves: u64,
    powers: Powers,
}

impl Rows {
    /// The blocks that a span of an output covers, counted over the matrix.
    fn span(&self, output: usize, span: &Range<u64>) -> Range<u64> {
        let unit = self.unit(output).max(1);
        span.start / unit..span.end.div_ceil(unit)
    }

    /// Power and codes of each block, out of the bytes that they asked for.
    fn each<'p>(blocks: Range<u64>, parts: &'p [Vec<u8>]) -> impl Iterator<Item = (u8, &'p [u8])> + use<'p> {
        let (powers, codes) = (part(parts, 0), part(parts, 1));
        let first = blocks.start;
        blocks.map(move |block| {
            let power = powers.get(index(block / HALVES - first / HALVES)).copied().unwrap_or(NAN);
            let from = index((block - first).saturating_mul(BYTES));
            (power, codes.get(from..from.saturating_add(8)).unwrap_or_default())
        })
    }
}

impl Recast for Rows {
    fn outputs(&self) -> Vec<Output> {
        let output = |leaf, role, dtype, shape| Output { leaf, role, dtype, shape };
        let (rows, halves) = (self.rows, self.halves);
        vec![
            output(WEIGHT_LEAF, Role::Weight, Dtype::U8, vec![rows, halves.saturating_mul(BYTES)]),
            output("weight_scale", Role::WeightScale, Dtype::F8_E4M3, vec![rows, halves]),
            output("weight_scale_2", Role::GlobalScale, Dtype::F32, vec![]),
        ]
    }

    fn surveys(&self) -> Option<&'static str> {
        Some(SCALE.leaf)
    }

    fn survey(&mut self, bytes: &[u8]) {
        self.powers.survey(bytes);
    }

    fn unit(&self, output: usize) -> u64 {
        match output {
            CODES => BYTES,
            SCALES => 1,
            _ => 4,
        }
    }

    fn needs(&self, output: usize, span: Range<u64>) -> Vec<Slab> {
        if output > SCALES {
            return Vec::new();
        }
        let blocks = self.span(output, &span);
        let wide = blocks.start / HALVES..blocks.end.div_ceil(HALVES);
        // Scales follow from the powers alone, unless a block is judged by its own values.
        let codes = if output == CODES || self.powers.is_far() { blocks.end - blocks.start } else { 0 };
        vec![
            Slab::range(SCALE.leaf, wide.start, wide.end - wide.start),
            Slab::range(WEIGHT_LEAF, blocks.start.saturating_mul(BYTES), codes.saturating_mul(BYTES)),
        ]
    }

    fn produce(&self, output: usize, span: Range<u64>, parts: &[Vec<u8>]) -> Vec<u8> {
        if output > SCALES {
            return self.powers.global().to_le_bytes().to_vec();
        }
        let mut out = Vec::new();
        for (power, stored) in Self::each(self.span(output, &span), parts) {
            let made = self.powers.block(power, stored);
            if output == CODES { out.extend(made.codes) } else { out.push(made.scale) }
        }
        out
    }

    fn lossless(&self) -> Lossless {
        if self.powers.is_near() { Lossless::Yes } else { Lossless::DataDecides }
    }

    fn blocks(&self) -> u64 {
        self.rows.saturating_mul(self.halves)
    }

    fn inexact(&self, span: Range<u64>, parts: &[Vec<u8>]) -> u64 {
        let blocks = Self::each(self.span(CODES, &span), parts);
        let inexact = blocks.filter(|&(power, stored)| !self.powers.is_exact(power, stored));
        u64::try_from(inexact.count()).unwrap_or(u64::MAX)
    }

    fn loss(&self) -> Option<String> {
        self.powers.is_far().then(|| FAR.to_string())
    }
}
