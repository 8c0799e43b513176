//! Checkpoints renamed and split as the reference's reverse conversion does, case by case; what it refuses, and what it
//! cuts although the parts mean something else then.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_format::{Limits, TensorSpec};
use quantscope_numeric::Dtype;
use quantscope_session::api::{ConvertRequest, SessionError};
use quantscope_tests::data;
use quantscope_tests::jobs::{Files, convert, weights};
use quantscope_tests::manifest::json_of;
use quantscope_tests::specimen::shard;
use quantscope_tests::tensors::Stored;
use quantscope_tests::tensors::Tensors;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const REVERSE: &str = "golden-pr/reverse";

fn dtype(tag: &str) -> Dtype {
    match tag {
        "U8" => Dtype::U8,
        "F32" => Dtype::F32,
        "BF16" => Dtype::BF16,
        _ => Dtype::F8_E4M3,
    }
}

fn dims(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|d| d.as_u64().unwrap()).collect()
}

/// Tensors of these names, types and shapes: `[["name", "U8", [4, 8]], …]`. Bytes count up, so that no two places
/// hold the same.
fn made(tensors: &[(&str, &str, Vec<u64>)]) -> Vec<u8> {
    let tensor = |(name, tag, shape): &(&str, &str, Vec<u64>)| {
        let spec = TensorSpec { name: (*name).to_string(), dtype: dtype(tag), shape: shape.clone() };
        let bytes = shape.iter().product::<u64>() * spec.dtype.bits() / 8;
        let data = (0..bytes).map(|i| u8::try_from((i * 7 + i / 251) % 127).unwrap()).collect();
        (spec, data)
    };
    shard(&tensors.iter().map(tensor).collect::<Vec<_>>(), &[])
}

fn renamed(files: &Files, rules: &Value) -> Result<Files, SessionError> {
    let request = ConvertRequest { rename_json: Some(rules.to_string()), ..ConvertRequest::default() };
    convert(files, &request, None, &Limits::default())
}

/// Names, types, shapes and hashes.
fn described(tensors: &Tensors) -> Value {
    let one = |t: &Stored| {
        let hash: String = Sha256::digest(&t.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        json!([t.dtype, t.shape, hash])
    };
    Value::Object(tensors.iter().map(|(name, tensor)| (name.clone(), one(tensor))).collect())
}

/// The config after renaming, which is the reference's but for what is split: it leaves those names behind.
fn with_splits(after: &Value, rules: &Value) -> Value {
    let mut after = after.clone();
    let old = after["quantized_layers"].as_object().unwrap().clone();
    let layers = after["quantized_layers"].as_object_mut().unwrap();
    layers.clear();
    for (name, value) in old {
        let split = rules["splits"].as_array().unwrap().iter().find_map(|split| {
            let base = name.strip_suffix(split["fused_suffix"].as_str().unwrap())?;
            let parts = split["part_suffixes"].as_array().unwrap().iter();
            Some(parts.map(|part| format!("{base}{}", part.as_str().unwrap())).collect::<Vec<_>>())
        });
        layers.extend(split.unwrap_or_else(|| vec![name]).into_iter().map(|name| (name, value.clone())));
    }
    after
}

#[test]
fn reverse_conversions_are_those_of_the_reference() {
    let cases = json_of(&data(REVERSE).join("cases.json"));
    let (mut converted, mut refused) = (0, 0);
    for case in cases.as_array().unwrap() {
        let name = case["case"].as_str().unwrap();
        let rules = &case["rules"];
        let Some(expected) = case.get("expected") else {
            let source: Vec<(&str, &str, Vec<u64>)> = case["source"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, spec)| (name.as_str(), spec[0].as_str().unwrap(), dims(&spec[1])))
                .collect();
            let files = Files::from([("model.safetensors".to_string(), made(&source))]);
            let error = renamed(&files, rules).unwrap_err();
            assert_eq!(error.kind, "refused", "{name}: {error}");
            let subject = source.iter().any(|(tensor, _, _)| {
                error.message.contains(tensor) || error.message.contains(tensor.rsplit_once('.').unwrap().0)
            });
            assert!(subject, "{name} is refused without a name: {error}");
            refused += 1;
            continue;
        };
        let source = std::fs::read(data(REVERSE).join(format!("{name}.safetensors"))).unwrap();
        let mut files = Files::from([("model.safetensors".to_string(), source)]);
        if let Some(before) = case.get("quant_config_before") {
            let hf = json!({"producer": {"name": "modelopt"}, "quantization": before});
            files.insert("hf_quant_config.json".into(), hf.to_string().into_bytes());
            let mut section = before.clone();
            section["quant_method"] = "modelopt".into();
            let config = json!({"quantization_config": section});
            files.insert("config.json".into(), config.to_string().into_bytes());
        }
        let written = renamed(&files, rules).unwrap();
        assert_eq!(described(&weights(&written)), *expected, "{name}");
        if let Some(after) = case.get("quant_config_after") {
            let right = with_splits(after, rules);
            let hf: Value = serde_json::from_slice(&written["hf_quant_config.json"]).unwrap();
            assert_eq!(hf["quantization"], right, "{name}");
            let config: Value = serde_json::from_slice(&written["config.json"]).unwrap();
            for field in ["exclude_modules", "quantized_layers"] {
                assert_eq!(config["quantization_config"][field], right[field], "{name}");
            }
        }
        converted += 1;
    }
    assert_eq!((converted, refused), (4, 5));
}
