//! The thresholds that turn NVFP4 quantization of one tensor into integer comparisons.
//!
//! With the tensor's second scale fixed, a block's scale byte grows with the largest magnitude of the
//! block, and under a given scale byte an element's code grows with its magnitude: every step of the
//! formula (divisions, products, clamping, rounding, the cast of the weight) keeps the order. The
//! magnitude of a float grows with its pattern of bits. So each byte and each code begins at one pattern,
//! found here by bisection on the float formula, and a kernel only compares patterns.
//!
//! The formulas are those of `formats.md` b and c; in ModelOpt `NVFP4QTensor.quantize` and
//! `get_weights_scaling_factor`.

use super::threshold::{last_below, last_bf16, last_f16, last_pattern};
use super::{CodeCast, Nvfp4Block, ScaleRange, ScaleRule};
use crate::FloatType;
#[cfg(all(target_arch = "x86_64", not(quantscope_narrow)))]
use crate::nvfp4_encode::buckets::Buckets;
use quantscope_numeric::{e2m1, e4m3, round_to_bf16, round_to_f16};

/// Thresholds for one scale byte. Element `m` of the first seven is the last pattern whose code is at most
/// `m`; the eighth is the last pattern that gets no sign bit when negative.
pub(crate) type CodeThresholds<K> = [K; 8];

/// Magnitudes of a type of 16 bits.
const NARROW: usize = 0x8000;

/// Everything about one tensor that quantizing needs beside its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Nvfp4Table {
    rule: ScaleRule,
    block: Nvfp4Block,
    cast: CodeCast,
    /// The scale byte of blocks up to pattern `scale_last[1]`.
    zero_scale: u8,
    /// `scale_last[i]` is the last F32 pattern of a block maximum whose scale byte is below `i`, for
    /// 1 to 126. Entry 0 is not used, entry 127 is never exceeded.
    scale_last: [i32; 128],
    /// For the upper 13 bits of a pattern, how many thresholds lie below every pattern that has them:
    /// where the search of [`Self::scale_byte`] starts. It rarely goes further than one step.
    scale_start: Box<[u8; 0x2000]>,
    /// The scale byte by the pattern of a block maximum in BF16, and in F16: one look instead of a search.
    scale_bf16: Box<[u8; NARROW]>,
    scale_f16: Box<[u8; NARROW]>,
    /// By scale byte, over patterns of F32, BF16 and F16 magnitudes.
    code_last: Vec<CodeThresholds<i32>>,
    code_last_bf16: Vec<CodeThresholds<i16>>,
    code_last_f16: Vec<CodeThresholds<i16>>,
    #[cfg(all(target_arch = "x86_64", not(quantscope_narrow)))]
    buckets_bf16: Box<[Buckets; 128]>,
}

/// What a tensor of BF16 is looked up in.
#[cfg(all(target_arch = "x86_64", not(quantscope_narrow)))]
#[derive(Clone, Copy)]
pub(crate) struct Bf16Tables<'a> {
    /// The scale byte by the pattern of a block maximum.
    pub(crate) scale: &'a [u8; NARROW],
    /// By scale byte.
    pub(crate) buckets: &'a [Buckets; 128],
    /// By scale byte.
    pub(crate) code_last: &'a [CodeThresholds<i16>],
}

impl Nvfp4Table {
    /// The thresholds for a tensor whose block scales are made of the second scale (`weight_scale_2`) and
    /// the weights: `ws2` is the tensor's largest magnitude, or its fused group's, divided in F32 by 2688
    /// (blocks of 16) or by 448 (blocks of 32). Finite and not negative.
    ///
    /// `ws2 == 0`, an all-zero tensor, gives what the reference writes without a guard: NaN scales (0x7f)
    /// and code 7 everywhere.
    #[must_use]
    pub fn dynamic(ws2: f32, block: Nvfp4Block, cast: CodeCast) -> Self {
        Self::new(ScaleRule::Dynamic { ws2 }, block, cast)
    }

