//! SV and the byte part of SH505: what the bytes of a quantized layer hold.
//!
//! The censuses come from the kernels; this file only judges them.

use super::number;
use super::shapes::SH505;
use crate::findings::Findings;
use crate::forensics::looks_reciprocal;
use crate::model::{LayerInfo, ratio};
use crate::registry::{Example, FindingExt, Rule};
use crate::report::{Finding, Severity};
use quantscope_kernels::byte_census::ByteCensus;
use quantscope_kernels::{Fp8Census, NONE, Nvfp4Census, ScaleCensus};
use quantscope_numeric::e4m3;
use quantscope_schemes::Role;
use std::collections::BTreeMap;

pub(crate) const RULES: &[Rule] = &[SV101, SV102, SV103, SV104, SV105, SV106];

const SV101: Rule = Rule {
    id: "SV101",
    severity: Severity::Error,
    needs: "B",
    title: "Scale is NaN, infinite or negative",
    why: "Every weight under such a scale decodes to NaN, infinity or the wrong sign.",
    fix: "Quantize the layer again from its source weights.",
    repairable: false,
    example: Example::of(
        "mlp.up_proj.weight_scale  [0.5, NaN, 0.25, ...]",
        "mlp.up_proj.weight_scale  [0.5, 0.375, 0.25, ...]",
    ),
};
const SV102: Rule = Rule {
    id: "SV102",
    severity: Severity::Error,
    needs: "B",
    title: "Zero scale over non-zero codes",
    why: "The codes say that there were weights; the zero scale erases them.",
    fix: "Quantize the layer again from its source weights.",
    repairable: false,
    example: Example::of(
        "block 7: scale 0, codes 1 -3 6 0.5 ...",
        "block 7: scale 0.0625, codes 1 -3 6 0.5 ...",
    ),
};
const SV104: Rule = Rule {
    id: "SV104",
    severity: Severity::Error,
    needs: "B",
    title: "NaN codes in an FP8 weight",
    why: "A single NaN weight makes the whole output of the layer NaN.",
    fix: "Quantize the layer again; where a tile was all zero, write zeros.",
    repairable: false,
    example: Example::of("a.weight  F8_E4M3: 0x3a 0x7f 0xff 0x12", "a.weight  F8_E4M3: 0x3a 0x7e 0x00 0x12"),
};

const SV103: Rule = Rule {
    id: "SV103",
    severity: Severity::Warning,
    needs: "B",
    title: "Zero scale over a block of zeros",
    why: "The values are right, but engines that store or multiply by the inverse of a scale get infinity here, and \
          infinity times zero is NaN.",
    fix: "Set these scales to any positive value; the decoded values stay as they are.",
    repairable: true,
    example: Example::of("block 7: scale 0, codes 0 0 0 0 ...", "block 7: scale 1, codes 0 0 0 0 ..."),
};
const SV105: Rule = Rule {
    id: "SV105",
    severity: Severity::Error,
    needs: "B,H",
    title: "Global scale looks like its reciprocal",
    why: "ModelOpt stores the factor of the block scales, compressed-tensors the divisor. One under the other's name \
          makes every weight of the layer wrong by the square of the scale.",
    fix: "Write 1/x under the same name, after comparing a decoded layer with its source or its neighbours.",
    repairable: true,
    example: Example::of("up_proj.weight_scale_2  3584", "up_proj.weight_scale_2  0.000279"),
};
const SV106: Rule = Rule {
    id: "SV106",
    severity: Severity::Warning,
    needs: "B",
    title: "Block scales at the end of their range",
    why: "Block scales pile up at 448, the largest, or among the smallest values of E4M3: the global scale was made for \
          another maximum. Large weights are clipped, or small ones lose their precision.",
    fix: "Compute the global scale again from the weights' own maximum and quantize again.",
    repairable: false,
    example: Example::of(
        "23 % of the block scales are 448",
        "one block scale is 448, that of the largest weight",
    ),
};

/// Single scales that were read, by layer: what several layers' rules compare.
#[derive(Default)]
pub(crate) struct Observed(BTreeMap<String, Vec<(Role, f32)>>);

impl Observed {
    /// Keeps a scale.
    pub(crate) fn add(&mut self, layer: &str, role: Role, value: f32) {
        self.0.entry(layer.to_string()).or_default().push((role, value));
    }

    /// The scale of that role.
    pub(crate) fn get(&self, layer: &str, role: Role) -> Option<f32> {
        self.0.get(layer)?.iter().find(|(r, _)| *r == role).map(|(_, value)| *value)
    }
}

/// Where a finding of values points.
pub(crate) struct Subject<'a> {
    /// The layer.
    pub(crate) layer: &'a LayerInfo,
    /// Leaf name of the tensor in question.
    pub(crate) leaf: &'a str,
    /// Its file.
    pub(crate) file: &'a str,
}

