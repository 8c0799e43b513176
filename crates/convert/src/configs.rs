//! The JSON files of an output: `config.json`, `hf_quant_config.json`, the index; and which files are
//! copied.
//!
//! Source of the forms: `formats.md` e, "config.json conversion", and k.

use crate::error::ConvertError;
use crate::plan::PlanFile;
use quantscope_audit::{Checkpoint, Model, ties};
use quantscope_schemes::{EncodeSettings, Scheme, exclude};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Name and version of this tool, as configs and manifests carry it.
pub(crate) fn producer() -> Value {
    json!({"name": "quantscope", "version": env!("CARGO_PKG_VERSION")})
}

/// A packed layer, as configs see it.
pub(crate) struct Quantized<'a> {
    pub(crate) module: &'a str,
    pub(crate) scheme: &'static dyn Scheme,
    pub(crate) is_conv3d: bool,
}

/// diffusers components write their quantization into `config.json` alone.
fn is_diffusers(checkpoint: &Checkpoint) -> bool {
    checkpoint.model_config().is_some_and(|c| c.class_name.is_some())
}

/// Names of the output files: several shards keep theirs; a single one is called as its library calls it.
pub(crate) fn file_names(checkpoint: &Checkpoint) -> Vec<String> {
    match checkpoint.shards.as_slice() {
        [only] if !is_diffusers(checkpoint) && !only.file.starts_with("diffusion_pytorch_model") => {
            vec!["model.safetensors".into()]
        }
        shards => shards.iter().map(|s| plain_name(&s.file).to_string()).collect(),
    }
}

fn plain_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Files taken over as they are: everything that is not written anew, and no manifest of another run.
pub(crate) fn copies(checkpoint: &Checkpoint, written: &BTreeSet<&str>) -> Vec<String> {
    const STALE: &[&str] = &["hf_quant_config.json", "quantscope.manifest.json"];
    let kept = checkpoint.other_files.iter().map(|f| f.path.as_str()).filter(|path| {
        let index = path.ends_with(".safetensors.index.json");
        !path.contains('/') && !written.contains(path) && !STALE.contains(path) && !index
    });
    kept.map(str::to_string).collect()
}

fn pretty(value: &Value) -> Result<Vec<u8>, ConvertError> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|e| ConvertError::Refused(format!("a config cannot be written: {e}")))?;
    text.push(b'\n');
    Ok(text)
}