    /// The thresholds for a tensor whose block maxima are given beside `global`, the largest of them and of
    /// its fused group's, finite and not negative. Blocks are of 16.
    ///
    /// `global == 0`, an all-zero tensor, gives scales of 448 (0x7e) and code 7 everywhere, as the reference
    /// does.
    #[must_use]
    pub fn fixed(global: f32, range: ScaleRange, cast: CodeCast) -> Self {
        Self::new(ScaleRule::Static { global, range }, Nvfp4Block::Of16, cast)
    }

    /// The thresholds for a tensor whose scales follow `rule`.
    #[must_use]
    pub fn new(rule: ScaleRule, block: Nvfp4Block, cast: CodeCast) -> Self {
        let ws2 = rule.ws2();
        let scale_last = rule.scale_last();
        let code_last: Vec<_> = (0..128).map(|byte| code_thresholds(byte, ws2, cast)).collect();
        let zero_scale = rule.zero_scale();
        let code_last_bf16 = narrowed(&code_last, last_bf16);
        Self {
            #[cfg(all(target_arch = "x86_64", not(quantscope_narrow)))]
            buckets_bf16: Box::new(std::array::from_fn(|byte| Buckets::of(&code_last_bf16[byte]))),
            code_last_bf16,
            rule,
            block,
            cast,
            zero_scale,
            scale_bf16: scale_by_pattern(&scale_last.map(last_bf16), zero_scale),
            scale_f16: scale_by_pattern(&scale_last.map(last_f16), zero_scale),
            scale_start: scale_start(&scale_last),
            scale_last,
            code_last_f16: narrowed(&code_last, last_f16),
            code_last,
        }
    }

    /// How scales are made of block maxima.
    #[must_use]
    pub fn rule(&self) -> ScaleRule {
        self.rule
    }

    /// The second scale the table was made for.
    #[must_use]
    pub fn ws2(&self) -> f32 {
        self.rule.ws2()
    }

    /// How many elements share a scale.
    #[must_use]
    pub fn block(&self) -> Nvfp4Block {
        self.block
    }

    /// The cast the codes are taken after.
    #[must_use]
    pub fn cast(&self) -> CodeCast {
        self.cast
    }

    /// The scale byte of a block whose largest magnitude has the F32 pattern `bits`.
    #[inline]
    #[must_use]
    pub fn scale_byte(&self, bits: u32) -> u8 {
        let start = self.scale_start[(bits >> 18) as usize & 0x1fff];
        let bits = bits.cast_signed();
        let exceeds = |byte: u8| bits > self.scale_last[usize::from(byte & 0x7f)];
        // One step without a jump that nobody can predict; after it nearly always none is left.
        let mut byte = start + u8::from(exceeds(start + 1));
        while exceeds(byte + 1) {
            byte += 1;
        }
        if byte == 0 { self.zero_scale } else { byte }
    }

    /// The scale byte of a block whose largest magnitude is a BF16 of this pattern.
    #[inline(always)]
    pub(crate) fn scale_byte_bf16(&self, pattern: i16) -> u8 {
        self.scale_bf16[usize::from(pattern.cast_unsigned()) & (NARROW - 1)]
    }

    /// The scale byte of a block whose largest magnitude is an F16 of this pattern.
    #[inline(always)]
    pub(crate) fn scale_byte_f16(&self, pattern: i16) -> u8 {
        self.scale_f16[usize::from(pattern.cast_unsigned()) & (NARROW - 1)]
    }

    pub(crate) fn code_last(&self) -> &[CodeThresholds<i32>] {
        &self.code_last
    }

    pub(crate) fn code_last_bf16(&self) -> &[CodeThresholds<i16>] {
        &self.code_last_bf16
    }

    #[cfg(all(target_arch = "x86_64", not(quantscope_narrow)))]
    pub(crate) fn bf16(&self) -> Bf16Tables<'_> {
        Bf16Tables { scale: &self.scale_bf16, buckets: &self.buckets_bf16, code_last: &self.code_last_bf16 }
    }

    pub(crate) fn code_last_f16(&self) -> &[CodeThresholds<i16>] {
        &self.code_last_f16
    }

    /// The scale byte of blocks below the first threshold, for the shader's `zero_scale`.
    #[must_use]
    pub fn zero_scale(&self) -> u8 {
        self.zero_scale
    }

    /// The shader's `scale_last`: 128 thresholds over patterns of the source's own type, little-endian.
    #[must_use]
    pub fn scale_words(&self, dtype: FloatType) -> Vec<i32> {
        let pattern = last_pattern(dtype);
        self.scale_last.iter().map(|&last| pattern(last)).collect()
    }

    /// The shader's `code_last`: eight thresholds for each of 128 scale bytes, over patterns of the
    /// source's own type.
    #[must_use]
    pub fn code_words(&self, dtype: FloatType) -> Vec<i32> {
        let pattern = last_pattern(dtype);
        self.code_last.as_flattened().iter().map(|&last| pattern(last)).collect()
    }
}

