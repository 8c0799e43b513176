//! `config.json` as data: the few facts about the model that file formats need, and the whole as a tree.
//!
//! Knows the spellings of transformers and diffusers. Does not know what a quantization method means.
//! A field of the wrong type is a fault that names it; the other fields are still read.

use crate::json::{error_index, error_reason, shortened};
use crate::limits::Limits;
use serde_json::{Map, Value};

/// What is wrong with a config.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Longer than the limit.
    #[error("it has {len} bytes, the limit `json` lets it have {limit}")]
    TooLong {
        /// Its length.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// Not JSON, not an object, or nested too deep.
    #[error("it cannot be read: {reason} (byte {at})")]
    Malformed {
        /// What is wrong, in words.
        reason: String,
        /// Byte at which it was noticed.
        at: u64,
    },
    /// A field of the wrong type.
    #[error("`{field}` is {found}, {expected} is needed")]
    WrongType {
        /// Path of the field, such as `quantization_config.ignore[2]`.
        field: String,
        /// What is needed.
        expected: String,
        /// What is there.
        found: String,
    },
}

/// What `config.json` says about the model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The whole, in the order of the file.
    pub value: Value,
    /// `model_type`, such as `llama`.
    pub model_type: Option<String>,
    /// `_class_name`, such as `AutoencoderKLWan`.
    pub class_name: Option<String>,
    /// `hidden_size`, else that of `text_config`.
    pub hidden_size: Option<u64>,
    /// `tie_word_embeddings`, else that of `text_config`.
    pub tie_word_embeddings: Option<bool>,
    /// `dtype` or `torch_dtype`, else those of `text_config`, as written.
    pub dtype: Option<String>,
    /// Fields of the wrong type; their facts are `None`.
    pub faults: Vec<ConfigError>,
}

impl ModelConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// If it is too long, no JSON, or no object. Wrong types of single fields are in `faults`.
    ///
    /// ```
    /// use quantscope_format::{Limits, ModelConfig};
    /// let json = br#"{"model_type":"llava","text_config":{"hidden_size":64},"tie_word_embeddings":"no"}"#;
    /// let config = ModelConfig::parse(json, &Limits::default()).unwrap();
    /// assert_eq!(config.hidden_size, Some(64));
    /// assert_eq!(config.faults[0].to_string(), "`tie_word_embeddings` is the string \"no\", true or false is needed");
    /// ```
    pub fn parse(json: &[u8], limits: &Limits) -> Result<Self, ConfigError> {
        let map = parse_object(json, limits)?;
        let mut faults = Vec::new();
        let mut top = Fields::new(&map, "", &mut faults);
        let model_type = top.text("model_type");
        let class_name = top.text("_class_name");
        let mut hidden_size = top.unsigned("hidden_size");
        let mut tie_word_embeddings = top.boolean("tie_word_embeddings");
        let mut dtype = top.text("dtype").or_else(|| top.text("torch_dtype"));
        if let Some(mut text) = top.object("text_config") {
            hidden_size = hidden_size.or_else(|| text.unsigned("hidden_size"));
            tie_word_embeddings = tie_word_embeddings.or_else(|| text.boolean("tie_word_embeddings"));
            dtype = dtype.or_else(|| text.text("dtype")).or_else(|| text.text("torch_dtype"));
        }
        Ok(Self {
            model_type,
            class_name,
            hidden_size,
            tie_word_embeddings,
            dtype,
            faults,
            value: Value::Object(map),
        })
    }
}

/// Reads a JSON object within the limits of a config.
pub(crate) fn parse_object(json: &[u8], limits: &Limits) -> Result<Map<String, Value>, ConfigError> {
    let (len, limit) = (json.len() as u64, limits.config_bytes());
    if len > limit {
        return Err(ConfigError::TooLong { len, limit });
    }
    let value: Value = serde_json::from_slice(json).map_err(|error| ConfigError::Malformed {
        reason: error_reason(&error),
        at: error_index(json, &error),
    })?;
    if depth(&value) > limits.json_depth {
        let reason = format!("nested deeper than the limit `depth` of {} levels", limits.json_depth);
        return Err(ConfigError::Malformed { reason, at: 0 });
    }
    match value {
        Value::Object(map) => Ok(map),
        other => {
            Err(ConfigError::Malformed { reason: format!("it is {}, not an object", kind(&other)), at: 0 })
        }
    }
}

