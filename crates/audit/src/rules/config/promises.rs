//! CF301, CF302 and CF305: layers that are not what the config says, or should not be what they are.

use super::super::{HeaderContext, number};
use crate::findings::Findings;
use crate::names::is_vision;
use crate::registry::{Example, FindingExt, Rule};
use crate::report::Severity;
use quantscope_schemes::{Family, Role, WEIGHT_LEAF, role_of};

pub(super) const RULES: &[Rule] = &[CF301, CF302, CF305];

const CF301: Rule = Rule {
    id: "CF301",
    severity: Severity::Error,
    needs: "H,C",
    title: "Excluded but quantized",
    why: "The loader builds a plain layer because the config excludes it, then finds packed bytes of another shape.",
    fix: "Drop the layer from the exclude lists of both configs, or dequantize it.",
    repairable: true,
    example: Example::of(
        "ignore: [\"model.layers.0*\"]\nmodel.layers.0.mlp.up_proj.weight  U8 [64, 24], with scales",
        "ignore: [\"lm_head\"]\nmodel.layers.0.mlp.up_proj.weight  U8 [64, 24], with scales",
    ),
};
const CF302: Rule = Rule {
    id: "CF302",
    severity: Severity::Error,
    needs: "H,C",
    title: "Promised quantized, stored plain",
    why: "The loader builds a quantized layer and looks for scales that are not there.",
    fix: "Add the layer to the exclude lists of both configs, or quantize it.",
    repairable: true,
    example: Example::of(
        "quant_algo: NVFP4, ignore: [\"lm_head\"]\nmodel.layers.0.mlp.down_proj.weight  BF16 [48, 64], no scales",
        "quant_algo: NVFP4, ignore: [\"lm_head\", \"model.layers.0.mlp.down_proj\"]\nmodel.layers.0.mlp.down_proj.weight  BF16 [48, 64], no scales",
    ),
};
const CF305: Rule = Rule {
    id: "CF305",
    severity: Severity::Warning,
    needs: "H",
    title: "Vision tower quantized",
    why: "Recipes for the language model that match too much quantize the vision tower as well. Text stays fine, so \
          nobody notices, while answers about images become noise.",
    fix: "If it was not meant, quantize again with the vision tower excluded; if it was, test with images.",
    repairable: false,
    example: Example::of(
        "model.visual.blocks.0.mlp.up_proj.weight  U8 [5120, 640]",
        "ignore: [\"model.visual*\"]\nmodel.visual.blocks.0.mlp.up_proj.weight  BF16 [5120, 1280]",
    ),
};

pub(super) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    vision(context, findings);
    let declared = &context.model.declared;
    if declared.algo().is_none() {
        return;
    }
    let file = context.declaring_file();
    for layer in &context.model.layers {
        let name = layer.name.as_str();
        let has_scales = layer.members.iter().any(|m| role_of(layer.scheme, &m.leaf).0 == Role::WeightScale);
        if (layer.is_quantized() || has_scales)
            && let Some(pattern) = declared.exclude().naming(name)
        {
            let message =
                format!("`{name}` is excluded by `{pattern}` but is stored as {}", layer.scheme.id());
            let finding =
                CF301.finding(name, message).in_file(file).expecting("plain weights", layer.scheme.id());
            findings.push(finding.touching(name));
        }
        let is_plain_float = layer.scheme.family() == Family::Plain
            && ["bf16", "f16", "f32", "f64"].contains(&layer.scheme.id());
        // Loaders of the native FP8 form leave output heads, and what joins the input of prediction layers,
        // alone without being told.
        let kept = ["lm_head", "shared_head.head", "eh_proj"];
        let is_head = declared.is_native_fp8() && kept.iter().any(|end| name.ends_with(end));
        if !is_plain_float
            || has_scales
            || !layer.kind.is_quantizable()
            || is_head
            || layer.member(WEIGHT_LEAF).is_none()
        {
            continue;
        }
        let Some(algo) = declared.promise(name) else { continue };
        let message = format!("`{name}` is declared {algo} but is {} with no scales", layer.scheme.id());
        let finding = CF302.finding(name, message).in_file(file).expecting(algo, layer.scheme.id());
        findings.push(finding.touching(name));
    }
}

/// A tower beside a language model: a checkpoint that is a tower alone was meant to be quantized.
fn vision(context: HeaderContext<'_>, findings: &mut Findings) {
    let layers = &context.model.layers;
    let quantized: Vec<&str> =
        layers.iter().filter(|l| l.is_quantized() && is_vision(&l.name)).map(|l| l.name.as_str()).collect();
    let Some(first) = quantized.first() else { return };
    if layers.iter().all(|l| is_vision(&l.name)) {
        return;
    }
    let message = format!(
        "{} quantized, e.g. `{first}`",
        number(quantized.len(), "layer of the vision tower is", "layers of the vision tower are")
    );
    let mut finding = CF305.finding(*first, message);
    finding = finding
        .expecting("a plain vision tower", number(quantized.len(), "quantized layer", "quantized layers"));
    finding.layers = quantized.into_iter().map(str::to_string).collect();
    findings.push(finding);
}
