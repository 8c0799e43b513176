//! SC: scales that are missing. Loaders fill the gap with uninitialised memory or a one, and say nothing.

use super::HeaderContext;
use crate::findings::Findings;
use crate::model::LayerInfo;
use crate::registry::{Example, FindingExt, Rule};
use crate::report::{Finding, Severity};
use quantscope_numeric::Dtype;
use quantscope_schemes::{Family, LayerView, Presence, Role};

pub(crate) const RULES: &[Rule] = &[SC001, SC002];

const SC001: Rule = Rule {
    id: "SC001",
    severity: Severity::Error,
    needs: "H",
    title: "Packed weight without a scale",
    why: "Codes mean nothing without their scale. Loaders leave the scale uninitialised, so the layer computes \
          garbage, often without an error.",
    fix: "Export the layer again, or restore the scale from the shard it was in. If the bytes are really plain \
          weights, list the layer as excluded.",
    repairable: false,
    example: Example::of(
        "mlp.up_proj.weight          U8 [64, 24]",
        "mlp.up_proj.weight          U8 [64, 24]\nmlp.up_proj.weight_scale    F8_E4M3 [64, 3]\nmlp.up_proj.weight_scale_2  F32 []",
    ),
};

const SC002: Rule = Rule {
    id: "SC002",
    severity: Severity::Error,
    needs: "H",
    title: "Global scale missing",
    why: "NVFP4 block scales are relative to one F32 scale of the tensor. Without it every weight of the layer is \
          off by the same unknown factor.",
    fix: "Export the layer again. The global scale can be recomputed only where the source weights are at hand.",
    repairable: false,
    example: Example::of(
        "mlp.up_proj.weight          U8 [64, 24]\nmlp.up_proj.weight_scale    F8_E4M3 [64, 3]",
        "mlp.up_proj.weight          U8 [64, 24]\nmlp.up_proj.weight_scale    F8_E4M3 [64, 3]\nmlp.up_proj.weight_scale_2  F32 []",
    ),
};

pub(crate) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    let fp4_elsewhere = context.model.layers.iter().any(|l| l.scheme.family() == Family::Fp4);
    for layer in &context.model.layers {
        let view = layer.view(context.checkpoint);
        let file = layer.tensor(context.checkpoint, layer.weight_leaf()).map(|(shard, _)| shard.file.clone());
        let Some(file) = file else { continue };
        if let Some(missing) = missing(layer, &view, fp4_elsewhere) {
            findings.push(finding(&missing, layer, &view).in_file(file).touching(&layer.name));
        }
    }
}

/// What a layer lacks.
struct Missing {
    role: Role,
    leaf: &'static str,
}

/// Whether a layer of no scheme is told as lacking its scale, so that other rules need not tell it again.
pub(crate) fn is_bare_weight(context: HeaderContext<'_>, layer: &LayerInfo, fp4_elsewhere: bool) -> bool {
    missing(layer, &layer.view(context.checkpoint), fp4_elsewhere).is_some()
}

/// The first tensor that a layer lacks, if it lacks one.
fn missing(layer: &LayerInfo, view: &LayerView<'_>, fp4_elsewhere: bool) -> Option<Missing> {
    if layer.is_quantized() {
        let mut required =
            layer.scheme.about().companions.iter().filter(|c| c.presence == Presence::Required);
        return required.find(|c| !view.has(c.leaf)).map(|c| Missing { role: c.role, leaf: c.leaf });
    }
    // No scheme claims it: eight bits, and nothing beside them that could be a scale.
    let weight = view.weight().filter(|w| w.rank() >= 2)?;
    let eight_bit = match weight.dtype {
        Dtype::F8_E4M3 | Dtype::F8_E5M2 => true,
        Dtype::U8 => weight.rank() == 2 && fp4_elsewhere,
        _ => false,
    };
    let scale_like = |leaf: &str| ["scale", "absmax", "SCB", "quant"].iter().any(|part| leaf.contains(part));
    let bare = !view.tensors.iter().any(|t| scale_like(t.leaf));
    let lacks = eight_bit && bare && layer.kind.is_quantizable();
    lacks.then_some(Missing { role: Role::WeightScale, leaf: "a scale" })
}

fn finding(missing: &Missing, layer: &LayerInfo, view: &LayerView<'_>) -> Finding {
    let (name, wanted) = (&layer.name, missing.leaf);
    if missing.role == Role::GlobalScale {
        let message = format!("`{name}` has block scales but no global scale `{wanted}`");
        return SC002.finding(name, message).expecting(wanted, "absent");
    }
    let leaf = layer.weight_leaf();
    let dtype = view.get(leaf).map_or("packed", |w| w.dtype.tag());
    let kind = match missing.role {
        Role::WeightScale if layer.scheme.family() == Family::Fp4 => "block scale".to_string(),
        Role::WeightScale => "scale".to_string(),
        _ => format!("`{wanted}`"),
    };
    let message = format!("`{}` is {dtype} but has no {kind}", layer.naming.tensor(name, leaf));
    SC001.finding(name, message).expecting(wanted, "absent")
}
