//! The JSON files of an output: `config.json`, `hf_quant_config.json`, the index; and which files are
//! copied.
//!
//! Source of the forms: `formats.md` e, "config.json conversion", and k.

use crate::error::ConvertError;
use crate::plan::PlanFile;
use crate::shards;
use quantscope_audit::{Checkpoint, LayerInfo};
use quantscope_format::KvCache;
use quantscope_format::{Arrange as _, Gather as _};
use quantscope_schemes::{Activations, EncodeSettings, Kind, Role, Scheme, exclude};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Name and version of this tool, as configs and manifests carry it.
pub(crate) fn producer() -> Value {
    json!({"name": "quantscope", "version": env!("CARGO_PKG_VERSION")})
}

/// A quantized layer, as configs see it.
pub(crate) struct Quantized {
    pub(crate) module: String,
    pub(crate) scheme: &'static dyn Scheme,
    pub(crate) is_conv3d: bool,
    pub(crate) settings: EncodeSettings,
    pub(crate) activations: Activations,
}

/// Modules that share the weight of another: the alias, the one that stands for it.
pub(crate) type Aliases = [(String, String)];

/// diffusers components write their quantization into `config.json` alone.
pub(crate) fn is_diffusers(checkpoint: &Checkpoint) -> bool {
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

pub(crate) fn plain_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Files taken over as they are: everything that is not written anew, and no manifest of another run.
/// `is_new` says that configs of the quantization are written anew or not needed any more.
pub(crate) fn copies(checkpoint: &Checkpoint, written: &BTreeSet<&str>, is_new: bool) -> Vec<String> {
    let is_stale =
        |path: &str| path == "quantscope.manifest.json" || (is_new && path == "hf_quant_config.json");
    let kept = checkpoint.other_files.iter().map(|f| f.path.as_str()).filter(|path| {
        let index = path.ends_with(".safetensors.index.json");
        !path.contains('/') && !written.contains(path) && !is_stale(path) && !index
    });
    kept.map(str::to_string).collect()
}

pub(crate) fn pretty(value: &Value) -> Result<Vec<u8>, ConvertError> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|e| ConvertError::Refused(format!("a config cannot be written: {e}")))?;
    text.push(b'\n');
    Ok(text)
}

/// `config.json` with its `quantization_config`, and `hf_quant_config.json` where the format has one.
/// Without a `config.json` in the source there is nothing to declare it in. `plain` are the modules that stay
/// unquantized; `dtype` is the word for the type that all floats are cast to.
pub(crate) fn write(
    checkpoint: &Checkpoint,
    quantized: &[Quantized],
    plain: BTreeSet<String>,
    aliases: &Aliases,
    kv_cache: Option<&str>,
    dtype: Option<&str>,
) -> Result<Vec<(String, Vec<u8>)>, ConvertError> {
    let Some(config) = checkpoint.model_config() else { return Ok(Vec::new()) };
    let ignore = ignore_list(quantized, plain, aliases);
    let mut value = config.value.clone();
    remove_quantization(&mut value);
    set_dtype(&mut value, dtype);
    if let (Value::Object(fields), false) = (&mut value, quantized.is_empty()) {
        fields.insert("quantization_config".into(), quantization_config(quantized, &ignore, kv_cache)?);
    }
    let mut files = vec![("config.json".to_string(), pretty(&value)?)];
    let named = quantized.iter().all(|q| !q.scheme.about().algos.is_empty());
    if !is_diffusers(checkpoint) && !quantized.is_empty() && named {
        let hf = hf_quant_config(quantized, &ignore, kv_cache);
        files.push(("hf_quant_config.json".into(), pretty(&hf)?));
    }
    Ok(files)
}

/// Changes the dtype where a config, or the part of it that is about text, states one.
pub(crate) fn set_dtype(config: &mut Value, dtype: Option<&str>) {
    let (Value::Object(fields), Some(dtype)) = (config, dtype) else { return };
    let set = |fields: &mut Map<String, Value>| {
        for key in ["dtype", "torch_dtype"] {
            if let Some(value @ Value::String(_)) = fields.get_mut(key) {
                *value = dtype.into();
            }
        }
    };
    set(fields);
    if let Some(Value::Object(text)) = fields.get_mut("text_config") {
        set(text);
    }
}

/// Takes out every section that speaks of how the source was quantized.
fn remove_quantization(config: &mut Value) {
    const SECTIONS: [&str; 3] = ["quantization_config", "quantization", "compression_config"];
    let Value::Object(fields) = config else { return };
    fields.retain(|key, value| !(SECTIONS.contains(&key.as_str()) && value.is_object()));
    if let Some(Value::Object(text)) = fields.get_mut("text_config") {
        text.retain(|key, value| !(SECTIONS.contains(&key.as_str()) && value.is_object()));
    }
}

