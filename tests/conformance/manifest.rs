//! The table of golden conversions, `cases.toml`: what is asked, and what must come out.

use crate::data;
use crate::jobs::{Files, files_of};
use crate::tensors::{Stored, Tensors, file_of, floats, read};
use quantscope_session::api::ConvertRequest;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Conversions.
    pub case: Vec<Case>,
    /// Folders of the golden data that no conversion makes, and why.
    pub not_converted: Vec<NotConverted>,
}

/// A folder that is data of another kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotConverted {
    /// Below `tests/data`.
    pub folder: String,
    /// Why there is nothing to convert.
    pub reason: String,
}

/// One golden conversion. Paths are below `tests/data`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Case {
    /// What the count is kept by.
    pub family: String,
    /// A single layer: the folder of `source.safetensors` and `expected.safetensors`. Then `case.json` gives
    /// calibration, dtype and group size.
    pub layer: String,
    /// Otherwise the file or folder that is converted,
    pub source: String,
    /// and the one that must come out.
    pub expected: String,
    /// Schemes, each of which must give this.
    pub to: Vec<String>,
    /// A recipe in place of the fields below, as a file would hold it; `to` is then `recipe`.
    pub recipe: String,
    /// Maxima: a field of a JSON file, `path#field`, or a file of ModelOpt's state.
    pub calibration: String,
    /// Maxima as JSON.
    pub calibration_json: String,
    /// Field by field, see [`ConvertRequest`].
    pub exclude: Vec<String>,
    /// The same.
    pub layers: Vec<String>,
    /// The same.
    pub dtype: Option<String>,
    /// The same.
    pub group_size: Option<u64>,
    /// The same.
    pub zero_tensors: bool,
    /// The same.
    pub canonical: Option<String>,
    /// The same.
    pub declared_ties: Vec<String>,
    /// `config.json` of a source that has none, as JSON.
    pub config: String,
    /// Also without the calibrated maxima of weights: the weight alone must give the same.
    pub alone: bool,
    /// Why `config.json` and `hf_quant_config.json` are not compared; empty if they are.
    pub configs_differ: String,
}

/// A case with everything it needs.
pub struct Job {
    /// Where the expectation lies, for messages and for what is forgiven.
    pub name: String,
    /// See [`Case::family`].
    pub family: String,
    /// The checkpoint.
    pub files: Files,
    /// What is asked of it.
    pub request: ConvertRequest,
    /// Tensors that must come out, and no others.
    pub expected: Tensors,
    /// Configs that must come out: file name and content, of `config.json` the section of quantization.
    pub configs: Vec<(String, Value)>,
}

/// Reads the table.
///
/// # Panics
/// If it is no such table.
#[must_use]
#[allow(clippy::expect_used, reason = "a table that cannot be read fails its test")]
pub fn manifest() -> Manifest {
    toml::from_str(include_str!("cases.toml")).expect("cases.toml is a table of cases")
}

/// A JSON file of the data.
///
/// # Panics
/// If it is none.
#[must_use]
#[allow(clippy::expect_used, reason = "without its data a test cannot run")]
pub fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a JSON file")).expect("JSON")
}

