//! Configs and exclude lists against those that the reference made of the same layers.

use super::{Quantized, hf_quant_config, ignore_list, quantization_config};
use quantscope_schemes::{Activations, EncodeSettings, by_id};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

fn cases(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/golden").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Our id of the reference's format.
fn id(format: &str) -> &str {
    match format {
        "fp8" => "fp8",
        "fp8_pc_pt" => "fp8-channel",
        "fp8_pb_wo" => "fp8-block-wo",
        "int8_sq" => "int8",
        "int8_wo" => "int8-wo",
        "int4_awq" => "int4",
        "w4a8_awq" => "w4a8-int4-fp8",
        "nvfp4" => "nvfp4",
        "nvfp4_static" => "nvfp4-static",
        "w4a16_nvfp4" => "w4a16-nvfp4",
        "nvfp4_awq" => "nvfp4-awq",
        "nvfp4_svdquant" => "nvfp4-svdquant",
        "w4a8_nvfp4_fp8" => "w4a8-nvfp4-fp8",
        "mxfp4" => "mxfp4",
        "w4a8_mxfp4_fp8" => "w4a8-mxfp4-fp8",
        "mxfp8" => "mxfp8",
        other => panic!("{other} is new"),
    }
}

/// Quantized layers and the names of the others.
fn layers(case: &Value) -> (Vec<Quantized>, BTreeSet<String>) {
    let (mut quantized, mut plain) = (Vec::new(), BTreeSet::new());
    for (module, format) in case["layers"].as_object().unwrap() {
        match format.as_str() {
            Some(format) => quantized.push(Quantized {
                module: module.clone(),
                scheme: by_id(id(format)).unwrap_or_else(|| panic!("no scheme is called {}", id(format))),
                is_conv3d: false,
                settings: EncodeSettings::default(),
                activations: Activations::Static,
            }),
            None => {
                plain.insert(module.clone());
            }
        }
    }
    (quantized, plain)
}

/// Without the producer, and groups as a set: their numbers carry no meaning.
fn comparable(mut config: Value) -> Value {
    let object = config.as_object_mut().unwrap();
    object.remove("producer");
    if let Some(Value::Object(groups)) = object.get("config_groups") {
        let mut groups: Vec<Value> = groups.values().cloned().collect();
        groups.sort_by_key(Value::to_string);
        object.insert("config_groups".into(), json!(groups));
    }
    config
}

#[test]
fn configs_are_what_the_reference_writes() {
    let cases = cases("config_cases.json");
    assert_eq!(cases.len(), 44);
    for (number, case) in cases.iter().enumerate() {
        let (quantized, plain) = layers(case);
        let ignore = ignore_list(&quantized, plain, &[]);
        let hf = &case["hf_quant_config"];
        let kv = hf["quantization"]["kv_cache_quant_algo"].as_str();
        let found = comparable(quantization_config(&quantized, &ignore, kv).unwrap());
        assert_eq!(found, comparable(case["quantization_config"].clone()), "case {number}");
        let found = comparable(hf_quant_config(&quantized, &ignore, kv));
        assert_eq!(found, comparable(hf.clone()), "case {number}");
    }
}

#[test]
fn exclude_lists_are_what_the_reference_writes() {
    let cases = cases("exclude_cases.json");
    assert_eq!(cases.len(), 40);
    for (number, case) in cases.iter().enumerate() {
        let (quantized, plain) = layers(case);
        assert_eq!(json!(ignore_list(&quantized, plain, &[])), case["exclude_modules"], "case {number}");
    }
}

#[test]
fn native_fp8_has_no_place_for_a_cache() {
    let layer = |id: &str| Quantized {
        module: "a".into(),
        scheme: by_id(id).unwrap(),
        is_conv3d: false,
        settings: EncodeSettings::default(),
        activations: Activations::Static,
    };
    let error = quantization_config(&[layer("fp8-block")], &[], Some("FP8")).unwrap_err().to_string();
    assert!(error.contains("fp8-block") && error.contains("KV cache"), "{error}");
    let native = quantization_config(&[layer("fp8-block")], &["lm_head".into()], None).unwrap();
    let expected = json!({"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
        "weight_block_size": [128, 128], "modules_to_not_convert": ["lm_head"]});
    assert_eq!(comparable(native), expected);
}