/// Kept modules summarised by prefix. Aliases count with the side that stands for them, in the file or not.
fn ignore_list(quantized: &[Quantized], mut plain: BTreeSet<String>, aliases: &Aliases) -> Vec<String> {
    let mut packed: BTreeSet<String> = quantized.iter().map(|q| q.module.clone()).gather_set();
    for (alias, canonical) in aliases {
        if packed.contains(canonical) {
            packed.insert(alias.clone());
        } else if plain.contains(canonical) {
            plain.insert(alias.clone());
        }
    }
    let (plain, packed): (Vec<String>, Vec<String>) =
        (plain.into_iter().collect(), packed.into_iter().collect());
    exclude::summarise(&plain, &packed)
}

/// The section of `config.json` alone, as headers of single files carry it.
pub(crate) fn section(
    quantized: &[Quantized],
    plain: BTreeSet<String>,
    aliases: &Aliases,
    kv_cache: Option<&str>,
) -> Result<Value, ConvertError> {
    quantization_config(quantized, &ignore_list(quantized, plain, aliases), kv_cache)
}

fn algo(scheme: &dyn Scheme) -> &'static str {
    scheme.about().algos.first().copied().unwrap_or_else(|| scheme.id())
}

/// `{"quant_algo": …, "group_size": …}` of one layer.
fn algo_fields(quantized: &Quantized) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("quant_algo".into(), algo(quantized.scheme).into());
    let own = quantized.scheme.config_fields(&quantized.settings);
    fields.extend(own.into_iter().map(|(key, value)| (key.to_string(), value)));
    fields
}

/// One layer of each kind that a config tells apart, in the order in which layers bring them, and its fields.
fn distinct(quantized: &[Quantized]) -> Vec<(&Quantized, Map<String, Value>)> {
    let mut kinds: Vec<(&Quantized, Map<String, Value>)> = Vec::new();
    for q in quantized {
        let fields = algo_fields(q);
        if !kinds.iter().any(|(_, known)| *known == fields) {
            kinds.push((q, fields));
        }
    }
    kinds
}

fn quantized_layers(quantized: &[Quantized]) -> Value {
    let entries = quantized.iter().map(|q| (q.module.clone(), Value::Object(algo_fields(q))));
    Value::Object(entries.collect())
}

fn quantization_config(
    quantized: &[Quantized],
    ignore: &[String],
    kv_cache: Option<&str>,
) -> Result<Value, ConvertError> {
    let kinds = distinct(quantized);
    let mixed = kinds.len() > 1;
    if let [(only, _)] = kinds.as_slice()
        && let Some(config) = only.scheme.own_config(
            ignore,
            &producer(),
            &quantized.iter().map(|q| (q.module.as_str(), q.activations)).collect::<Vec<_>>(),
        )
    {
        if kv_cache.is_some() {
            return Err(ConvertError::Refused(format!(
                "the config of a model in {} alone has no place for a KV cache; leave k_bmm_quantizer and \
                 v_bmm_quantizer out of the calibration, or mix schemes",
                only.scheme.id()
            )));
        }
        return Ok(config);
    }
    let mut config = Map::new();
    let mut groups = Map::new();
    for (i, (kind, fields)) in kinds.iter().enumerate() {
        let nameless = || Map::from_iter([("quant_algo".to_string(), Value::from(algo(kind.scheme)))]);
        let group = kind.scheme.config_group(&kind.settings, mixed).or_else(|| mixed.then(nameless));
        let Some(mut group) = group else { continue };
        group.insert("targets".into(), targets(quantized, fields, mixed));
        groups.insert(format!("group_{i}"), Value::Object(group));
    }
    if !groups.is_empty() {
        config.insert("config_groups".into(), Value::Object(groups));
    }
    if mixed {
        config.insert("quantized_layers".into(), quantized_layers(quantized));
    }
    config.insert("ignore".into(), if mixed { json!([]) } else { json!(ignore) });
    let name = kinds.first().filter(|_| !mixed).map_or("MIXED_PRECISION", |(kind, _)| algo(kind.scheme));
    config.insert("quant_algo".into(), name.into());
    if let Some(algo) = kv_cache {
        let eight_bits = json!({"dynamic": false, "num_bits": 8, "type": "float"});
        config.insert("kv_cache_scheme".into(), if algo == "FP8" { eight_bits } else { algo.into() });
    }
    config.insert("producer".into(), producer());
    config.insert("quant_method".into(), "modelopt".into());
    Ok(Value::Object(config))
}

