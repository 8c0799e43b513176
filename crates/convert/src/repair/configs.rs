//! CF, SN203, LK403, CV902, TI701: both configs, corrected from the tensors.
//!
//! Where the algorithm declared is the one that the tensors have, only what is wrong is replaced: the exclude
//! list, the layers of a mixed model, the group size, the cache. Where it is another, the section is written
//! anew as a conversion writes it; fields that it does not know stay.

use super::draft::Draft;
use crate::configs::{self, Quantized};
use crate::error::ConvertError;
use quantscope_audit::{LayerInfo, ties};
use quantscope_format::Gather as _;
use quantscope_format::QuantDeclaration;
use quantscope_schemes::{EncodeSettings, Scheme};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

const RULES: &[&str] =
    &["CF301", "CF302", "CF303", "CF304", "CF306", "CF307", "CF309", "SN203", "LK403", "CV902"];
const CONFIG: &str = "config.json";
const HF: &str = "hf_quant_config.json";
const SECTION: &str = "quantization_config";

/// A JSON file as people read it.
pub(super) fn pretty(value: &Value) -> Result<Vec<u8>, ConvertError> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|e| ConvertError::Refused(format!("a config cannot be written: {e}")))?;
    text.push(b'\n');
    Ok(text)
}

pub(super) fn mend(draft: &mut Draft<'_>) -> Result<(), ConvertError> {
    let config = draft.checkpoint.model_config().map(|c| c.value.clone());
    let mut mended = config.clone();
    tie_flag(draft, mended.as_mut());
    let asked = draft.asked(RULES);
    if !asked.is_empty() {
        if let Some(reason) = foreign(draft) {
            for finding in asked {
                draft.refuse(finding, &reason);
            }
        } else if let Err(error) = quantization(draft, mended.as_mut()) {
            for finding in asked {
                draft.refuse(finding, error.to_string());
            }
        }
    }
    if let Some(value) = mended.filter(|value| Some(value) != config.as_ref()) {
        draft.texts.insert(CONFIG.into(), Some(pretty(&value)?));
    }
    Ok(())
}

/// Why the declaration cannot be corrected, if it is another project's.
fn foreign(draft: &Draft<'_>) -> Option<String> {
    let method = draft.checkpoint.declaration()?.quant_method.as_deref()?;
    let ours = method.eq_ignore_ascii_case("fp8") || method.to_ascii_lowercase().starts_with("modelopt");
    (!ours).then(|| format!("a config of quant_method {method} is written by its own tool only"))
}

/// `tie_word_embeddings`: true where the file has no head of its own, false where it has another one.
fn tie_flag(draft: &mut Draft<'_>, config: Option<&mut Value>) {
    const FLAG: &str = "tie_word_embeddings";
    let findings = draft.asked(&["TI701", "TI703"]);
    let Some(config) = config.filter(|_| !findings.is_empty()) else { return };
    let has_head = draft.model.layers.iter().any(|l| l.name == "lm_head" || l.name.ends_with(".lm_head"));
    for finding in findings {
        let wanted = !has_head;
        let in_text =
            config.get(FLAG).is_none() && config.get("text_config").is_some_and(|t| t.get(FLAG).is_some());
        let home = if in_text { config.get_mut("text_config") } else { Some(&mut *config) };
        match home.and_then(Value::as_object_mut) {
            // A head that is stored apart is meant; a flag is not set to true against a stored head.
            Some(home) if home.get(FLAG) != Some(&Value::Bool(wanted)) => {
                let before = home.insert(FLAG.into(), wanted.into());
                let before = before.map_or_else(|| "absent".to_string(), |v| v.to_string());
                draft.change(&finding.rule, &finding.subject, "replace", before, format!("{FLAG}: {wanted}"));
            }
            Some(_) => {}
            None => draft.refuse(finding, "the config is no object"),
        }
    }
}

/// What the tensors say.
struct Facts<'a> {
    quantized: Vec<&'a LayerInfo>,
    plain: BTreeSet<String>,
    aliases: Vec<(String, String)>,
    kv_cache: bool,
}