/// `config.json` with its `quantization_config`, and `hf_quant_config.json` where the format has one.
/// Without a `config.json` in the source there is nothing to declare it in.
pub(crate) fn write(
    checkpoint: &Checkpoint,
    model: &Model,
    quantized: &[Quantized<'_>],
    kept: &[&str],
    has_kv_cache: bool,
) -> Result<Vec<(String, Vec<u8>)>, ConvertError> {
    let Some(config) = checkpoint.model_config() else { return Ok(Vec::new()) };
    let ignore = ignore_list(checkpoint, model, quantized, kept);
    let mut value = config.value.clone();
    if let Value::Object(fields) = &mut value {
        fields.insert("quantization_config".into(), quantization_config(quantized, &ignore, has_kv_cache));
    }
    let mut files = vec![("config.json".to_string(), pretty(&value)?)];
    if !is_diffusers(checkpoint) {
        let hf = hf_quant_config(quantized, &ignore, has_kv_cache);
        files.push(("hf_quant_config.json".into(), pretty(&hf)?));
    }
    Ok(files)
}

/// Kept modules summarised by prefix. Aliases of declared ties count with their canonical side, in the
/// file or not.
fn ignore_list(
    checkpoint: &Checkpoint,
    model: &Model,
    quantized: &[Quantized<'_>],
    kept: &[&str],
) -> Vec<String> {
    let mut packed: BTreeSet<String> = quantized.iter().map(|q| q.module.to_string()).collect();
    let mut plain: BTreeSet<String> = kept.iter().map(ToString::to_string).collect();
    for tie in ties::declared(checkpoint, model) {
        if packed.contains(&tie.canonical) {
            packed.insert(tie.alias);
        } else if plain.contains(&tie.canonical) {
            plain.insert(tie.alias);
        }
    }
    let (plain, packed): (Vec<String>, Vec<String>) =
        (plain.into_iter().collect(), packed.into_iter().collect());
    exclude::summarise(&plain, &packed)
}

/// The distinct schemes in the order in which layers bring them.
fn distinct(quantized: &[Quantized<'_>]) -> Vec<&'static dyn Scheme> {
    let mut schemes: Vec<&'static dyn Scheme> = Vec::new();
    for q in quantized {
        if !schemes.iter().any(|s| s.id() == q.scheme.id()) {
            schemes.push(q.scheme);
        }
    }
    schemes
}

fn algo(scheme: &dyn Scheme) -> &'static str {
    scheme.about().algos.first().copied().unwrap_or_else(|| scheme.id())
}

/// `{"quant_algo": …, "group_size": …}` of one scheme.
fn algo_fields(scheme: &dyn Scheme) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("quant_algo".into(), algo(scheme).into());
    fields.extend(
        scheme
            .config_fields(&EncodeSettings::default())
            .into_iter()
            .map(|(key, value)| (key.to_string(), value)),
    );
    fields
}

fn quantized_layers(quantized: &[Quantized<'_>]) -> Value {
    let entries = quantized.iter().map(|q| (q.module.to_string(), Value::Object(algo_fields(q.scheme))));
    Value::Object(entries.collect())
}

fn quantization_config(quantized: &[Quantized<'_>], ignore: &[String], has_kv_cache: bool) -> Value {
    let schemes = distinct(quantized);
    let mixed = schemes.len() > 1;
    let mut config = Map::new();
    let mut groups = Map::new();
    for (i, scheme) in schemes.iter().enumerate() {
        let Some(mut group) = scheme.config_group(&EncodeSettings::default(), mixed) else { continue };
        group.insert("targets".into(), targets(quantized, *scheme, mixed));
        groups.insert(format!("group_{i}"), Value::Object(group));
    }
    if !groups.is_empty() {
        config.insert("config_groups".into(), Value::Object(groups));
    }
    if mixed {
        config.insert("quantized_layers".into(), quantized_layers(quantized));
    }
    config.insert("ignore".into(), if mixed { json!([]) } else { json!(ignore) });
    let name = schemes.first().filter(|_| !mixed).map_or("MIXED_PRECISION", |s| algo(*s));
    config.insert("quant_algo".into(), name.into());
    if has_kv_cache {
        config.insert("kv_cache_scheme".into(), json!({"dynamic": false, "num_bits": 8, "type": "float"}));
    }
    config.insert("producer".into(), producer());
    config.insert("quant_method".into(), "modelopt".into());
    Value::Object(config)
}

/// Class names where one algorithm serves the whole model, module names where several do.
fn targets(quantized: &[Quantized<'_>], scheme: &dyn Scheme, mixed: bool) -> Value {
    let own = quantized.iter().filter(|q| q.scheme.id() == scheme.id());
    let names: BTreeSet<&str> = if mixed {
        own.map(|q| q.module).collect()
    } else {
        own.map(|q| if q.is_conv3d { "Conv3d" } else { "Linear" }).collect()
    };
    json!(names)
}

fn hf_quant_config(quantized: &[Quantized<'_>], ignore: &[String], has_kv_cache: bool) -> Value {
    let schemes = distinct(quantized);
    let kv = if has_kv_cache { json!("FP8") } else { Value::Null };
    let mut quantization = Map::new();
    if let [scheme] = schemes.as_slice() {
        quantization.insert("quant_algo".into(), algo(*scheme).into());
        quantization.insert("kv_cache_quant_algo".into(), kv);
        quantization.extend(algo_fields(*scheme).into_iter().filter(|(key, _)| key != "quant_algo"));
        quantization.insert("exclude_modules".into(), json!(ignore));
    } else {
        quantization.insert("quant_algo".into(), "MIXED_PRECISION".into());
        quantization.insert("kv_cache_quant_algo".into(), kv);
        quantization.insert("quantized_layers".into(), quantized_layers(quantized));
    }
    json!({"producer": producer(), "quantization": quantization})
}

/// The index of a sharded output.
pub(crate) fn index(
    checkpoint: &Checkpoint,
    files: &[PlanFile],
) -> Result<Option<(String, Vec<u8>)>, ConvertError> {
    let own = checkpoint.index.as_ref().map(|(name, _)| plain_name(name).to_string());
    let name = match (own, files.len()) {
        (Some(name), _) => name,
        (None, 0 | 1) => return Ok(None),
        (None, _) => "model.safetensors.index.json".into(),
    };
    let tensors = || files.iter().flat_map(|f| f.tensors.iter().map(move |t| (f, t)));
    let total = tensors().fold(0_u64, |n, (_, t)| n.saturating_add(t.span.end.saturating_sub(t.span.start)));
    let mut map: Vec<(String, Value)> =
        tensors().map(|(f, t)| (t.spec.name.clone(), Value::from(f.name.clone()))).collect();
    map.sort_by(|a, b| a.0.cmp(&b.0));
    let map: Map<String, Value> = map.into_iter().collect();
    Ok(Some((name, pretty(&json!({"metadata": {"total_size": total}, "weight_map": map}))?)))
}
