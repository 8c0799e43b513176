//! What configs and headers say of single layers beyond their tensors, by module.
//!
//! Knows where other projects write such facts: torchao and ComfyUI in the header's metadata, ComfyUI and
//! bitsandbytes in tensors of JSON, MLX in entries of the config keyed by module path (`formats.md` j);
//! compressed-tensors in tensors that hold shapes.

use crate::about::WEIGHT_LEAF;
use crate::layer::Facts;
use crate::layout_note;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Facts by module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    config: Option<Map<String, Value>>,
    /// The config as it holds for modules that have an entry of their own.
    modules: HashMap<String, Map<String, Value>>,
    descriptors: HashMap<String, Map<String, Value>>,
}

/// Entries of a config's section that hold for modules with an entry of their own; a limit, since they are
/// copied for each.
const BASE_ENTRIES: usize = 32;

/// What torchao calls tensors that are not quantized.
const PLAIN: &str = "Tensor";

/// Whether an entry of `__metadata__` says how layers are stored, so that it holds no longer once they are
/// dequantized.
///
/// ```
/// use quantscope_schemes::describes_layers;
/// assert!(describes_layers("0.weight", r#"{"_type": "Int8Tensor"}"#));
/// assert!(describes_layers("_quantization_metadata", "{}"));
/// assert!(!describes_layers("format", "pt"));
/// ```
#[must_use]
pub fn describes_layers(key: &str, text: &str) -> bool {
    ["_quantization_metadata", "quantization_config", "tensor_names", layout_note::KEY].contains(&key)
        || (key.contains('.') && text.trim_start().starts_with('{') && text.contains("\"_type\""))
}

/// The section of `config.json` that speaks of quantization.
fn section(config: &Value) -> Option<&Map<String, Value>> {
    let below = |value: &'_ Value, key: &str| value.get(key).is_some_and(Value::is_object);
    let text = config.get("text_config");
    [Some(config), text].into_iter().flatten().find_map(|home| {
        let key = ["quantization_config", "quantization"].into_iter().find(|key| below(home, key))?;
        home.get(key)?.as_object()
    })
}

impl Settings {
    /// Reads `config.json`.
    #[must_use]
    pub fn new(config: Option<&Value>) -> Self {
        let Some(config) = config.and_then(section).cloned() else { return Self::default() };
        let mut modules = HashMap::new();
        // What holds for all modules: a dozen short entries, in any honest config.
        let base: Map<String, Value> = config
            .iter()
            .filter(|(key, value)| !(key.contains('.') || value.is_object() || value.is_array()))
            .take(BASE_ENTRIES)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        for (module, entry) in config.iter().filter(|(key, _)| key.contains('.')) {
            let mut merged = base.clone();
            match entry {
                Value::Object(own) => merged.extend(own.clone()),
                // "Not quantized": nothing of the section holds.
                Value::Bool(false) => merged.clear(),
                _ => continue,
            }
            modules.insert(module.clone(), merged);
        }
        Self { config: Some(config), modules, descriptors: HashMap::new() }
    }

    /// Takes in `__metadata__` of a shard.
    pub fn add_metadata(&mut self, metadata: &[(String, String)]) {
        let object = |text: &str| match serde_json::from_str(text) {
            Ok(Value::Object(map)) => Some(map),
            _ => None,
        };
        for (key, text) in metadata {
            if key == "quantization_config" {
                // Single files carry what stands in the config of a folder.
                self.config = self.config.take().or_else(|| object(text));
            } else if key == "_quantization_metadata" {
                let layers = object(text).and_then(|mut map| map.remove("layers"));
                let Some(Value::Object(layers)) = layers else { continue };
                for (module, entry) in layers {
                    if let Value::Object(entry) = entry {
                        self.descriptors.entry(module).or_default().extend(entry);
                    }
                }
            } else if key == layout_note::KEY {
                let layers = object(text).and_then(|mut map| map.remove("layers"));
                let Some(Value::Object(layers)) = layers else { continue };
                for (module, note) in layers {
                    self.descriptors.entry(module).or_default().insert(key.clone(), note);
                }
            } else if let Some((module, parameter)) = key.rsplit_once('.')
                && let Some(map) = object(text).filter(|map| map.get("_type").is_some_and(|t| t != PLAIN))
            {
                // A parameter of another name is a module of its own: see `split_name`.
                let weight = parameter == WEIGHT_LEAF;
                let owner = if weight { module.to_string() } else { format!("{module}._{parameter}") };
                self.descriptors.insert(owner, map);
            }
        }
    }

    /// Takes in the content of a descriptor tensor ([`crate::descriptor_type`]): numbers under the tensor's
    /// leaf name, JSON as it stands. What is neither is passed over.
    pub fn add_descriptor(&mut self, module: &str, leaf: &str, bytes: &[u8]) {
        let said = match leaf {
            "weight_shape" => {
                let sides = bytes.as_chunks::<8>().0.iter().map(|&side| i64::from_le_bytes(side).into());
                Map::from_iter([(leaf.to_string(), Value::Array(sides.collect()))])
            }
            "weight_format" => {
                let number = bytes.first().map_or(Value::Null, |&byte| byte.into());
                Map::from_iter([(leaf.to_string(), number)])
            }
            _ => match serde_json::from_slice(bytes) {
                Ok(Value::Object(map)) => map,
                _ => return,
            },
        };
        self.descriptors.entry(module.to_string()).or_default().extend(said);
    }

    /// The facts of a module.
    #[must_use]
    pub fn facts<'a>(&'a self, module: &str, declared: Option<&'a str>) -> Facts<'a> {
        Facts {
            declared,
            config: self.modules.get(module).or(self.config.as_ref()),
            descriptor: self.descriptors.get(module),
        }
    }
}