/// Class names where one algorithm serves the whole model, module names where several do.
fn targets(quantized: &[Quantized], fields: &Map<String, Value>, mixed: bool) -> Value {
    let own = quantized.iter().filter(|q| algo_fields(q) == *fields);
    let names: BTreeSet<&str> = if mixed {
        own.map(|q| q.module.as_str()).gather_set()
    } else {
        own.map(|q| if q.is_conv3d { "Conv3d" } else { "Linear" }).gather_set()
    };
    json!(names)
}

fn hf_quant_config(quantized: &[Quantized], ignore: &[String], kv_cache: Option<&str>) -> Value {
    let kinds = distinct(quantized);
    let kv = kv_cache.map_or(Value::Null, Value::from);
    let mut quantization = Map::new();
    if let [(kind, fields)] = kinds.as_slice() {
        quantization.insert("quant_algo".into(), algo(kind.scheme).into());
        quantization.insert("kv_cache_quant_algo".into(), kv);
        quantization.extend(fields.clone().into_iter().filter(|(key, _)| key != "quant_algo"));
        quantization.insert("exclude_modules".into(), json!(ignore));
    } else {
        quantization.insert("quant_algo".into(), "MIXED_PRECISION".into());
        quantization.insert("kv_cache_quant_algo".into(), kv);
        quantization.insert("quantized_layers".into(), quantized_layers(quantized));
    }
    json!({"producer": producer(), "quantization": quantization})
}

/// A layer that stays quantized as it is. The weights that share a scale are told from the shapes.
pub(crate) fn kept_quantized(
    checkpoint: &Checkpoint,
    layer: &LayerInfo,
    settings: EncodeSettings,
) -> Quantized {
    let companions = layer.scheme.about().companions.iter();
    let scale = companions
        .filter(|c| c.role == Role::WeightScale)
        .find_map(|c| layer.tensor(checkpoint, c.leaf))
        .and_then(|(_, tensor)| tensor.shape.last().copied());
    let group =
        layer.shape.last().zip(scale).filter(|&(&cols, groups)| groups > 1 && cols.is_multiple_of(groups));
    Quantized {
        module: layer.name.clone(),
        scheme: layer.scheme,
        is_conv3d: layer.kind == Kind::Conv3d,
        settings: EncodeSettings {
            group_size: group.map_or(settings.group_size, |(&cols, groups)| cols / groups),
            ..settings
        },
        activations: if layer.member_of(Role::InputScale).is_some() {
            Activations::Static
        } else {
            without_scale(layer.scheme)
        },
    }
}

/// What becomes of the activations of a layer that has no scale for them.
pub(crate) fn without_scale(scheme: &dyn Scheme) -> Activations {
    if scheme.about().quantizes_activations { Activations::Dynamic } else { Activations::Kept }
}

/// The algorithm of the KV cache whose scales are among the output's tensors.
pub(crate) fn kv_cache<'a, 'n>(
    checkpoint: &'a Checkpoint,
    mut names: impl Iterator<Item = &'n str>,
) -> Option<&'a str> {
    let has_scales = names.any(|name| name.ends_with(".k_scale") || name.ends_with(".v_scale"));
    has_scales.then(|| kv_algo(checkpoint))
}

/// The algorithm of a KV cache that has scales: the one that the source declares, or FP8 for calibrated ones.
pub(crate) fn kv_algo(checkpoint: &Checkpoint) -> &str {
    let declared = checkpoint.declaration().and_then(|d| match &d.kv_cache {
        Some(KvCache::Named(algo)) => Some(algo.as_str()),
        _ => None,
    });
    declared.unwrap_or("FP8")
}

/// The index of a sharded output; under the source's name for it, unless shards are cut anew.
pub(crate) fn index(
    checkpoint: &Checkpoint,
    files: &[PlanFile],
    resharded: bool,
) -> Result<Option<(String, Vec<u8>)>, ConvertError> {
    let own = checkpoint.index.as_ref().map(|(name, _)| plain_name(name).to_string());
    let name = match (own, files.len()) {
        (Some(name), _) if !resharded => name,
        (_, 0 | 1) => return Ok(None),
        (_, _) => format!("{}.safetensors.index.json", shards::stem(checkpoint)),
    };
    let tensors = || files.iter().flat_map(|f| f.tensors.iter().map(move |t| (f, t)));
    let total = tensors().fold(0_u64, |n, (_, t)| n.saturating_add(t.span.end.saturating_sub(t.span.start)));
    let mut map: Vec<(String, Value)> =
        tensors().map(|(f, t)| (t.spec.name.clone(), Value::from(f.name.clone()))).collect();
    map.arrange_by(|a, b| a.0.cmp(&b.0));
    let map: Map<String, Value> = map.into_iter().collect();
    Ok(Some((name, pretty(&json!({"metadata": {"total_size": total}, "weight_map": map}))?)))
}

#[cfg(test)]
mod golden;