impl<'a> Facts<'a> {
    fn of(draft: &Draft<'a>) -> Self {
        let model = draft.model;
        let quantized: Vec<&LayerInfo> =
            model.layers.iter().filter(|l| l.is_quantized() && l.kind.is_counted()).collect();
        let is_plain = |l: &&LayerInfo| {
            let weight = l.tensor(draft.checkpoint, l.weight_leaf());
            let rank = weight.map_or(0, |(_, tensor)| tensor.shape.len());
            !l.is_quantized() && l.kind.is_counted() && (2..=5).contains(&rank)
        };
        let ties = ties::declared(draft.checkpoint, model);
        Self {
            quantized,
            plain: model.layers.iter().filter(is_plain).map(|l| l.name.clone()).collect(),
            aliases: ties.into_iter().map(|tie| (tie.alias, tie.canonical)).collect(),
            kv_cache: draft.has_kv_scales(),
        }
    }

    /// The distinct schemes, by id.
    fn schemes(&self) -> Vec<&'static dyn Scheme> {
        let mut schemes: Vec<&'static dyn Scheme> = Vec::new();
        for layer in &self.quantized {
            if schemes.iter().all(|s| s.id() != layer.scheme.id()) {
                schemes.push(layer.scheme);
            }
        }
        schemes
    }

    /// Whether a declaration names the algorithm that the tensors have.
    fn agrees(&self, declared: Option<&QuantDeclaration>) -> bool {
        let algo = declared.and_then(quantscope_schemes::effective_algo);
        match (self.schemes().as_slice(), algo) {
            ([only], Some(algo)) => only.about().algos.iter().any(|a| a.eq_ignore_ascii_case(&algo)),
            ([_, _, ..], Some(algo)) => algo == "MIXED_PRECISION",
            _ => false,
        }
    }
}

fn quantization(draft: &mut Draft<'_>, config: Option<&mut Value>) -> Result<(), ConvertError> {
    let facts = Facts::of(draft);
    let rules: BTreeSet<&str> = draft.asked(RULES).iter().map(|f| f.rule.as_str()).gather_set();
    let rules = rules.into_iter().collect::<Vec<_>>().join(", ");
    let whole = anew(draft, &facts)?;
    let from = |name: &str| {
        let text = whole.iter().find(|(file, _)| file == name).map(|(_, bytes)| bytes.as_slice());
        text.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok())
    };
    if let Some(config) = config {
        let home = if config.get(SECTION).is_none()
            && config.get("text_config").is_some_and(|t| t.get(SECTION).is_some())
        {
            config.get_mut("text_config")
        } else {
            Some(config)
        };
        let new = from(CONFIG).and_then(|value| value.get(SECTION).cloned());
        if let Some(home) = home.and_then(Value::as_object_mut) {
            let agrees =
                facts.agrees(draft.checkpoint.config_quant.as_ref().and_then(|c| c.content.as_ref().ok()));
            section(draft, &facts, &rules, (CONFIG, SECTION), home, (new, agrees));
        }
    }
    let has_hf = draft.checkpoint.hf_quant.is_some();
    if has_hf && facts.quantized.is_empty() {
        draft.texts.insert(HF.into(), None);
        draft.change(&rules, HF, "drop", "declares an algorithm".into(), "absent".into());
    } else if let Some(mut value) = draft.hf_quant.clone().filter(|_| has_hf) {
        let new = from(HF).and_then(|value| value.get("quantization").cloned());
        let before = value.clone();
        if let Some(home) = value.as_object_mut() {
            let agrees =
                facts.agrees(draft.checkpoint.hf_quant.as_ref().and_then(|c| c.content.as_ref().ok()));
            section(draft, &facts, &rules, (HF, "quantization"), home, (new, agrees));
        }
        if value != before {
            draft.texts.insert(HF.into(), Some(pretty(&value)?));
        }
    }
    Ok(())
}

