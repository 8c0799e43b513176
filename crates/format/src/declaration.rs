//! What the configs declare about quantization, from either of its two homes.
//!
//! `config.json` carries `quantization_config`; ModelOpt's language models also carry
//! `hf_quant_config.json` with the same facts in another form. Both become one [`QuantDeclaration`],
//! data that a scheme may interpret and that can be compared field by field. What a name such as
//! `NVFP4` means is not known here.

use crate::config::{ConfigError, Fields, ModelConfig, parse_object};
use crate::limits::Limits;
use serde_json::Value;

/// Where a declaration stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclarationHome {
    /// `quantization_config` of `config.json`.
    ConfigJson,
    /// `hf_quant_config.json`.
    HfQuantConfig,
}

/// How numbers are stored or computed: the body of `weights` or `input_activations`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ElementForm {
    /// Bits of one number.
    pub num_bits: Option<u64>,
    /// `float` or `int`.
    pub kind: Option<String>,
    /// `tensor`, `channel`, `group`, `block`.
    pub strategy: Option<String>,
    /// Numbers that share a scale.
    pub group_size: Option<u64>,
    /// Rows and columns that share a scale.
    pub block_structure: Option<Vec<u64>>,
    /// Whether scales are computed at run time.
    pub dynamic: Option<bool>,
}

/// One of `config_groups`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuantGroup {
    /// Its key, such as `group_0`; the number carries no meaning.
    pub name: String,
    /// Class names, module names or patterns.
    pub targets: Vec<String>,
    /// How weights are stored.
    pub weights: Option<ElementForm>,
    /// How activations are computed; `None` for weight-only.
    pub input_activations: Option<ElementForm>,
    /// An algorithm by name, where the group says nothing else.
    pub quant_algo: Option<String>,
}

/// One of `quantized_layers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizedLayer {
    /// Module path.
    pub name: String,
    /// Algorithm, as written.
    pub quant_algo: Option<String>,
    /// Numbers that share a scale.
    pub group_size: Option<u64>,
}

/// The cache of keys and values: an algorithm by name, or numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvCache {
    /// Such as `FP8`.
    Named(String),
    /// Such as 8 bits, float.
    Form(ElementForm),
}

/// The tool that wrote the declaration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Producer {
    /// Such as `modelopt`.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
}

/// What one config file declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantDeclaration {
    /// Where it stood.
    pub home: DeclarationHome,
    /// `quant_method`, such as `modelopt` or `fp8`; only `config.json` has one.
    pub quant_method: Option<String>,
    /// `quant_algo`, such as `NVFP4` or `MIXED_PRECISION`.
    pub quant_algo: Option<String>,
    /// `kv_cache_quant_algo` or `kv_cache_scheme`.
    pub kv_cache: Option<KvCache>,
    /// `group_size` of the whole model.
    pub group_size: Option<u64>,
    /// `config_groups`, in the order of the file.
    pub groups: Vec<QuantGroup>,
    /// `ignore`, `exclude_modules` or `modules_to_not_convert`: patterns on module paths.
    pub exclude: Vec<String>,
    /// `quantized_layers`, in the order of the file.
    pub quantized_layers: Vec<QuantizedLayer>,
    /// `weight_block_size`, rows and columns.
    pub weight_block_size: Option<Vec<u64>>,
    /// `activation_scheme`, such as `dynamic`.
    pub activation_scheme: Option<String>,
    /// `format` or `fmt`, such as `nvfp4-pack-quantized` or `e4m3`.
    pub format: Option<String>,
    /// `has_zero_point`.
    pub has_zero_point: Option<bool>,
    /// `pre_quant_scale`.
    pub pre_quant_scale: Option<bool>,
    /// Who wrote it.
    pub producer: Option<Producer>,
    /// Fields of the wrong type; their facts are missing above.
    pub faults: Vec<ConfigError>,
}

impl QuantDeclaration {
    /// The declaration inside `config.json`: `quantization_config`, else that of `text_config`.
    /// `None` if the model declares nothing.
    ///
    /// ```
    /// use quantscope_format::{Limits, ModelConfig, QuantDeclaration};
    /// let json = br#"{"quantization_config":{"quant_method":"fp8","weight_block_size":[128,128]}}"#;
    /// let config = ModelConfig::parse(json, &Limits::default()).unwrap();
    /// let declared = QuantDeclaration::from_model_config(&config).unwrap();
    /// assert_eq!(declared.quant_method.as_deref(), Some("fp8"));
    /// assert_eq!(declared.weight_block_size, Some(vec![128, 128]));
    /// ```
    #[must_use]
    pub fn from_model_config(config: &ModelConfig) -> Option<Self> {
        let map = config.value.as_object()?;
        // The outer object has told its own faults already; only those below are this reader's.
        let mut faults = Vec::new();
        let mut declared = Self::empty(DeclarationHome::ConfigJson);
        let mut top = Fields::new(map, "", &mut faults);
        let found = if top.has("quantization_config") {
            top.object("quantization_config").map(|fields| declared.read(fields)).is_some()
        } else if map.get("text_config").is_some_and(Value::is_object) {
            let text = top.object("text_config");
            text.and_then(|mut text| text.object("quantization_config").map(|fields| declared.read(fields)))
                .is_some()
        } else {
            false
        };
        let declares = found || !faults.is_empty();
        declared.faults = faults;
        declares.then_some(declared)
    }