impl Subject<'_> {
    fn tensor(&self) -> String {
        format!("{}.{}", self.layer.name, self.leaf)
    }

    fn place(&self, finding: Finding) -> Finding {
        finding.in_file(self.file).touching(self.layer.name.as_str())
    }
}

/// Judges F32 scales.
pub(crate) fn judge_scales(subject: &Subject<'_>, census: &ScaleCensus, findings: &mut Findings) {
    let bad = census.not_finite.saturating_add(census.negative);
    if bad == 0 {
        return;
    }
    let message = format!(
        "scale `{}` has {} NaN or infinite and {} negative values (first at {})",
        subject.tensor(),
        census.not_finite,
        census.negative,
        census.first_bad
    );
    let finding = SV101.finding(subject.tensor(), message);
    findings.push(subject.place(finding.expecting("finite, not negative", format!("{bad} bad values"))));
}

/// Judges a global scale against the codes it governs.
pub(crate) fn judge_zero_scale(subject: &Subject<'_>, any_code: bool, findings: &mut Findings) {
    if any_code {
        let message = format!("`{}` is 0 although the layer has codes that are not", subject.tensor());
        let finding = SV102.finding(subject.layer.name.as_str(), message);
        findings.push(subject.place(finding.expecting("a scale above 0", "0")));
    }
}

fn zero_blocks(subject: &Subject<'_>, scale: &str, blocks: u64) -> Option<Finding> {
    let message = format!(
        "{} and scale 0 in `{}`",
        number(blocks, "block has zeros alone", "blocks have zeros alone"),
        subject.layer.name
    );
    let finding = SV103.finding(format!("{}.{scale}", subject.layer.name), message);
    (blocks > 0).then(|| subject.place(finding.expecting("a scale above 0", format!("{blocks} scales of 0"))))
}

/// Judges scales of FP8 tiles that are zero over codes that are all zero too.
pub(crate) fn judge_zero_tiles(
    subject: &Subject<'_>,
    scale: &str,
    zero_scales: u64,
    census: &Fp8Census,
    findings: &mut Findings,
) {
    if census.nonzero_under_zero_scale == 0 {
        findings.extend(zero_blocks(subject, scale, zero_scales));
    }
}

/// Judges a global scale by the weights it implies: `largest_scale` is the largest block scale, if it is known.
pub(crate) fn judge_global(
    subject: &Subject<'_>,
    global: f32,
    largest_scale: Option<f32>,
    findings: &mut Findings,
) {
    let divides = subject.layer.scheme.global_scale_divides();
    let factor = if divides { global.recip() } else { global };
    // The largest code times the largest block scale.
    let reach = 6.0 * f64::from(largest_scale.filter(|s| *s > 0.0).unwrap_or(e4m3::MAX));
    let (largest, if_reciprocal) = (reach * f64::from(factor), reach / f64::from(factor));
    let Some(evidence) = looks_reciprocal(largest, if_reciprocal).filter(|_| factor > 1.0) else { return };
    let convention = if divides { "compressed-tensors' divisor" } else { "a factor" };
    let message = format!(
        "`{}` is {global:e}, which looks like the reciprocal of {convention} (likelihood {:.2}: {})",
        subject.tensor(),
        evidence.likelihood,
        evidence.words
    );
    let finding = SV105.finding(subject.layer.name.as_str(), message);
    findings.push(subject.place(finding.expecting(format!("{:e}", global.recip()), format!("{global:e}"))));
}

/// Blocks below which a share of them says nothing.
const LEAST_BLOCKS: u64 = 64;

fn judge_range(subject: &Subject<'_>, census: &Nvfp4Census) -> Option<Finding> {
    let at = |byte: usize| census.scales.get(byte).copied().unwrap_or(0);
    let blocks = census.scales.iter().fold(0_u64, |n, &c| n.saturating_add(c));
    let (largest, next) = (at(0x7e), at(0x7d));
    let tiny: u64 = (0x01..0x08).map(at).sum();
    let share = |n: u64| 100.0 * ratio(n, blocks);
    // A clipped tail piles up at the end; weights of even spread fill the last two steps alike.
    let piled = largest >= 16 && largest.saturating_mul(50) >= blocks && largest > next.saturating_mul(4);
    let words = if blocks < LEAST_BLOCKS {
        return None;
    } else if piled {
        format!("{:.1} % of the block scales are 448, the largest there is", share(largest))
    } else if tiny.saturating_mul(20) >= blocks {
        format!("{:.1} % of the block scales are subnormal", share(tiny))
    } else {
        return None;
    };
    let message = format!(
        "{words}: the global scale of `{}` was made for another maximum, or one outlier rules the layer",
        subject.layer.name
    );
    let finding = SV106.finding(subject.layer.name.as_str(), message);
    Some(subject.place(finding.expecting("block scales inside the range of E4M3", words)))
}

