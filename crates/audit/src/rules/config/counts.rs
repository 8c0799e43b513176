//! CF308: numbers of layers and experts that the config gives, against those that have tensors.

use super::super::{HeaderContext, number};
use crate::findings::Findings;
use crate::names::{expert, is_vision};
use crate::registry::{Example, FindingExt, Rule};
use crate::report::Severity;
use quantscope_schemes::Kind;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const RULES: &[Rule] = &[CF308];

const CF308: Rule = Rule {
    id: "CF308",
    severity: Severity::Error,
    needs: "H,C",
    title: "Counts of the config and of the tensors differ",
    why: "Loaders build as many layers, experts and prediction heads as the config says. What has no tensors stays \
          uninitialised, what is not counted is dropped, and converters write broken files.",
    fix: "Correct the count in config.json, or restore the missing tensors.",
    repairable: false,
    example: Example::of(
        "num_hidden_layers: 32, num_nextn_predict_layers: 1\nmodel.layers.0 ... model.layers.31",
        "num_hidden_layers: 32, num_nextn_predict_layers: 0\nmodel.layers.0 ... model.layers.31",
    ),
};

const LAYERS: &[&str] = &["num_hidden_layers", "n_layer", "num_layers"];
const EXPERTS: &[&str] = &["n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts"];
const PREDICTORS: &[&str] = &["num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_layers"];
/// Last segments under which the layers of a language model are numbered.
const STACKS: &[&str] = &["layers", "h", "blocks"];
/// Segments of stacks that are no language model's.
const OTHER_STACKS: &[&str] =
    &["encoder", "decoder", "audio_tower", "audio", "mtp", "draft", "eagle", "talker"];

/// A number of the config: its field and value, at the top or of the language model.
fn stated<'a>(config: &Value, fields: &[&'a str]) -> Option<(&'a str, u64)> {
    let homes = [Some(config), config.get("text_config")];
    let mut homes = homes.into_iter().flatten();
    homes.find_map(|home| fields.iter().find_map(|f| Some((*f, home.get(f)?.as_u64()?))))
}

pub(super) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    let (Some(config), true) = (context.checkpoint.model_config(), context.is_whole()) else { return };
    layers(context, &config.value, findings);
    experts(context, &config.value, findings);
}

/// The numbered stack of the language model: its path and the numbers there are. `None` if several could
/// be meant.
fn stack(context: HeaderContext<'_>) -> Option<(&str, BTreeSet<u64>)> {
    let mut stacks: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for layer in &context.model.layers {
        let name = layer.name.as_str();
        let foreign = |s: &str| OTHER_STACKS.contains(&s);
        for (dot, _) in name.match_indices('.') {
            let (Some(above), Some(below)) = (name.get(..dot), name.get(dot + 1..)) else { continue };
            let last = above.rsplit('.').next().unwrap_or(above);
            let index = below.split('.').next().and_then(|s| s.parse::<u64>().ok());
            let (Some(index), true) = (index, STACKS.contains(&last)) else { continue };
            if !is_vision(above) && !above.split('.').any(foreign) {
                stacks.entry(above).or_default().insert(index);
            }
            // A stack inside a layer of this one is its own business.
            break;
        }
    }
    let mut stacks = stacks.into_iter();
    let only = stacks.next()?;
    stacks.next().is_none().then_some(only)
}

fn layers(context: HeaderContext<'_>, config: &Value, findings: &mut Findings) {
    let (Some((field, declared)), Some((path, found))) = (stated(config, LAYERS), stack(context)) else {
        return;
    };
    let predictors = stated(config, PREDICTORS).filter(|(_, n)| *n > 0);
    let elsewhere = context.model.layers.iter().any(|l| l.name.split('.').any(|s| s == "mtp"));
    let count = u64::try_from(found.len()).unwrap_or(u64::MAX);
    let mut report = |field: &str, declared: u64, shown: String, what: &str| {
        let message = format!("config.json declares {field} {declared}; {shown}{what}");
        let finding = CF308.finding(field, message).in_file("config.json");
        findings.push(finding.expecting(declared.to_string(), shown));
    };
    let missing: Vec<u64> = (0..declared.min(1 << 16)).filter(|i| !found.contains(i)).take(4).collect();
    if let Some(first) = missing.first() {
        let shown = format!("`{path}` has {} of them", found.iter().filter(|i| **i < declared).count());
        return report(field, declared, shown, &format!(", `{path}.{first}` is the first without tensors"));
    }
    let extra = count.saturating_sub(declared);
    let allowed = predictors.map_or(0, |(_, n)| n);
    if extra > allowed {
        return report(field, declared, format!("`{path}` has {count}"), "");
    }
    // Prediction layers stand behind the others, or in a module of their own.
    if let Some((field, declared)) = predictors.filter(|(_, n)| extra < *n && !elsewhere) {
        report(field, declared, format!("`{path}` has {extra} layers behind the others"), "");
    }
}

fn experts(context: HeaderContext<'_>, config: &Value, findings: &mut Findings) {
    let Some((field, declared)) = stated(config, EXPERTS).filter(|(_, n)| *n > 0) else { return };
    let mut blocks: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    let mut stacked: BTreeMap<&str, u64> = BTreeMap::new();
    for layer in &context.model.layers {
        if let Some((block, id, _)) = expert(&layer.name) {
            blocks.entry(block).or_default().insert(id);
        } else if layer.kind == Kind::ExpertStack
            && let Some((_, tensor)) = layer.tensor(context.checkpoint, layer.weight_leaf())
            && let Some(&count) = tensor.shape.first()
        {
            stacked.insert(&layer.name, count);
        }
    }
    let numbered = blocks.iter().map(|(b, ids)| (*b, u64::try_from(ids.len()).unwrap_or(u64::MAX)));
    let mut wrong: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (block, count) in numbered.chain(stacked).filter(|(_, n)| *n != declared) {
        wrong.entry(count).or_default().push(block);
    }
    for (count, names) in wrong {
        let Some(first) = names.first() else { continue };
        let missing = blocks.get(first).and_then(|ids| (0..declared.min(1 << 16)).find(|i| !ids.contains(i)));
        let missing =
            missing.map_or_else(String::new, |i| format!(", number {i} is the first that is missing"));
        let message = format!(
            "config.json declares {field} {declared}; {} {count}, e.g. `{first}`{missing}",
            number(names.len(), "block has", "blocks have")
        );
        let finding = CF308.finding(*first, message).in_file("config.json");
        findings.push(finding.expecting(declared.to_string(), count.to_string()));
    }
}
