//! CF304 and FU961: layers that runtimes load as one matrix but that do not fit together.

use super::HeaderContext;
use super::values::Observed;
use crate::findings::Findings;
use crate::model::{LayerInfo, Model};
use crate::names::{FusedGroup, fused_groups, last_segment};
use crate::registry::{Example, FindingExt, Rule};
use crate::report::{Finding, Severity};
use quantscope_schemes::{Family, Role, ScaleLayout};

pub(crate) const RULES: &[Rule] = &[CF304, FU961];

const CF304: Rule = Rule {
    id: "CF304",
    severity: Severity::Error,
    needs: "H,C",
    title: "Fused layers of different precision",
    why: "Runtimes load q/k/v, gate/up and the like as one matrix with one scheme. Members of different precision \
          cannot be joined: the loader stops at a shape check, or reads one as the other.",
    fix: "Quantize all of the group alike or exclude all of it; for runtimes that can, list the projections one by \
          one in the config.",
    repairable: false,
    example: Example::of(
        "self_attn.q_proj.weight  U8 [4096, 2048]\nself_attn.k_proj.weight  BF16 [1024, 4096]",
        "self_attn.q_proj.weight  U8 [4096, 2048]\nself_attn.k_proj.weight  U8 [1024, 2048]",
    ),
};

const FU961: Rule = Rule {
    id: "FU961",
    severity: Severity::Warning,
    needs: "B",
    title: "Global scales differ inside a fused group",
    why: "A fused matrix has one global scale. Runtimes take the largest of the members without rescaling the others' \
          blocks, so those weights are read too large; some refuse the checkpoint.",
    fix: "Quantize the group again with a common global scale.",
    repairable: false,
    example: Example::of(
        "q_proj.weight_scale_2  0.0011\nk_proj.weight_scale_2  0.0017",
        "q_proj.weight_scale_2  0.0017\nk_proj.weight_scale_2  0.0017",
    ),
};

/// What must agree: how the bytes are laid out. What was done to the weights before does not matter.
fn storage(context: HeaderContext<'_>, layer: &LayerInfo) -> (Family, ScaleLayout) {
    (layer.scheme.family(), layer.scale_layout(context.checkpoint))
}

pub(crate) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    for group in fused_groups(context.model) {
        let Some((first, rest)) = group.members.split_first() else { continue };
        if rest.iter().all(|l| storage(context, l) == storage(context, first)) {
            continue;
        }
        let stored: Vec<String> = group
            .members
            .iter()
            .map(|l| format!("`{}` is {}", last_segment(&l.name), l.scheme.id()))
            .collect();
        let message = format!("`{}` is loaded as one, but {}", group.label(), stored.join(", "));
        let mut finding =
            CF304.finding(group.label(), message).expecting("one scheme for all", stored.join(", "));
        finding.layers = group.members.iter().map(|l| l.name.clone()).collect();
        findings.push(finding);
    }
}

/// Compares the global scales that were read.
pub(crate) fn judge_globals(model: &Model, observed: &Observed, findings: &mut Findings) {
    for group in fused_groups(model) {
        let scale = |l: &&LayerInfo| Some((l.name.clone(), observed.get(&l.name, Role::GlobalScale)?));
        let scales: Vec<(String, f32)> = group.members.iter().filter_map(scale).collect();
        findings.extend(judge_group(&group, &scales));
    }
}

fn judge_group(group: &FusedGroup<'_>, scales: &[(String, f32)]) -> Option<Finding> {
    let usable = scales.len() > 1 && scales.iter().all(|(_, v)| v.is_finite() && *v > 0.0);
    let largest = scales.iter().map(|(_, v)| *v).fold(0.0_f32, f32::max);
    let (worst, smallest) = scales.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
    if !usable || *smallest >= largest {
        return None;
    }
    let ratio = f64::from(largest) / f64::from(*smallest);
    // Weights read r times too large are off by (r - 1) of themselves.
    let sqnr = -20.0 * (ratio - 1.0).log10();
    let values: Vec<String> =
        scales.iter().map(|(name, v)| format!("`{}` {v:e}", last_segment(name))).collect();
    let message = format!(
        "global scales inside `{}` differ: {}; a runtime that takes the largest reads `{worst}` {ratio:.3} times too \
         large ({sqnr:.1} dB)",
        group.label(),
        values.join(", ")
    );
    let mut finding = FU961.finding(group.label(), message).expecting("one global scale", values.join(", "));
    finding.layers = scales.iter().map(|(name, _)| name.clone()).collect();
    Some(finding)
}
