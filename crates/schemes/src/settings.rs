//! What configs and headers say of single layers beyond their tensors, by module.
//!
//! Knows where other projects write such facts: torchao and ComfyUI in the header's metadata, ComfyUI and
//! bitsandbytes in tensors of JSON, MLX in entries of the config keyed by module path (`formats.md` j);
//! compressed-tensors in tensors that hold shapes.

use crate::about::WEIGHT_LEAF;
use crate::layer::{Facts, Section};
use crate::layout_note;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Facts by module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    config: Option<Config>,
    descriptors: HashMap<String, Map<String, Value>>,
    /// Bytes of JSON that metadata and descriptors had.
    bytes: u64,
    /// How many of them are read, if that is bounded.
    most_bytes: Option<u64>,
}

/// The section of a config that speaks of quantization.
#[derive(Debug, Clone, PartialEq)]
struct Config {
    section: Map<String, Value>,
    /// Whether it has entries for modules: without any, none need be looked for, layer by layer.
    names_modules: bool,
}

impl From<Map<String, Value>> for Config {
    fn from(section: Map<String, Value>) -> Self {
        let names_modules = section.keys().any(|key| key.contains('.'));
        Self { section, names_modules }
    }
}

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
        Self { config: config.and_then(section).cloned().map(Config::from), ..Self::default() }
    }

    /// With a bound on the JSON that is read of metadata and descriptors, in bytes: a tree of values takes up to 16
    /// times as many.
    #[must_use]
    pub fn within(self, bytes: u64) -> Self {
        Self { most_bytes: Some(bytes), ..self }
    }

    /// Counts bytes of JSON, which were not read.
    pub fn pass_over(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether a text is still within the bound; counts it.
    fn admits(&mut self, text: &[u8]) -> bool {
        self.pass_over(text.len() as u64);
        self.most_bytes.is_none_or(|most| self.bytes <= most)
    }

    /// The object that a text of metadata is. Other texts, as long as they may be, do not count.
    fn object(&mut self, text: &str) -> Option<Map<String, Value>> {
        let may_be_read = text.trim_start().starts_with('{') && self.admits(text.as_bytes());
        may_be_read.then(|| serde_json::from_str(text).ok()).flatten()
    }

    /// Bytes of JSON that metadata and descriptors have, if they are more than the bound: what came beyond it is not
    /// known.
    #[must_use]
    pub fn beyond_bound(&self) -> Option<u64> {
        self.most_bytes.filter(|most| self.bytes > *most).map(|_| self.bytes)
    }

    /// Takes in `__metadata__` of a shard.
    pub fn add_metadata(&mut self, metadata: &[(String, String)]) {
        for (key, text) in metadata {
            if key == "quantization_config" {
                // Single files carry what stands in the config of a folder.
                if self.config.is_none() {
                    self.config = self.object(text).map(Config::from);
                }
            } else if key == "_quantization_metadata" {
                let layers = self.object(text).and_then(|mut map| map.remove("layers"));
                let Some(Value::Object(layers)) = layers else { continue };
                for (module, entry) in layers {
                    if let Value::Object(entry) = entry {
                        self.descriptors.entry(module).or_default().extend(entry);
                    }
                }
            } else if key == layout_note::KEY {
                let layers = self.object(text).and_then(|mut map| map.remove("layers"));
                let Some(Value::Object(layers)) = layers else { continue };
                for (module, note) in layers {
                    self.descriptors.entry(module).or_default().insert(key.clone(), note);
                }
            } else if let Some((module, parameter)) = key.rsplit_once('.')
                && let Some(map) =
                    self.object(text).filter(|map| map.get("_type").is_some_and(|t| t != PLAIN))
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
        if !self.admits(bytes) {
            return;
        }
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
        let section = |config: &'a Config| match config.names_modules {
            true => Section::of_module(&config.section, module),
            false => Section::whole(&config.section),
        };
        Facts {
            declared,
            config: self.config.as_ref().map(section).unwrap_or_default(),
            descriptor: self.descriptors.get(module),
        }
    }
}
