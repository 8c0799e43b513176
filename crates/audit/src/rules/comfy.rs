//! CM: the metadata by which ComfyUI knows quantized layers.
//!
//! Source: `formats.md` j. ComfyUI reads per-layer entries from `_quantization_metadata` of the header or from
//! a descriptor tensor of each layer, and treats every layer without one as plain.

use super::{HeaderContext, number};
use crate::findings::Findings;
use crate::model::LayerInfo;
use crate::names;
use crate::registry::{Example, FindingExt, Rule};
use crate::report::Severity;
use quantscope_schemes::{Naming, is_marker};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};

pub(crate) const RULES: &[Rule] = &[CM971, CM972, CM973];

const CM971: Rule = Rule {
    id: "CM971",
    severity: Severity::Error,
    needs: "H",
    title: "Quantized layers without ComfyUI metadata",
    why: "ComfyUI takes a layer without metadata for a plain one: it drops the scales and stops at the first matrix \
          product, or shows noise.",
    fix: "Write `_quantization_metadata` into the header; the tensor bytes stay as they are.",
    repairable: true,
    example: Example::of(
        "__metadata__: {}\nmodel.diffusion_model.blocks.0.attn.q.weight        F8_E4M3\n\
                 model.diffusion_model.blocks.0.attn.q.weight_scale  F32",
        "__metadata__: {\"_quantization_metadata\": \"{\\\"layers\\\": \
                {\\\"model.diffusion_model.blocks.0.attn.q\\\": {\\\"format\\\": \\\"float8_e4m3fn\\\"}}}\"}",
    ),
};

const CM972: Rule = Rule {
    id: "CM972",
    severity: Severity::Error,
    needs: "H",
    title: "Metadata names layers that are not there",
    why: "The entries of `_quantization_metadata` lack a prefix that the tensors have, or the reverse, so no layer is \
          recognised as quantized.",
    fix: "Rewrite the names of the metadata; the tensor bytes stay as they are.",
    repairable: true,
    example: Example::of(
        "layers: {\"blocks.0.attn.q\": ...}\nmodel.diffusion_model.blocks.0.attn.q.weight",
        "layers: {\"model.diffusion_model.blocks.0.attn.q\": ...}\nmodel.diffusion_model.blocks.0.attn.q.weight",
    ),
};

const CM973: Rule = Rule {
    id: "CM973",
    severity: Severity::Info,
    needs: "H",
    title: "Layers that multiply in full precision",
    why: "Layers flagged `full_precision_matrix_mult` are decoded before each product. They save memory and no time, \
          which explains a quantized model that is no faster.",
    fix: "Nothing to mend. Quantize these layers with activations if speed is wanted.",
    repairable: false,
    example: Example::of(
        "{\"format\": \"float8_e4m3fn\", \"full_precision_matrix_mult\": true}",
        "{\"format\": \"float8_e4m3fn\"}",
    ),
};

const METADATA: &str = "_quantization_metadata";
const FULL_PRECISION: &str = "full_precision_matrix_mult";
/// The prefix under which ComfyUI's own checkpoints keep the diffusion model.
const PREFIX: &str = "model.diffusion_model.";

/// The entries of the headers' metadata, by layer as they name it, with their files.
fn entries(context: HeaderContext<'_>) -> BTreeMap<String, (Value, &str)> {
    let mut entries = BTreeMap::new();
    // What was too long to be read as the checkpoint was opened is so here.
    if context.checkpoint.settings.beyond_bound().is_some() {
        return entries;
    }
    for shard in &context.checkpoint.shards {
        for (_, text) in shard.header.metadata.iter().filter(|(key, _)| key == METADATA) {
            let Ok(Value::Object(mut whole)) = serde_json::from_str::<Value>(text) else { continue };
            let Some(Value::Object(layers)) = whole.remove("layers") else { continue };
            entries.extend(layers.into_iter().map(|(name, entry)| (name, (entry, shard.file.as_str()))));
        }
    }
    entries
}