impl Case {
    /// Every conversion that this case asks for.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        let mut jobs = Vec::new();
        for to in &self.to {
            let job = if self.layer.is_empty() { self.folder_job(to) } else { self.layer_job(to) };
            if self.alone {
                let mut alone = Job { name: format!("{} alone", job.name), ..self.layer_job(to) };
                alone.request.calibration_json = job.request.calibration_json.as_deref().map(inputs_only);
                jobs.push(alone);
            }
            jobs.push(job);
        }
        jobs
    }

    fn request(&self, to: &str, calibration: Map<String, Value>) -> ConvertRequest {
        let calibration_json = (!calibration.is_empty()).then(|| Value::Object(calibration).to_string());
        if !self.recipe.is_empty() {
            #[allow(clippy::expect_used, reason = "a recipe that cannot be read fails its test")]
            let recipe = ConvertRequest::from_toml(&self.recipe).expect("a recipe");
            return ConvertRequest { calibration_json, ..recipe };
        }
        ConvertRequest {
            to: to.into(),
            exclude: self.exclude.clone(),
            layers: self.layers.clone(),
            dtype: self.dtype.clone(),
            calibration_json,
            zero_tensors_as_reference: self.zero_tensors,
            group_size: self.group_size,
            canonical: self.canonical.clone(),
            declared_ties: self.declared_ties.clone(),
            ..ConvertRequest::default()
        }
    }

    fn folder_job(&self, to: &str) -> Job {
        let source = data(&self.source);
        let mut files = if source.is_dir() {
            files_of(&source)
        } else {
            Files::from([("model.safetensors".into(), std::fs::read(&source).unwrap_or_default())])
        };
        if !self.config.is_empty() {
            files.insert("config.json".into(), self.config.clone().into_bytes());
        }
        let calibration = self.calibration();
        let has_inputs = calibration.keys().any(|key| key.contains("input_quantizer"));
        let mut expected = read(&data(&self.expected));
        // Without measured activations their scales cannot be written.
        expected.retain(|name, _| has_inputs || !name.ends_with("input_scale"));
        let configs =
            ["config.json", "hf_quant_config.json"].iter().filter(|_| self.configs_differ.is_empty());
        let configs = configs.filter(|name| data(&self.expected).join(name).is_file()).map(|name| {
            let content = json_of(&data(&self.expected).join(name));
            (name.to_string(), quantization(name, content))
        });
        Job {
            name: self.expected.clone(),
            family: self.family.clone(),
            files,
            request: self.request(to, calibration),
            expected,
            configs: configs.collect(),
        }
    }

    fn calibration(&self) -> Map<String, Value> {
        match self.calibration.split_once('#') {
            Some((path, field)) => {
                let maxima = json_of(&data(path))[field].as_object().cloned();
                assert!(maxima.is_some(), "{path} has no maxima as {field}");
                maxima.unwrap_or_default()
            }
            None if self.calibration.is_empty() => {
                serde_json::from_str(&self.calibration_json).unwrap_or_default()
            }
            None => states(&read(&data(&self.calibration))),
        }
    }

    fn layer_job(&self, to: &str) -> Job {
        let folder = data(&self.layer);
        let facts = json_of(&folder.join("case.json"));
        let mut source = read(&folder.join("source.safetensors"));
        let module =
            source.keys().find_map(|name| name.strip_suffix(".weight")).unwrap_or_default().to_string();
        source.retain(|name, _| !name.starts_with("aux."));
        let given: Tensors = source.extract_if(.., |name, _| name.starts_with("given.")).collect();
        let states = [
            ("given.input_amax", "input_quantizer._amax"),
            ("given.block_amax", "weight_quantizer._amax"),
            ("given.global_amax", "weight_quantizer._global_amax"),
        ];
        let state =
            |(from, to): &(&str, &str)| Some((format!("{module}.{to}"), given.get(*from).and_then(numbers)?));
        let calibration: Map<String, Value> = states.iter().filter_map(state).collect();
        let mut case = self.clone();
        let export = facts["export_dtype"].as_str().and_then(short_dtype);
        let own = source.get(&format!("{module}.weight")).map(|weight| weight.dtype.to_lowercase());
        case.dtype = export.filter(|export| own.as_deref() != Some(*export)).map(str::to_string);
        let config = &facts["hf_quant_config"]["quantization"];
        case.group_size = config["group_size"].as_u64();
        let mut expected = read(&folder.join("expected.safetensors"));
        expected.retain(|name, _| !name.starts_with("aux."));
        let mut files = Files::from([("model.safetensors".into(), file_of(&source, &[]))]);
        files.insert("config.json".into(), b"{}".to_vec());
        let mut configs = Vec::new();
        if config.is_object() && self.configs_differ.is_empty() {
            let written =
                [("hf_quant_config.json", "hf_quant_config"), ("config.json", "config_quantization_config")];
            configs.extend(
                written.map(|(file, field)| (file.to_string(), without_producer(facts[field].clone()))),
            );
        }
        Job {
            name: self.layer.clone(),
            family: self.family.clone(),
            files,
            request: case.request(to, calibration),
            expected,
            configs,
        }
    }
}

/// What a config says of quantization, but for who wrote it.
#[must_use]
pub fn quantization(name: &str, mut content: Value) -> Value {
    without_producer(if name == "config.json" { content["quantization_config"].take() } else { content })
}

fn without_producer(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.remove("producer");
    }
    value
}

/// Quantizer state of a file as calibration in JSON; the result of calibrating a single layer is that of `linear`.
fn states(stored: &Tensors) -> Map<String, Value> {
    let key = |name: &str| match name {
        "per_block_amax" => Some("linear.weight_quantizer._amax".to_string()),
        "global_amax" => Some("linear.weight_quantizer._global_amax".to_string()),
        _ => (name.ends_with("._amax") || name.ends_with("._global_amax")).then(|| name.to_string()),
    };
    stored.iter().filter_map(|(name, tensor)| Some((key(name)?, numbers(tensor)?))).collect()
}

/// A number, or a list of them, as calibration in JSON holds maxima.
fn numbers(tensor: &Stored) -> Option<Value> {
    let values = floats(tensor)?;
    match values.as_slice() {
        [single] if tensor.shape.is_empty() => Some(json!(single)),
        several => Some(json!(several)),
    }
}

fn inputs_only(calibration: &str) -> String {
    let mut maxima: Map<String, Value> = serde_json::from_str(calibration).unwrap_or_default();
    maxima.retain(|key, _| key.contains("input_quantizer"));
    Value::Object(maxima).to_string()
}

fn short_dtype(torch: &str) -> Option<&'static str> {
    match torch {
        "torch.bfloat16" => Some("bf16"),
        "torch.float16" => Some("f16"),
        "torch.float32" => Some("f32"),
        _ => None,
    }
}
