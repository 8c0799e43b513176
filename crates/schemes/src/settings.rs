//! What configs and headers say of single layers beyond their tensors, by module.
//!
//! Knows where other projects write such facts: torchao and ComfyUI in the header's metadata, ComfyUI and
//! bitsandbytes in tensors of JSON, MLX in entries of the config keyed by module path (`foreign.md` 3-6).

use crate::layer::Facts;
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
        for (module, entry) in config.iter().filter(|(key, _)| key.contains('.')) {
            let mut merged = config.clone();
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
            if key == "_quantization_metadata" {
                let layers = object(text).and_then(|mut map| map.remove("layers"));
                let Some(Value::Object(layers)) = layers else { continue };
                for (module, entry) in layers {
                    if let Value::Object(entry) = entry {
                        self.descriptors.insert(module, entry);
                    }
                }
            } else if let Some((module, _)) = key.rsplit_once('.')
                && let Some(map) = object(text).filter(|map| map.contains_key("_type"))
            {
                self.descriptors.insert(module.to_string(), map);
            }
        }
    }

    /// Takes in the content of a descriptor tensor of a module. What is no JSON object is passed over.
    pub fn add_descriptor(&mut self, module: &str, bytes: &[u8]) {
        if let Ok(Value::Object(map)) = serde_json::from_slice(bytes) {
            self.descriptors.insert(module.to_string(), map);
        }
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