/// The configs as a conversion would write them for these tensors.
fn anew(draft: &Draft<'_>, facts: &Facts<'_>) -> Result<Vec<(String, Vec<u8>)>, ConvertError> {
    if facts.quantized.is_empty() {
        return Ok(Vec::new());
    }
    let settings = EncodeSettings::default();
    let kv = facts.kv_cache.then(|| configs::kv_algo(draft.checkpoint));
    let quantized: Vec<Quantized> =
        facts.quantized.iter().map(|l| configs::kept_quantized(draft.checkpoint, l, settings)).collect();
    configs::write(draft.checkpoint, &quantized, facts.plain.clone(), &facts.aliases, kv, None)
}

/// Corrects one section in place; `new` is the section as a conversion writes it, and whether the old one names
/// the right algorithm.
fn section(
    draft: &mut Draft<'_>,
    facts: &Facts<'_>,
    rules: &str,
    (file, key): (&str, &str),
    home: &mut Map<String, Value>,
    (new, agrees): (Option<Value>, bool),
) {
    let old = home.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    let Some(new) = new.as_ref().and_then(Value::as_object) else {
        // Without quantized layers there is nothing to declare.
        if home.remove(key).is_some() {
            draft.change(
                rules,
                &format!("{file}: {key}"),
                "drop",
                "declares an algorithm".into(),
                "absent".into(),
            );
        }
        return;
    };
    let section = if agrees { patched(facts, &old, new) } else { merged(&old, new) };
    for (field, value) in &section {
        let before = old.get(field);
        if before != Some(value) {
            let before = before.map_or_else(|| "absent".to_string(), Value::to_string);
            draft.change(rules, &format!("{file}: {key}.{field}"), "replace", before, value.to_string());
        }
    }
    for (field, value) in old.iter().filter(|(field, _)| !section.contains_key(*field)) {
        draft.change(rules, &format!("{file}: {key}.{field}"), "drop", value.to_string(), "absent".into());
    }
    home.insert(key.into(), Value::Object(section));
}

/// Names of the exclude list.
const LISTS: [&str; 3] = ["ignore", "exclude_modules", "modules_to_not_convert"];

/// The old section with what the tensors contradict replaced.
fn patched(facts: &Facts<'_>, old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let mut section = old.clone();
    let mixed = facts.schemes().len() > 1;
    let list = LISTS
        .iter()
        .find(|list| old.contains_key(**list))
        .or_else(|| LISTS.iter().find(|l| new.contains_key(**l)));
    let excluded = LISTS.iter().find_map(|list| new.get(*list));
    if let (Some(list), Some(excluded), false) = (list, excluded, mixed) {
        section.insert((*list).into(), excluded.clone());
    }
    for key in ["quantized_layers", "config_groups"] {
        if let Some(value) = new.get(key).filter(|_| mixed) {
            section.insert(key.into(), value.clone());
        }
    }
    for key in ["group_size", "weight_block_size"] {
        if let Some(value) = new.get(key).filter(|_| section.contains_key(key)) {
            section.insert(key.into(), value.clone());
        }
    }
    for key in ["kv_cache_scheme", "kv_cache_quant_algo"] {
        match new.get(key) {
            Some(value) if !value.is_null() || section.contains_key(key) => {
                section.insert(key.into(), value.clone());
            }
            Some(_) => {}
            None => {
                section.remove(key);
            }
        }
    }
    section
}

/// The new section with what it does not speak of taken from the old one.
fn merged(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    const OWNED: &[&str] = &[
        "config_groups",
        "quantized_layers",
        "quant_algo",
        "group_size",
        "kv_cache_scheme",
        "kv_cache_quant_algo",
        "has_zero_point",
        "pre_quant_scale",
        "weight_block_size",
        "activation_scheme",
        "fmt",
        "format",
    ];
    let mut section = new.clone();
    for (key, value) in old {
        let owned = OWNED.contains(&key.as_str()) || LISTS.contains(&key.as_str());
        if key == "producer" || !(owned || section.contains_key(key)) {
            section.insert(key.clone(), value.clone());
        }
    }
    section
}
