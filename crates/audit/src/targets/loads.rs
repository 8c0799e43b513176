//! SN202, SN204, TI705: names, ranks, schemes and copies that one runtime needs.

use super::{Profile, load_of, method_of};
use crate::findings::Findings;
use crate::model::LayerInfo;
use crate::registry::{Example, FindingExt, Rule};
use crate::report::{Finding, Severity};
use crate::rules::HeaderContext;
use crate::targets::profile::{Physical, Scale};
use quantscope_schemes::{Family, LayerView, effective_algo, role_of};
use std::collections::BTreeMap;

pub(crate) const SN202: Rule = Rule {
    id: "SN202",
    severity: Severity::Warning,
    needs: "H,C",
    title: "Scale under another name or rank than the runtime reads",
    why: "A runtime looks scales up by name and copies them into tensors of a fixed rank. What it does not find it \
          leaves uninitialised, or it stops at a shape check.",
    fix: "Rename or reshape the scale; its bytes stay as they are.",
    repairable: true,
    example: Example::of(
        "config.json: quant_method fp8\nq_proj.weight_scale  F32 [4, 1, 2, 1]",
        "config.json: quant_method fp8\nq_proj.weight_scale_inv  F32 [4, 2]",
    ),
};

pub(crate) const SN204: Rule = Rule {
    id: "SN204",
    severity: Severity::Error,
    needs: "H,C",
    title: "The runtime does not load this scheme",
    why: "Its loader has no method for such layers, or none under the method that the config declares. It refuses the \
          config, or reads packed bytes as plain weights.",
    fix: "Convert to a scheme that the runtime loads, or serve the checkpoint with another one.",
    repairable: false,
    example: Example::of(
        "--target transformers, quant_algo: W4A8_AWQ",
        "--target trtllm, quant_algo: W4A8_AWQ",
    ),
};

pub(crate) const TI705: Rule = Rule {
    id: "TI705",
    severity: Severity::Warning,
    needs: "H,C",
    title: "The runtime needs a copy that is not in the file",
    why: "A shared weight was written once. This runtime reads the other name from the file, and where it is not there \
          the module stays uninitialised.",
    fix: "Keep the copy: write the shared weight under both names.",
    repairable: false,
    example: Example::of(
        "tie_word_embeddings: false, lm_head.weight dropped as a copy",
        "tie_word_embeddings: false, lm_head.weight kept",
    ),
};

pub(super) fn check(context: HeaderContext<'_>, profile: &Profile, findings: &mut Findings) {
    check_algo(context, profile, findings);
    check_schemes(context, profile, findings);
    let method = method_of(context.checkpoint);
    for layer in context.model.layers.iter().filter(|l| l.is_quantized()) {
        let Some(load) = load_of(profile, layer.scheme.id(), method) else { continue };
        let view = layer.view(context.checkpoint);
        for scale in &load.scales {
            findings.extend(check_scale(context, profile, layer, &view, scale));
        }
    }
    for physical in &profile.physical {
        check_physical(context, physical, findings);
    }
}

/// The algorithm that the config declares, by name.
fn check_algo(context: HeaderContext<'_>, profile: &Profile, findings: &mut Findings) {
    let (Some(method), Some(declaration)) = (method_of(context.checkpoint), context.checkpoint.declaration())
    else {
        return;
    };
    let Some(algo) = effective_algo(declaration) else { return };
    let list = profile.algos.iter().find(|a| a.methods.iter().any(|m| m.eq_ignore_ascii_case(method)));
    let Some(list) = list.filter(|list| !list.names.iter().any(|name| name.eq_ignore_ascii_case(&algo)))
    else {
        return;
    };
    let message = format!(
        "{} {} does not take quant_algo {algo} under quant_method {method}",
        profile.title, profile.version
    );
    findings.push(SN204.finding("quant_algo", message).expecting(list.names.join(", "), algo));
}

/// Schemes and kinds without a loader, one finding for each.
fn check_schemes(context: HeaderContext<'_>, profile: &Profile, findings: &mut Findings) {
    let method = method_of(context.checkpoint);
    let mut strangers: BTreeMap<(&str, &str), Vec<&LayerInfo>> = BTreeMap::new();
    for layer in context.model.layers.iter().filter(|l| l.is_quantized()) {
        let scheme = layer.scheme.id();
        let kind = layer.kind.id();
        if load_of(profile, scheme, method).is_none() {
            strangers.entry((scheme, "")).or_default().push(layer);
        } else if layer.kind.is_counted() && !profile.kinds.iter().any(|known| known == kind) {
            strangers.entry((scheme, kind)).or_default().push(layer);
        }
    }
    for ((scheme, kind), layers) in strangers {
        let what = if kind.is_empty() { String::new() } else { format!(" {kind} layers in") };
        let under = match method {
            Some(method) if kind.is_empty() && profile.scheme.iter().any(|l| l.id == scheme) => {
                format!(" under quant_method {method}")
            }
            _ => String::new(),
        };
        let first = layers.first().map_or("", |l| l.name.as_str());
        let message = format!(
            "{} {} does not load{what} {scheme}{under}: {} such layers, e.g. `{first}`",
            profile.title,
            profile.version,
            layers.len()
        );
        let known: Vec<&str> = profile.scheme.iter().map(|load| load.id.as_str()).collect();
        let right = if kind.is_empty() { known.join(", ") } else { profile.kinds.join(", ") };
        let found = if kind.is_empty() { scheme } else { kind };
        let mut finding = SN204.finding(first, message).expecting(right, found);
        finding.layers = layers.iter().map(|l| l.name.clone()).collect();
        findings.push(finding);
    }
}

