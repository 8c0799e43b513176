//! CV: what converters leave behind.

use super::HeaderContext;
use crate::findings::Findings;
use crate::registry::{Example, FindingExt, Rule};
use crate::report::Severity;
use quantscope_numeric::Dtype;
use quantscope_schemes::{Family, Role, role_of};

pub(crate) const RULES: &[Rule] = &[CV901, CV902];

const CV901: Rule = Rule {
    id: "CV901",
    severity: Severity::Error,
    needs: "H",
    title: "Codes without a scheme",
    why: "A tensor of one-byte elements with nothing beside it that says what a code stands for. Converters that copy \
          it, or cast it as if codes were values, write a model of noise.",
    fix: "Say which scheme it is (its companions may be in another file or under another name), or exclude it; a \
          conversion refuses to pass it on.",
    repairable: false,
    example: Example::of(
        "mlp.experts.w1_packed  U8 [8, 64, 32]",
        "mlp.experts.w1.weight        U8 [8, 64, 32]\nmlp.experts.w1.weight_scale  F8_E4M3 [8, 64, 4]",
    ),
};

const CV902: Rule = Rule {
    id: "CV902",
    severity: Severity::Warning,
    needs: "C,H",
    title: "Config of a quantized model, tensors of a plain one",
    why: "The tensors were converted to plain numbers, or never packed, and the config was copied. Loaders look for \
          scales that are not there.",
    fix: "Remove the quantization section of config.json, and hf_quant_config.json.",
    repairable: true,
    example: Example::of(
        "config.json: {\"quantization_config\": {\"quant_method\": \"fp8\"}}\nevery weight BF16",
        "config.json: {}\nevery weight BF16",
    ),
};

pub(crate) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    codes(context, findings);
    let declared = &context.model.declared;
    let layers = &context.model.layers;
    let has_weights = layers.iter().any(|l| l.kind.is_quantizable());
    let any_codes = layers.iter().any(|l| l.is_quantized() || l.member_of(Role::WeightScale).is_some());
    let (Some(algo), true, false) = (declared.algo(), has_weights && context.is_whole(), any_codes) else {
        return;
    };
    let file = context.declaring_file();
    let message = format!("{file} still says {algo}, but no tensor is quantized");
    let finding = CV902.finding(file, message).in_file(file);
    findings.push(finding.expecting("no quantization section", algo));
}

/// Causal masks of old checkpoints are bytes, too.
fn is_mask(leaf: &str) -> bool {
    leaf == "bias" || leaf.contains("mask")
}

fn codes(context: HeaderContext<'_>, findings: &mut Findings) {
    let fp4_elsewhere = context.model.layers.iter().any(|l| l.scheme.family() == Family::Fp4);
    for layer in context.model.layers.iter().filter(|l| l.scheme.family() == Family::Plain) {
        // Scales beside it show that it is of a scheme that is not known here; that is no orphan.
        let scale_like = |leaf: &str| {
            ["scale", "absmax", "quant", "SCB", "zeros", "codebook"].iter().any(|part| leaf.contains(part))
        };
        if layer.members.iter().any(|m| scale_like(&m.leaf))
            || layer.name.rsplit('.').next().is_some_and(scale_like)
        {
            continue;
        }
        for member in &layer.members {
            let Some((shard, tensor)) = context.checkpoint.tensor(member.shard, member.tensor) else {
                continue;
            };
            let is_code = tensor.dtype.bits() == 8 && tensor.dtype != Dtype::BOOL;
            let role = role_of(layer.scheme, &member.leaf).0;
            if !is_code || tensor.shape.len() < 2 || is_mask(&member.leaf) || role == Role::QuantizerState {
                continue;
            }
            // The packed weight of a layer is told as lacking its scale.
            if role == Role::Weight && super::scales::is_bare_weight(context, layer, fp4_elsewhere) {
                continue;
            }
            let message = format!(
                "`{}` is {} of {:?} with nothing that decodes it",
                tensor.name, tensor.dtype, tensor.shape
            );
            let finding = CV901.finding(tensor.name, message).in_file(shard.file.as_str());
            findings.push(finding.expecting("scales beside the codes", "none").touching(&layer.name));
        }
    }
}