    /// Reads `hf_quant_config.json`.
    ///
    /// # Errors
    /// If it is too long, no JSON, or no object. Wrong types of single fields are in `faults`.
    pub fn parse_hf_quant_config(json: &[u8], limits: &Limits) -> Result<Self, ConfigError> {
        let map = parse_object(json, limits)?;
        let mut faults = Vec::new();
        let mut declared = Self::empty(DeclarationHome::HfQuantConfig);
        let mut top = Fields::new(&map, "", &mut faults);
        let producer = read_producer(&mut top);
        if top.has("quantization") {
            if let Some(fields) = top.object("quantization") {
                declared.read(fields);
            }
        } else {
            top.fault("quantization".to_owned(), "an object", &Value::Null);
        }
        declared.producer = producer.or(declared.producer);
        declared.faults = faults;
        Ok(declared)
    }

    fn empty(home: DeclarationHome) -> Self {
        Self {
            home,
            quant_method: None,
            quant_algo: None,
            kv_cache: None,
            group_size: None,
            groups: Vec::new(),
            exclude: Vec::new(),
            quantized_layers: Vec::new(),
            weight_block_size: None,
            activation_scheme: None,
            format: None,
            has_zero_point: None,
            pre_quant_scale: None,
            producer: None,
            faults: Vec::new(),
        }
    }

    fn read(&mut self, mut fields: Fields<'_, '_>) {
        self.quant_method = fields.text("quant_method");
        self.quant_algo = fields.text("quant_algo");
        self.kv_cache = match fields.raw("kv_cache_scheme") {
            Some(Value::Object(_)) => {
                fields.object("kv_cache_scheme").map(|form| KvCache::Form(read_form(form)))
            }
            Some(_) => fields.text("kv_cache_scheme").map(KvCache::Named),
            None => fields.text("kv_cache_quant_algo").map(KvCache::Named),
        };
        self.group_size = fields.group_size("group_size");
        if let Some(mut groups) = fields.object("config_groups") {
            for name in groups.keys() {
                if let Some(group) = groups.object(name) {
                    self.groups.push(read_group(name, group));
                }
            }
        }
        for key in ["ignore", "exclude_modules", "modules_to_not_convert"] {
            self.exclude.extend(fields.texts(key).unwrap_or_default());
        }
        if let Some(mut layers) = fields.object("quantized_layers") {
            for name in layers.keys() {
                if let Some(mut layer) = layers.object(name) {
                    let (quant_algo, group_size) = (layer.text("quant_algo"), layer.group_size("group_size"));
                    self.quantized_layers.push(QuantizedLayer { name: name.clone(), quant_algo, group_size });
                }
            }
        }
        self.weight_block_size = fields.numbers("weight_block_size");
        self.activation_scheme = fields.text("activation_scheme");
        self.format = fields.text("format").or_else(|| fields.text("fmt"));
        self.has_zero_point = fields.boolean("has_zero_point");
        self.pre_quant_scale = fields.boolean("pre_quant_scale");
        self.producer = read_producer(&mut fields);
    }
}

fn read_producer(fields: &mut Fields<'_, '_>) -> Option<Producer> {
    let mut producer = fields.object("producer")?;
    Some(Producer { name: producer.text("name"), version: producer.text("version") })
}

fn read_group(name: &str, mut fields: Fields<'_, '_>) -> QuantGroup {
    QuantGroup {
        name: name.to_owned(),
        targets: fields.texts("targets").unwrap_or_default(),
        weights: fields.object("weights").map(read_form),
        input_activations: fields.object("input_activations").map(read_form),
        quant_algo: fields.text("quant_algo"),
    }
}

fn read_form(mut fields: Fields<'_, '_>) -> ElementForm {
    ElementForm {
        num_bits: fields.unsigned("num_bits"),
        kind: fields.text("type"),
        strategy: fields.text("strategy"),
        group_size: fields.group_size("group_size"),
        block_structure: read_block(&mut fields),
        dynamic: fields.dynamic("dynamic"),
    }
}

/// `[128, 128]`, or `"128x128"` as older compressed-tensors files spell it.
fn read_block(fields: &mut Fields<'_, '_>) -> Option<Vec<u64>> {
    let key = "block_structure";
    if let Some(Value::String(text)) = fields.raw(key) {
        let sides = text.split('x').map(|side| side.trim().parse().ok()).collect::<Option<Vec<u64>>>();
        if let Some(sides) = sides {
            return Some(sides);
        }
    }
    fields.numbers(key)
}