fn ranks(ranks: &[usize]) -> String {
    ranks.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ")
}

fn check_scale(
    context: HeaderContext<'_>,
    profile: &Profile,
    layer: &LayerInfo,
    view: &LayerView<'_>,
    scale: &Scale,
) -> Option<Finding> {
    let runtime = format!("{} {}", profile.title, profile.version);
    let names: Vec<&str> = std::iter::once(scale.leaf.as_str()).chain(scale.or.as_deref()).collect();
    let wanted = format!("{} of rank {}", names.join(" or "), ranks(&scale.ranks));
    let name = &layer.name;
    let place = |finding: Finding, leaf: &str| {
        let file = layer.tensor(context.checkpoint, leaf).map(|(shard, _)| shard.file.clone());
        let mut finding = finding.touching(name);
        finding.file = file;
        Some(finding)
    };
    if let Some(stored) = names.iter().find_map(|leaf| view.get(leaf)) {
        if scale.ranks.contains(&stored.rank()) {
            return None;
        }
        let message =
            format!("{runtime} reads {wanted}; `{name}.{}` has rank {}", stored.leaf, stored.rank());
        let found = format!("{} of rank {}", stored.leaf, stored.rank());
        return place(SN202.finding(name, message).expecting(&wanted, found), stored.leaf);
    }
    // The same thing under a name that this runtime does not look for.
    let role = role_of(layer.scheme, &scale.leaf).0;
    let other = view.tensors.iter().find(|t| role_of(layer.scheme, t.leaf).0 == role);
    if let Some(other) = other {
        let message =
            format!("{runtime} reads {wanted}; `{name}` has `{}` of rank {}", other.leaf, other.rank());
        let found = format!("{} of rank {}", other.leaf, other.rank());
        return place(SN202.finding(name, message).expecting(&wanted, found), other.leaf);
    }
    if !scale.needed {
        return None;
    }
    let message = format!("{runtime} reads {wanted}; `{name}` has none, and it would be left uninitialised");
    let mut finding = SN202.finding(name, message).expecting(&wanted, "absent");
    // There is nothing to rename.
    finding.repairable = false;
    finding.fix = format!("Export the layer again with calibration, so that it has `{}`.", scale.leaf).into();
    place(finding, layer.weight_leaf())
}

/// Whether the config is one for which a copy is needed.
fn applies(context: HeaderContext<'_>, physical: &Physical) -> bool {
    let Some(config) = context.checkpoint.model_config() else { return false };
    let model = config.model_type.as_deref().unwrap_or_default();
    let of_type = physical.model_types.is_empty() || physical.model_types.iter().any(|t| t == model);
    let untied = !physical.untied || config.tie_word_embeddings == Some(false);
    let flagged = physical.flag.as_ref().is_none_or(|flag| {
        let homes = [Some(&config.value), config.value.get("text_config")];
        homes
            .into_iter()
            .flatten()
            .any(|home| home.get(flag).and_then(serde_json::Value::as_bool) == Some(true))
    });
    of_type && untied && flagged
}

fn check_physical(context: HeaderContext<'_>, physical: &Physical, findings: &mut Findings) {
    if !applies(context, physical) {
        return;
    }
    for layer in &context.model.layers {
        let Some(module) = partner(&layer.name, &physical.twin, &physical.module) else { continue };
        let has_weight = |l: &LayerInfo| l.member(l.weight_leaf()).is_some();
        // A plain copy is made while loading; a quantized one lacks its scales, and an embedding its rows.
        let copied = physical.flag.is_some() && layer.scheme.family() == Family::Plain;
        if !has_weight(layer) || copied || context.model.layer(&module).is_some_and(has_weight) {
            continue;
        }
        let message =
            format!("`{module}` is not in the file, `{}` has its weight: {}", layer.name, physical.why);
        let finding = TI705.finding(&module, message).expecting(format!("`{module}` in the file"), "absent");
        findings.push(finding.touching(&layer.name));
    }
}

/// The module that `module` names where `twin` names `name`; a leading `*` is the same text in both.
fn partner(name: &str, twin: &str, module: &str) -> Option<String> {
    match (twin.strip_prefix('*'), module.strip_prefix('*')) {
        (Some(twin), Some(module)) => Some(format!("{}{module}", name.strip_suffix(twin)?)),
        _ => (name == twin).then(|| module.to_string()),
    }
}
