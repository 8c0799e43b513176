//! CM971, CM972: the text in a header by which ComfyUI knows quantized layers.
//!
//! Source: `formats.md` j: `_quantization_metadata` is a JSON string with a format version and one entry a
//! layer; a layer is named by its module path.

use super::draft::Draft;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

const KEY: &str = "_quantization_metadata";

pub(super) fn mend(draft: &mut Draft<'_>) {
    missing(draft);
    unresolved(draft);
}

/// How ComfyUI calls a layout, if it is one that it reads.
fn format_of(scheme: &str) -> Option<&'static str> {
    match scheme {
        "comfy-fp8" | "fp8" => Some("float8_e4m3fn"),
        "comfy-nvfp4" => Some("nvfp4"),
        "comfy-mxfp8" => Some("mxfp8"),
        _ => None,
    }
}

/// What a shard's metadata says already.
fn stored(draft: &Draft<'_>, shard: usize) -> Map<String, Value> {
    let metadata = draft.metadata.get(shard);
    let text = metadata.and_then(|m| m.iter().find(|(key, _)| key == KEY)).map(|(_, text)| text.as_str());
    match text.and_then(|text| serde_json::from_str(text).ok()) {
        Some(Value::Object(whole)) => whole,
        _ => Map::from_iter([("format_version".to_string(), json!("1.0"))]),
    }
}

/// Each shard names the layers whose weight it holds; what it says of others stays.
fn missing(draft: &mut Draft<'_>) {
    for finding in draft.asked(&["CM971"]) {
        let mut written = 0;
        let model = draft.model;
        for s in 0..draft.checkpoint.shards.len() {
            let mut whole = stored(draft, s);
            let mut layers = match whole.remove("layers") {
                Some(Value::Object(layers)) => layers,
                _ => Map::new(),
            };
            let before = layers.len();
            for layer in finding.layers.iter().filter_map(|name| model.layer(name)) {
                let here =
                    layer.member(layer.weight_leaf()).is_some_and(|m| usize::try_from(m.shard) == Ok(s));
                if let Some(format) = format_of(layer.scheme.id()).filter(|_| here) {
                    layers.entry(layer.name.clone()).or_insert_with(|| json!({"format": format}));
                }
            }
            if layers.len() > before {
                written += layers.len() - before;
                whole.insert("layers".into(), Value::Object(layers));
                set(draft, s, &Value::Object(whole));
            }
        }
        if written == 0 {
            draft.refuse(finding, "no layer has a layout that ComfyUI reads; convert the checkpoint instead");
        } else {
            draft.change(
                "CM971",
                &finding.subject,
                "write",
                "no entry".into(),
                format!("{written} layers in {KEY}"),
            );
        }
    }
}

fn set(draft: &mut Draft<'_>, shard: usize, value: &Value) {
    let Some(metadata) = draft.metadata.get_mut(shard) else { return };
    let text = value.to_string();
    match metadata.iter_mut().find(|(key, _)| key == KEY) {
        Some(entry) => entry.1 = text,
        None => metadata.push((KEY.into(), text)),
    }
}

/// Names that want a prefix get it, where exactly one module ends with the name; those with one too many lose it.
fn unresolved(draft: &mut Draft<'_>) {
    if draft.asked(&["CM972"]).is_empty() {
        return;
    }
    let model = draft.model;
    // Paths by their endings, `None` where several modules have one, so that each name is looked up once.
    let mut endings: HashMap<&str, Option<&str>> = HashMap::new();
    for layer in model.layers.iter().filter(|l| l.is_quantized()) {
        for (dot, _) in layer.name.match_indices('.') {
            if let Some(ending) = layer.name.get(dot + 1..) {
                endings.entry(ending).and_modify(|path| *path = None).or_insert(Some(&layer.name));
            }
        }
    }
    let resolved = |name: &str| -> Option<String> {
        if model.layer(name).is_some() {
            return None;
        }
        let shorter = || {
            let parts = name.match_indices('.').filter_map(|(dot, _)| name.get(dot + 1..));
            parts.into_iter().find(|rest| model.layer(rest).is_some())
        };
        endings.get(name).copied().flatten().or_else(shorter).map(str::to_string)
    };
    for s in 0..draft.checkpoint.shards.len() {
        let mut whole = stored(draft, s);
        let Some(Value::Object(layers)) = whole.remove("layers") else { continue };
        let mut renamed = Map::new();
        let mut changed = Vec::new();
        for (name, entry) in layers {
            if let Some(full) = resolved(&name) {
                changed.push((name, full.clone()));
                renamed.insert(full, entry);
            } else {
                renamed.insert(name, entry);
            }
        }
        if changed.is_empty() {
            continue;
        }
        whole.insert("layers".into(), Value::Object(renamed));
        set(draft, s, &Value::Object(whole));
        for (name, full) in changed {
            draft.change("CM972", &name, "rename", name.clone(), full);
        }
    }
}