pub(crate) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    let entries = entries(context);
    let layers = &context.model.layers;
    let flagged = |map: &Map<String, Value>| map.get(FULL_PRECISION) == Some(&Value::Bool(true));
    let (mut described, mut full) = (0_u64, Vec::new());
    let mut bare: Vec<&LayerInfo> = Vec::new();
    for layer in layers {
        // An entry of the header's metadata or a tensor of JSON: both say the format.
        let descriptor = context.checkpoint.settings.facts(&layer.name, None).descriptor;
        if let Some(descriptor) = descriptor.filter(|map| map.contains_key("format")) {
            described += 1;
            if flagged(descriptor) {
                full.push(layer.name.clone());
            }
        } else if layer.is_quantized() {
            bare.push(layer);
        }
    }
    let unresolved: Vec<(&String, &str)> = entries
        .iter()
        .filter(|(name, _)| context.model.layer(name).is_none())
        .map(|(name, (_, file))| (name, *file))
        .collect();
    misspelt(context, &unresolved, findings);
    // Layers whose entries are spelled wrongly are told by those.
    if unresolved.is_empty() {
        missing(context, described, &bare, findings);
    }
    if let Some(first) = full.first() {
        let message =
            format!("{} of {described} layers multiply in full precision, e.g. `{first}`", full.len());
        let mut finding = CM973.finding(first.as_str(), message);
        finding.layers = full;
        findings.push(finding);
    }
}

/// Only where the file is plainly ComfyUI's: its prefix, or entries for other layers. The older form marks
/// the whole file instead.
fn missing(context: HeaderContext<'_>, described: u64, bare: &[&LayerInfo], findings: &mut Findings) {
    let marker = |l: &LayerInfo| {
        is_marker(&l.name) || l.members.iter().any(|m| is_marker(&Naming::Dotted.tensor(&l.name, &m.leaf)))
    };
    let marked = context.model.layers.iter().any(marker);
    let bare: Vec<&&LayerInfo> =
        bare.iter().filter(|l| described > 0 || l.name.starts_with(PREFIX)).collect();
    let Some(first) = bare.first().filter(|_| !marked) else { return };
    let message = format!(
        "{} no entry in `{METADATA}` and no descriptor, e.g. `{}`",
        number(bare.len(), "quantized layer has", "quantized layers have"),
        first.name
    );
    let mut finding = CM971.finding(first.name.as_str(), message).expecting("an entry for each", "none");
    let place = first.tensor(context.checkpoint, first.weight_leaf());
    finding.file = place.map(|(shard, _)| shard.file.clone());
    finding.layers = bare.iter().map(|l| l.name.clone()).collect();
    findings.push(finding);
}

fn misspelt(context: HeaderContext<'_>, unresolved: &[(&String, &str)], findings: &mut Findings) {
    let Some((first, file)) = unresolved.first() else { return };
    // Paths by their endings, so that each name is looked up once.
    let mut endings: HashMap<&str, &str> = HashMap::new();
    for layer in &context.model.layers {
        for ending in names::endings(&layer.name) {
            endings.entry(ending).or_insert(&layer.name);
        }
    }
    let with_prefix = endings.get(first.as_str()).and_then(|path| path.strip_suffix(first.as_str()));
    let mut shorter = names::endings(first).filter(|rest| context.model.layer(rest).is_some());
    let without = shorter.next().and_then(|rest| first.strip_suffix(rest));
    let (hint, expected) = match (with_prefix, without) {
        (Some(prefix), _) => (format!("; with the prefix `{prefix}` it does"), format!("{prefix}{first}")),
        (None, Some(prefix)) => {
            let rest = first.strip_prefix(prefix).unwrap_or(first);
            (format!("; without the prefix `{prefix}` it does"), rest.to_string())
        }
        (None, None) => (String::new(), "the name of a layer".to_string()),
    };
    let message = format!(
        "{METADATA}: {} to no tensor, e.g. `{first}`{hint}",
        number(unresolved.len(), "name resolves", "names resolve")
    );
    let finding = CM972.finding(first.as_str(), message).in_file(*file);
    findings.push(finding.expecting(expected, first.as_str()));
}