/// Levels of nesting. The parser has bounded them already, so recursion is safe.
fn depth(value: &Value) -> u64 {
    let deepest = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(map) => map.values().map(depth).max(),
        _ => return 0,
    };
    deepest.unwrap_or(0).saturating_add(1)
}

/// What a value is, in words.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(value) => format!("the string {:?}", shortened(value)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Typed access to the fields of one object. Absent and `null` are `None`; a wrong type is a fault.
pub(crate) struct Fields<'a, 'f> {
    map: &'a Map<String, Value>,
    path: String,
    faults: &'f mut Vec<ConfigError>,
}

impl<'a, 'f> Fields<'a, 'f> {
    pub(crate) fn new(map: &'a Map<String, Value>, path: &str, faults: &'f mut Vec<ConfigError>) -> Self {
        Self { map, path: path.to_owned(), faults }
    }

    pub(crate) fn raw(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.raw(key).is_some()
    }

    /// Path of a field of this object, as messages name it.
    fn place(&self, key: &str) -> String {
        if self.path.is_empty() {
            shortened(key).into_owned()
        } else {
            format!("{}.{}", self.path, shortened(key))
        }
    }

    pub(crate) fn fault(&mut self, field: String, expected: &str, found: &Value) {
        // A config made of faults is told once it is clear.
        if self.faults.len() < 100 {
            self.faults.push(ConfigError::WrongType {
                field,
                expected: expected.to_owned(),
                found: kind(found),
            });
        }
    }

    fn typed<T>(&mut self, key: &str, expected: &str, read: impl Fn(&'a Value) -> Option<T>) -> Option<T> {
        let value = self.raw(key)?;
        let typed = read(value);
        if typed.is_none() {
            self.fault(self.place(key), expected, value);
        }
        typed
    }

    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        self.typed(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(crate) fn unsigned(&mut self, key: &str) -> Option<u64> {
        self.typed(key, "a whole number", Value::as_u64)
    }

    /// Numbers that share a scale; -1 stands for a whole row, and is read as nothing.
    pub(crate) fn group_size(&mut self, key: &str) -> Option<u64> {
        if self.raw(key).is_some_and(|value| value.as_i64() == Some(-1)) { None } else { self.unsigned(key) }
    }

    pub(crate) fn boolean(&mut self, key: &str) -> Option<bool> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// Whether scales are computed at run time: a boolean, or compressed-tensors' `"local"`.
    pub(crate) fn dynamic(&mut self, key: &str) -> Option<bool> {
        self.typed(key, "true or false", |value| {
            value.as_bool().or((value.as_str() == Some("local")).then_some(true))
        })
    }

    pub(crate) fn object(&mut self, key: &str) -> Option<Fields<'a, '_>> {
        let map = self.typed(key, "an object", Value::as_object)?;
        let path = self.place(key);
        Some(Fields { map, path, faults: self.faults })
    }

    /// Names of the fields, in the order of the file.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a String> + use<'a> {
        self.map.keys()
    }

    /// An array, its wrong elements left out and told.
    fn list<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.typed(key, "an array", Value::as_array)?;
        let mut list = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            match read(item) {
                Some(value) => list.push(value),
                None => self.fault(format!("{}[{i}]", self.place(key)), expected, item),
            }
        }
        Some(list)
    }

    pub(crate) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        self.list(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(crate) fn numbers(&mut self, key: &str) -> Option<Vec<u64>> {
        self.list(key, "a whole number", Value::as_u64)
    }
}