/// Judges the codes and block scales of an NVFP4 layer.
pub(crate) fn judge_nvfp4(subject: &Subject<'_>, census: &Nvfp4Census, findings: &mut Findings) {
    let leaf = subject.layer.scheme.scale_layout().scale_leaf().unwrap_or_default();
    let scale = format!("{}.{leaf}", subject.layer.name);
    let at = |byte: usize| census.scales.get(byte).copied().unwrap_or(0);
    let nan = at(0x7f).saturating_add(at(0xff));
    let negative: u64 = (0x81..0xff).map(at).sum();
    if nan > 0 || negative > 0 {
        let place = if census.first_bad_scale == NONE {
            String::new()
        } else {
            format!(" (first at {})", census.first_bad_scale)
        };
        let message = format!("scale `{scale}` has {nan} NaN and {negative} negative values{place}");
        let finding = SV101.finding(scale.clone(), message);
        findings.push(
            subject
                .place(finding.expecting("positive E4M3 values", format!("{} bad values", nan + negative))),
        );
    }
    if census.zero_scale_with_codes > 0 {
        let message = format!(
            "{} blocks of `{}` have scale 0 but non-zero codes: their weights are lost (first block {})",
            census.zero_scale_with_codes, subject.layer.name, census.first_zero_scale_with_codes
        );
        let finding = SV102.finding(subject.layer.name.as_str(), message);
        findings.push(
            subject.place(
                finding.expecting("a scale above 0", format!("{} blocks", census.zero_scale_with_codes)),
            ),
        );
    }
    findings.extend(zero_blocks(subject, leaf, census.zero_scale_zero_codes));
    findings.extend(judge_range(subject, census));
    if census.padding_not_zero > 0 {
        let message = format!(
            "{} codes in the padding of `{}` are not zero",
            census.padding_not_zero, subject.layer.name
        );
        let finding = SH505.finding(subject.layer.name.as_str(), message);
        findings.push(
            subject.place(
                finding.expecting("zeros in the padding", format!("{} codes", census.padding_not_zero)),
            ),
        );
    }
}

/// Judges the codes of an FP8 layer.
pub(crate) fn judge_fp8(subject: &Subject<'_>, census: &Fp8Census, findings: &mut Findings) {
    let at = |byte: usize| census.codes.get(byte).copied().unwrap_or(0);
    let nan = at(0x7f).saturating_add(at(0xff));
    if nan > 0 {
        let message =
            format!("{nan} NaN codes in `{}` (first at element {})", subject.tensor(), census.first_nan);
        let finding = SV104.finding(subject.tensor(), message);
        findings.push(subject.place(finding.expecting("no NaN codes", format!("{nan} NaN codes"))));
    }
    if census.nonzero_under_zero_scale > 0 {
        let message = format!(
            "{} weights of `{}` are not zero but lie under a scale of 0 (first at element {})",
            census.nonzero_under_zero_scale, subject.layer.name, census.first_nonzero_under_zero_scale
        );
        let finding = SV102.finding(subject.layer.name.as_str(), message);
        let found = format!("{} weights", census.nonzero_under_zero_scale);
        findings.push(subject.place(finding.expecting("a scale above 0", found)));
    }
}

/// Judges E8M0 scales: powers of two, of which byte 255 is NaN.
pub(crate) fn judge_powers(subject: &Subject<'_>, census: &ByteCensus, findings: &mut Findings) {
    let (nan, first) = (count(census, 0xff), census.first.get(0xff).copied().unwrap_or(NONE));
    if nan > 0 {
        let message = format!("scale `{}` has {nan} NaN values (first at {first})", subject.tensor());
        let finding = SV101.finding(subject.tensor(), message);
        findings.push(
            subject.place(finding.expecting("powers of two, bytes 0 to 254", format!("{nan} bytes of 255"))),
        );
    }
}

/// Judges E4M3 codes that lie under scales that cannot be zero.
pub(crate) fn judge_e4m3_codes(subject: &Subject<'_>, census: &ByteCensus, findings: &mut Findings) {
    let first = [0x7f, 0xff].into_iter().filter_map(|byte: usize| census.first.get(byte)).min();
    let codes = Fp8Census {
        codes: census.counts.clone(),
        first_nan: first.copied().unwrap_or(NONE),
        ..Fp8Census::default()
    };
    judge_fp8(subject, &codes, findings);
}

fn count(census: &ByteCensus, byte: usize) -> u64 {
    census.counts.get(byte).copied().unwrap_or(0)
}
