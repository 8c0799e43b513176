//! The JSON files beside the weights: each judged by another reader of JSON.

use crate::limits;
use quantscope_format::{ModelConfig, QuantDeclaration, ShardIndex, leaves_folder};
use serde_json::Value;

fn json(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}

/// An index: accepted only if it is JSON, with the entries that JSON has, and no entry leads out of the folder
/// unsaid.
pub fn index(bytes: &[u8]) {
    let Ok(index) = ShardIndex::parse(bytes, &limits()) else { return };
    let other = json(bytes).expect("an index that is no JSON was taken");
    let map = other.get("weight_map").and_then(Value::as_object).expect("an index without a map was taken");
    for entry in &index.entries {
        let file = map.get(&entry.tensor).and_then(Value::as_str);
        assert_eq!(file, Some(&*entry.file), "{:?} is mapped elsewhere", entry.tensor);
    }
    for file in index.files() {
        let climbs = file.split(['/', '\\']).any(|part| part == "..");
        let absolute = file.starts_with('/') || file.starts_with('\\');
        let unsaid = (climbs || absolute) && leaves_folder(file).is_none();
        assert!(!unsaid, "{file:?} leaves the folder, and nobody says so");
    }
}

/// `config.json`, and what it declares of quantization.
pub fn model_config(bytes: &[u8]) {
    let Ok(config) = ModelConfig::parse(bytes, &limits()) else { return };
    assert_eq!(json(bytes).as_ref(), Some(&config.value), "a config was read as something else");
    let _ = QuantDeclaration::from_model_config(&config);
}

/// `hf_quant_config.json`.
pub fn hf_quant_config(bytes: &[u8]) {
    if QuantDeclaration::parse_hf_quant_config(bytes, &limits()).is_ok() {
        assert!(json(bytes).is_some(), "no JSON, but taken");
    }
}
