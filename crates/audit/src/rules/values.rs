//! SV and the byte part of SH505: what the bytes of a quantized layer hold.
//!
//! The censuses come from the kernels; this file only judges them.

use super::shapes::SH505;
use crate::model::LayerInfo;
use crate::registry::{FindingExt, Rule};
use crate::report::{Finding, Severity};
use quantscope_kernels::{Fp8Census, NONE, Nvfp4Census, ScaleCensus};

pub(crate) const RULES: &[Rule] = &[SV101, SV102, SV104];

const SV101: Rule = Rule {
    id: "SV101",
    severity: Severity::Error,
    needs: "B",
    title: "Scale is NaN, infinite or negative",
    why: "Every weight under such a scale decodes to NaN, infinity or the wrong sign.",
    fix: "Quantize the layer again from its source weights.",
    repairable: false,
};
const SV102: Rule = Rule {
    id: "SV102",
    severity: Severity::Error,
    needs: "B",
    title: "Zero scale over non-zero codes",
    why: "The codes say that there were weights; the zero scale erases them.",
    fix: "Quantize the layer again from its source weights.",
    repairable: false,
};
const SV104: Rule = Rule {
    id: "SV104",
    severity: Severity::Error,
    needs: "B",
    title: "NaN codes in an FP8 weight",
    why: "A single NaN weight makes the whole output of the layer NaN.",
    fix: "Quantize the layer again; where a tile was all zero, write zeros.",
    repairable: false,
};

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
pub(crate) fn judge_scales(subject: &Subject<'_>, census: &ScaleCensus, findings: &mut Vec<Finding>) {
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
pub(crate) fn judge_zero_scale(subject: &Subject<'_>, any_code: bool, findings: &mut Vec<Finding>) {
    if any_code {
        let message = format!("`{}` is 0 although the layer has codes that are not", subject.tensor());
        let finding = SV102.finding(subject.layer.name.as_str(), message);
        findings.push(subject.place(finding.expecting("a scale above 0", "0")));
    }
}

/// Judges the codes and block scales of an NVFP4 layer.
pub(crate) fn judge_nvfp4(subject: &Subject<'_>, census: &Nvfp4Census, findings: &mut Vec<Finding>) {
    let scale = format!("{}.weight_scale", subject.layer.name);
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
pub(crate) fn judge_fp8(subject: &Subject<'_>, census: &Fp8Census, findings: &mut Vec<Finding>) {
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
