//! LK: quantizer state that leaked into the weights, scales that belong to nothing, KV cache scales.

use super::{HeaderContext, number};
use crate::checkpoint::ConfigFile;
use crate::findings::Findings;
use crate::model::LayerInfo;
use crate::registry::{Example, FindingExt, Rule};
use crate::report::Severity;
use quantscope_format::QuantDeclaration;
use quantscope_schemes::{Family, Role, leak, role_of, schemes};
use std::collections::HashSet;

pub(crate) const RULES: &[Rule] = &[LK401, LK402, LK403];

const LK401: Rule = Rule {
    id: "LK401",
    severity: Severity::Error,
    needs: "H",
    title: "Leaked quantizer state",
    why: "Tensors such as `input_quantizer._amax` are the calibration state of the tool that quantized the model. \
          Loaders that check their keys stop at them, others load them as unknown weights.",
    fix: "Strip these tensors. KV cache maxima become `k_scale` / `v_scale` first (amax / 448).",
    repairable: true,
    example: Example::of(
        "self_attn.k_proj.weight\nself_attn.k_bmm_quantizer._amax   F32 []   224.0\nmlp.up_proj.input_quantizer._amax",
        "self_attn.k_proj.weight\nself_attn.k_proj.k_scale          F32 []   0.5",
    ),
};

const LK402: Rule = Rule {
    id: "LK402",
    severity: Severity::Warning,
    needs: "H",
    title: "Orphan scale",
    why: "A scale stands beside a weight that is plain, or beside none. Strict loaders stop at the unknown key; others \
          scale a weight that was never quantized. Where the weight is missing, a file is missing.",
    fix: "Strip the scale, or restore the quantized weight it belongs to.",
    repairable: true,
    example: Example::of(
        "mixer.conv1d.weight        BF16 [64, 1, 4]\nmixer.conv1d.weight_scale  F32 []",
        "mixer.conv1d.weight        BF16 [64, 1, 4]",
    ),
};

const LK403: Rule = Rule {
    id: "LK403",
    severity: Severity::Info,
    needs: "H,C",
    title: "KV cache scales and config disagree",
    why: "Scales of the KV cache without a declared cache algorithm are ignored or refused; a declared algorithm \
          without scales runs with scales of 1.",
    fix: "Correct `kv_cache_quant_algo` in the configs, or strip the scales.",
    repairable: true,
    example: Example::of(
        "kv_cache_quant_algo: null\nself_attn.k_proj.k_scale  F32 []",
        "kv_cache_quant_algo: FP8\nself_attn.k_proj.k_scale  F32 []",
    ),
};

pub(crate) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    orphans(context, findings);
    kv_cache(context, findings);
    for layer in &context.model.layers {
        let leaked: Vec<_> = layer.members.iter().filter(|m| leak::is_state_leaf(&m.leaf)).collect();
        let places = leaked.iter().filter_map(|m| context.checkpoint.tensor(m.shard, m.tensor));
        let bytes: u64 = places.fold(0, |n, (_, t)| n.saturating_add(t.byte_len()));
        let Some(first) = leaked.first() else { continue };
        let Some((shard, tensor)) = context.checkpoint.tensor(first.shard, first.tensor) else { continue };
        let count = leaked.len();
        let tensors = if count == 1 { "tensor" } else { "tensors" };
        let message =
            format!("{count} quantizer-state {tensors} leaked ({bytes} bytes), e.g. `{}`", tensor.name);
        findings.push(
            LK401
                .finding(&layer.name, message)
                .in_file(&shard.file)
                .expecting("no quantizer state in a finished checkpoint", tensor.name)
                .touching(&layer.name),
        );
    }
}

/// Leaves that are scales in some scheme. Names of one word are parameters elsewhere.
fn scale_leaves() -> HashSet<&'static str> {
    let companions = schemes().iter().flat_map(|s| s.about().companions);
    let scale = |role| matches!(role, Role::WeightScale | Role::GlobalScale | Role::InputScale);
    companions.filter(|c| scale(c.role) && c.leaf.contains('_')).map(|c| c.leaf).collect()
}