fn code_thresholds(byte: u8, ws2: f32, cast: CodeCast) -> CodeThresholds<i32> {
    let divisor = e4m3::decode(byte) * ws2;
    let code = |weight: f32| e2m1::encode_nvfp4(cast.apply(weight) / divisor);
    std::array::from_fn(|m| match e2m1::MAGNITUDES.get(m + 1) {
        Some(above) => {
            let guess = f32::midpoint(e2m1::MAGNITUDES[m], *above) * divisor;
            last_below(guess, |magnitude| usize::from(code(magnitude) & 7) > m)
        }
        None => last_below(0.0, |magnitude| code(-magnitude) & 8 != 0),
    })
}

/// How many of the scale thresholds lie below the first pattern with each of the upper 13 bits.
fn scale_start(scale_last: &[i32; 128]) -> Box<[u8; 0x2000]> {
    let mut start = Box::new([0; 0x2000]);
    let mut byte = 0;
    for (start, first) in start.iter_mut().zip((0_i32..).step_by(1 << 18)) {
        // Entry 127 is never exceeded.
        while first > scale_last[usize::from(byte) + 1] {
            byte += 1;
        }
        *start = byte;
    }
    start
}

/// The scale byte of each magnitude of 16 bits, given the thresholds over them.
fn scale_by_pattern(last: &[i16; 128], zero_scale: u8) -> Box<[u8; NARROW]> {
    let mut scales = Box::new([zero_scale; NARROW]);
    // Thresholds grow with their byte: the last byte takes the patterns beyond its threshold, the one before it what
    // is left of those beyond its own.
    let mut end = NARROW;
    for byte in (1..=0x7e_u8).rev() {
        let last = last[usize::from(byte)];
        let first = usize::try_from(i32::from(last) + 1).unwrap_or(0).min(end);
        scales.get_mut(first..end).unwrap_or_default().fill(byte);
        end = first;
    }
    scales
}

fn narrowed(wide: &[CodeThresholds<i32>], last: fn(i32) -> i16) -> Vec<CodeThresholds<i16>> {
    wide.iter().map(|thresholds| thresholds.map(last)).collect()
}

impl CodeCast {
    pub(crate) fn apply(self, weight: f32) -> f32 {
        match self {
            Self::Keep => weight,
            Self::ToBf16 => round_to_bf16(weight),
            Self::ToF16 => round_to_f16(weight),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quantscope_numeric::{f32_bits_from_bf16, f32_bits_from_f16};

    /// Every pattern of 16 bits, infinities and NaN included, has the scale that its F32 has.
    #[test]
    fn narrow_patterns_have_the_scales_of_wide_ones() {
        let dynamic = [0.0, 1e-42, 3.721e-5, 0.01, 1e30].map(|ws2| ScaleRule::Dynamic { ws2 });
        let fixed = [(0.0, ScaleRange::Full), (0.1, ScaleRange::Full), (7.0, ScaleRange::FourOverSix)];
        let fixed = fixed.map(|(global, range)| ScaleRule::Static { global, range });
        for rule in dynamic.into_iter().chain(fixed) {
            let table = Nvfp4Table::new(rule, Nvfp4Block::Of16, CodeCast::Keep);
            for pattern in 0..=i16::MAX {
                let bits = pattern.cast_unsigned();
                let found = [table.scale_byte_bf16(pattern), table.scale_byte_f16(pattern)];
                let expected =
                    [f32_bits_from_bf16(bits), f32_bits_from_f16(bits)].map(|bits| table.scale_byte(bits));
                assert_eq!(found, expected, "{rule:?} {pattern:#06x}");
            }
        }
    }
}
