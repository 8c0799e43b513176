//! CM971, CM972: the text in a header by which ComfyUI knows quantized layers.
//!
//! Source: `foreign.md` 5: `_quantization_metadata` is a JSON string with a format version and one entry a
//! layer; a layer is named by its module path.

use super::draft::Draft;
use serde_json::{Map, Value, json};

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

/// Each shard names the layers whose weight it holds.
fn missing(draft: &mut Draft<'_>) {
    for finding in draft.asked(&["CM971"]) {
        let mut written = 0;
        let shards = draft.checkpoint.shards.len();
        for s in 0..shards {
            let mut layers = Map::new();
            for layer in draft.model.layers.iter().filter(|l| l.is_quantized()) {
                let here =
                    layer.member(layer.weight_leaf()).is_some_and(|m| usize::try_from(m.shard) == Ok(s));
                if let Some(format) = format_of(layer.scheme.id()).filter(|_| here) {
                    layers.insert(layer.name.clone(), json!({"format": format}));
                }
            }
            if layers.is_empty() {
                continue;
            }
            written += layers.len();
            set(draft, s, &json!({"format_version": "1.0", "layers": layers}));
        }
        if written == 0 {
            draft.refuse(finding, "no layer has a layout that ComfyUI reads; convert the checkpoint instead");
        } else {
            draft.change("CM971", KEY, "write", "absent".into(), format!("{written} layers"));
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

/// Names that want a prefix get it, where exactly one module ends with the name.
fn unresolved(draft: &mut Draft<'_>) {
    let findings = draft.asked(&["CM972"]);
    if findings.is_empty() {
        return;
    }
    for s in 0..draft.checkpoint.shards.len() {
        let text =
            draft.metadata.get(s).and_then(|m| m.iter().find(|(key, _)| key == KEY)).map(|(_, v)| v.clone());
        let Some(Value::Object(mut whole)) = text.and_then(|text| serde_json::from_str(&text).ok()) else {
            continue;
        };
        let Some(Value::Object(layers)) = whole.get("layers").cloned() else { continue };
        let mut renamed = Map::new();
        let mut changed = Vec::new();
        for (name, entry) in layers {
            match resolved(draft, &name) {
                Some(full) => {
                    changed.push((name, full.clone()));
                    renamed.insert(full, entry);
                }
                None => {
                    renamed.insert(name, entry);
                }
            }
        }
        whole.insert("layers".into(), Value::Object(renamed));
        set(draft, s, &Value::Object(whole));
        for (name, full) in changed {
            draft.change("CM972", &name, "rename", name.clone(), full);
        }
    }
}

/// The one module that a name means without being it.
fn resolved(draft: &Draft<'_>, name: &str) -> Option<String> {
    if draft.model.layer(name).is_some() {
        return None;
    }
    let ending = format!(".{name}");
    let mut modules = draft.model.layers.iter().filter(|l| l.name.ends_with(&ending) && l.is_quantized());
    let found = modules.next()?;
    modules.next().is_none().then(|| found.name.clone())
}