/// Names of one word that say enough together: scales and another companion of the same scheme.
fn companions_of_a_scheme(layer: &LayerInfo) -> Vec<&'static str> {
    // One tensor alone says too little, whatever it is called.
    if layer.members.len() < 2 {
        return Vec::new();
    }
    let found = schemes().iter().filter_map(|scheme| {
        let about = scheme.about();
        let has = |leaf: &str| layer.member(leaf).is_some();
        let there: Vec<_> = about.companions.iter().filter(|c| has(c.leaf) && c.role != Role::Bias).collect();
        let telling = there.iter().any(|c| c.role == Role::WeightScale)
            && there.len() > 1
            && there.iter().all(|c| c.role != Role::Weight);
        telling.then(|| there.iter().map(|c| c.leaf).collect::<Vec<_>>())
    });
    found.take(1).flatten().collect()
}

fn orphans(context: HeaderContext<'_>, findings: &mut Findings) {
    let leaves = scale_leaves();
    let floats = ["bf16", "f16", "f32", "f64"];
    for layer in context.model.layers.iter().filter(|l| l.scheme.family() == Family::Plain) {
        let of_one_scheme = companions_of_a_scheme(layer);
        let is_scale = |leaf: &str| {
            let role = role_of(layer.scheme, leaf).0;
            matches!(role, Role::WeightScale | Role::GlobalScale | Role::InputScale)
                || leaves.contains(leaf)
                || of_one_scheme.contains(&leaf)
        };
        let scales: Vec<&str> =
            layer.members.iter().map(|m| m.leaf.as_str()).filter(|leaf| is_scale(leaf)).collect();
        let Some(&first) = scales.first() else { continue };
        // What is stored beside the scales, quantizer state and biases left out.
        let weight = layer.members.iter().find(|m| {
            let role = role_of(layer.scheme, &m.leaf).0;
            !is_scale(&m.leaf) && matches!(role, Role::Weight | Role::Other)
        });
        let beside = match weight {
            Some(_) if !floats.contains(&layer.scheme.id()) => continue,
            Some(_) => format!("its weight is plain {}", layer.scheme.id()),
            None => "it has no weight".to_string(),
        };
        let Some(member) = layer.member(first) else { continue };
        let Some((shard, tensor)) = context.checkpoint.tensor(member.shard, member.tensor) else { continue };
        let others = scales.len().saturating_sub(1);
        let more = if others > 0 { format!(" and {others} more of this layer") } else { String::new() };
        let message = format!("orphan `{}`{more}: {beside}", tensor.name);
        let finding = LK402.finding(tensor.name, message).in_file(shard.file.as_str());
        findings.push(finding.expecting("a quantized weight", beside).touching(&layer.name));
    }
}

/// The cache algorithm that any of the configs declares.
fn declared_cache(context: HeaderContext<'_>) -> Option<(bool, &str)> {
    let files = [&context.checkpoint.config_quant, &context.checkpoint.hf_quant];
    let readable = |c: &&ConfigFile<QuantDeclaration>| c.content.is_ok();
    let files: Vec<_> = files.into_iter().flatten().filter(readable).collect();
    let declares =
        |c: &&&ConfigFile<QuantDeclaration>| c.content.as_ref().is_ok_and(|d| d.kv_cache.is_some());
    let file = files.iter().find(declares);
    file.map(|c| (true, c.file.as_str())).or_else(|| files.first().map(|c| (false, c.file.as_str())))
}

fn kv_cache(context: HeaderContext<'_>, findings: &mut Findings) {
    let scales = |l: &LayerInfo| l.member_of(Role::KvScale).map(|m| (m.shard, m.tensor));
    let with: Vec<&LayerInfo> = context.model.layers.iter().filter(|l| scales(l).is_some()).collect();
    let Some((declares, file)) = declared_cache(context) else { return };
    let first = with.first().and_then(|l| scales(l)).and_then(|(s, t)| context.checkpoint.tensor(s, t));
    match (first, declares) {
        (Some((_, tensor)), false) => {
            let message = format!(
                "{} KV cache scales, e.g. `{}`, but {file} declares no KV cache algorithm",
                number(with.len(), "layer has", "layers have"),
                tensor.name
            );
            let finding = LK403.finding(tensor.name, message).in_file(file);
            let mut finding = finding.expecting("a declared KV cache algorithm", "none");
            finding.layers = with.iter().map(|l| l.name.clone()).collect();
            findings.push(finding);
        }
        (None, true) if !context.model.layers.is_empty() => {
            let message = format!("{file} declares a quantized KV cache, but no KV cache scale is stored");
            let finding = LK403.finding("kv_cache_quant_algo", message).in_file(file);
            findings.push(finding.expecting("KV cache scales, unless they are fixed at 1", "none"));
        }
        _ => {}
    }
}
