//! Configs and indexes: those of the reference, and those that nobody should trust.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::golden;
use quantscope_format::{
    ConfigError, ElementForm, IndexError, KvCache, Limits, ModelConfig, QuantDeclaration, ShardIndex,
    leaves_folder,
};
use serde_json::Value;
use std::collections::BTreeSet;

fn config(json: &str) -> Result<ModelConfig, ConfigError> {
    ModelConfig::parse(json.as_bytes(), &Limits::default())
}

fn hf(json: &str) -> Result<QuantDeclaration, ConfigError> {
    QuantDeclaration::parse_hf_quant_config(json.as_bytes(), &Limits::default())
}

/// Both homes of one export must give the same facts.
fn agree(of_config: &QuantDeclaration, of_hf: &QuantDeclaration, what: &str) {
    assert_eq!(of_config.faults, [], "{what}");
    assert_eq!(of_hf.faults, [], "{what}");
    if of_config.quant_method.as_deref() == Some("fp8") {
        // A whole model in 128 x 128 blocks is declared in DeepSeek's form, which names no algorithm.
        assert_eq!(of_hf.quant_algo.as_deref(), Some("FP8_PB"), "{what}");
        assert_eq!(of_config.weight_block_size.as_deref(), Some([128, 128].as_slice()), "{what}");
    } else {
        assert_eq!(of_config.quant_algo, of_hf.quant_algo, "{what}");
        assert_eq!(of_config.quant_method.as_deref(), Some("modelopt"), "{what}");
    }
    assert_eq!(of_config.exclude, of_hf.exclude, "{what}");
    assert_eq!(of_config.quantized_layers, of_hf.quantized_layers, "{what}");
    assert_eq!(of_config.producer, of_hf.producer, "{what}");
    match (&of_config.kv_cache, &of_hf.kv_cache) {
        (Some(KvCache::Form(form)), Some(KvCache::Named(name))) => {
            assert_eq!(
                (name.as_str(), form.num_bits, form.kind.as_deref()),
                ("FP8", Some(8), Some("float")),
                "{what}"
            );
        }
        (a, b) => assert_eq!(a, b, "{what}"),
    }
}

#[test]
fn every_golden_config_is_read_without_a_fault() {
    let (mut configs, mut declared, mut pairs) = (0, 0, 0);
    for path in golden("config.json") {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let json = std::fs::read(&path).unwrap();
        if name != "config.json" {
            continue;
        }
        let config = ModelConfig::parse(&json, &Limits::default()).unwrap();
        assert_eq!(config.faults, [], "{}", path.display());
        assert!(config.model_type.is_some() || config.class_name.is_some(), "{}", path.display());
        assert_eq!(config.value, serde_json::from_slice::<Value>(&json).unwrap());
        configs += 1;
        let beside = path.with_file_name("hf_quant_config.json");
        let Some(of_config) = QuantDeclaration::from_model_config(&config) else {
            assert!(
                config.value.get("quantization_config").is_none() && !beside.exists(),
                "{}",
                path.display()
            );
            continue;
        };
        declared += 1;
        assert_eq!(of_config.faults, [], "{}", path.display());
        if let Ok(json) = std::fs::read(beside) {
            let of_hf = QuantDeclaration::parse_hf_quant_config(&json, &Limits::default()).unwrap();
            agree(&of_config, &of_hf, &path.display().to_string());
            pairs += 1;
        }
    }
    assert!(
        configs > 30 && declared > 20 && pairs > 15,
        "{configs} configs, {declared} declarations, {pairs} pairs"
    );
}

#[test]
fn both_forms_of_every_format_give_the_same_facts() {
    let path = golden("golden/config_cases.json").pop().unwrap();
    let cases: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(cases.len() > 40);
    let mut algorithms = BTreeSet::new();
    for case in cases {
        let of_hf = hf(&case["hf_quant_config"].to_string()).unwrap();
        let whole = format!("{{\"quantization_config\":{}}}", case["quantization_config"]);
        let of_config = QuantDeclaration::from_model_config(&config(&whole).unwrap()).unwrap();
        agree(&of_config, &of_hf, &case["layers"].to_string());
        algorithms.extend(of_hf.quant_algo);
    }
    assert!(algorithms.len() > 10, "{algorithms:?}");
}

#[test]
fn groups_are_read_in_full() {
    let json = r#"{"quantization_config":{"config_groups":{
        "group_1":{"weights":{"num_bits":8,"type":"float","strategy":"block","block_structure":[128,64],"dynamic":false},
                   "input_activations":{"num_bits":4,"type":"float","group_size":16,"dynamic":"local"},"targets":["a","b"]},
        "group_0":{"quant_algo":"X","weights":{"block_structure":"128x128"}}},
        "ignore":["lm_head"],"modules_to_not_convert":["x"],"kv_cache_scheme":"NVFP4","group_size":32,
        "activation_scheme":"dynamic","format":"naive","has_zero_point":false,"pre_quant_scale":true}}"#;
    let declared = QuantDeclaration::from_model_config(&config(json).unwrap()).unwrap();
    assert_eq!(declared.faults, []);
    let [first, second] = declared.groups.as_slice() else { panic!("{:?}", declared.groups) };
    assert_eq!(
        (first.name.as_str(), first.targets.as_slice()),
        ("group_1", ["a".to_owned(), "b".to_owned()].as_slice())
    );
    let weights = ElementForm {
        num_bits: Some(8),
        kind: Some("float".into()),
        strategy: Some("block".into()),
        group_size: None,
        block_structure: Some(vec![128, 64]),
        dynamic: Some(false),
    };
    assert_eq!(first.weights, Some(weights));
    let activations = first.input_activations.as_ref().unwrap();
    assert_eq!(
        (activations.num_bits, activations.group_size, activations.dynamic),
        (Some(4), Some(16), Some(true))
    );
    assert_eq!((second.name.as_str(), second.quant_algo.as_deref()), ("group_0", Some("X")));
    assert_eq!(second.weights.as_ref().unwrap().block_structure, Some(vec![128, 128]));
    assert_eq!(declared.exclude, ["lm_head", "x"]);
    assert_eq!(declared.kv_cache, Some(KvCache::Named("NVFP4".into())));
    assert_eq!(
        (declared.group_size, declared.has_zero_point, declared.pre_quant_scale),
        (Some(32), Some(false), Some(true))
    );
    assert_eq!(
        (declared.activation_scheme.as_deref(), declared.format.as_deref()),
        (Some("dynamic"), Some("naive"))
    );
}

#[test]
fn facts_come_from_the_text_config_where_the_outer_one_is_silent() {
    let json = r#"{"hidden_size":null,"text_config":{"hidden_size":7,"tie_word_embeddings":true,"torch_dtype":"bfloat16",
        "quantization_config":{"quant_method":"q"}}}"#;
    let inner = config(json).unwrap();
    assert_eq!(
        (inner.hidden_size, inner.tie_word_embeddings, inner.dtype.as_deref()),
        (Some(7), Some(true), Some("bfloat16"))
    );
    assert_eq!(QuantDeclaration::from_model_config(&inner).unwrap().quant_method.as_deref(), Some("q"));
    let outer = config(r#"{"hidden_size":3,"tie_word_embeddings":false,"dtype":"float32","text_config":{"hidden_size":7,"tie_word_embeddings":true}}"#).unwrap();
    assert_eq!(
        (outer.hidden_size, outer.tie_word_embeddings, outer.dtype.as_deref()),
        (Some(3), Some(false), Some("float32"))
    );
    assert_eq!(QuantDeclaration::from_model_config(&outer), None);
}

#[test]
fn wrong_types_name_their_field_and_cost_only_it() {
    let said = |faults: &[ConfigError]| faults.iter().map(ToString::to_string).collect::<Vec<_>>();
    let whole = config(
        r#"{"model_type":7,"hidden_size":-1,"text_config":[],"tie_word_embeddings":"true","dtype":"f"}"#,
    )
    .unwrap();
    assert_eq!(whole.dtype.as_deref(), Some("f"));
    assert_eq!(
        said(&whole.faults),
        [
            "`model_type` is 7, a string is needed",
            "`hidden_size` is -1, a whole number is needed",
            "`tie_word_embeddings` is the string \"true\", true or false is needed",
            "`text_config` is an array, an object is needed",
        ]
    );
    let json = r#"{"quantization_config":{"quant_algo":["NVFP4"],"ignore":["a",1,"b"],"weight_block_size":"128",
        "config_groups":{"g":{"weights":{"num_bits":4.5},"targets":"Linear"},"h":3},
        "quantized_layers":{"x":{"quant_algo":"FP8"},"y":"FP8"},"kv_cache_scheme":8}}"#;
    let declared = QuantDeclaration::from_model_config(&config(json).unwrap()).unwrap();
    assert_eq!(declared.exclude, ["a", "b"]);
    assert_eq!(declared.quantized_layers.len(), 1);
    assert_eq!(
        said(&declared.faults),
        [
            "`quantization_config.quant_algo` is an array, a string is needed",
            "`quantization_config.kv_cache_scheme` is 8, a string is needed",
            "`quantization_config.config_groups.g.targets` is the string \"Linear\", an array is needed",
            "`quantization_config.config_groups.g.weights.num_bits` is 4.5, a whole number is needed",
            "`quantization_config.config_groups.h` is 3, an object is needed",
            "`quantization_config.ignore[1]` is 1, a string is needed",
            "`quantization_config.quantized_layers.y` is the string \"FP8\", an object is needed",
            "`quantization_config.weight_block_size` is the string \"128\", an array is needed",
        ]
    );
    let declared =
        QuantDeclaration::from_model_config(&config(r#"{"quantization_config":"fp8"}"#).unwrap()).unwrap();
    assert_eq!(said(&declared.faults), ["`quantization_config` is the string \"fp8\", an object is needed"]);
    assert_eq!(said(&hf("{}").unwrap().faults), ["`quantization` is null, an object is needed"]);
    assert_eq!(
        said(&hf(r#"{"quantization":[]}"#).unwrap().faults),
        ["`quantization` is an array, an object is needed"]
    );
}

#[test]
fn hostile_configs_are_errors_not_crashes() {
    let said = |json: &str| config(json).unwrap_err().to_string();
    assert_eq!(said(""), "it cannot be read: EOF while parsing a value (byte 0)");
    assert_eq!(said("{\n\"a\":nan}"), "it cannot be read: expected ident (byte 7)");
    assert_eq!(said("[]"), "it cannot be read: it is an array, not an object (byte 0)");
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(said(&deep), "it cannot be read: recursion limit exceeded (byte 131)");
    let limits = Limits { json_depth: 2, json_bytes: 160, ..Limits::default() };
    let parse = |json: &str| ModelConfig::parse(json.as_bytes(), &limits).map_err(|e| e.to_string());
    assert!(parse(r#"{"a":[1]}"#).is_ok());
    assert_eq!(
        parse(r#"{"a":[[]]}"#).unwrap_err(),
        "it cannot be read: nested deeper than the limit `depth` of 2 levels (byte 0)"
    );
    assert_eq!(
        parse(r#"{"a":"01234567890123"}"#).unwrap_err(),
        "it has 22 bytes, the limit `json` lets it have 20"
    );
    let faults =
        config(&format!("{{\"quantization_config\":{{\"ignore\":[{}1]}}}}", "1,".repeat(5000))).unwrap();
    assert_eq!(
        QuantDeclaration::from_model_config(&faults).unwrap().faults.len(),
        100,
        "told until it is clear"
    );
}

#[test]
fn the_golden_index_is_read() {
    let indexes = golden(".safetensors.index.json");
    assert!(!indexes.is_empty());
    for path in indexes {
        let json = std::fs::read(&path).unwrap();
        let index = ShardIndex::parse(&json, &Limits::default()).unwrap();
        let value: Value = serde_json::from_slice(&json).unwrap();
        let map = value["weight_map"].as_object().unwrap();
        let ours: Vec<(&str, &str)> = index.entries.iter().map(|e| (e.tensor.as_str(), &*e.file)).collect();
        let theirs: Vec<(&str, &str)> = map.iter().map(|(k, v)| (k.as_str(), v.as_str().unwrap())).collect();
        assert_eq!(ours, theirs);
        assert_eq!(index.total_size, value["metadata"]["total_size"].as_u64());
        assert!(index.total_size.is_some() && index.duplicate_keys.is_empty());
        assert!(index.entries.iter().all(|e| e.leaves_folder.is_none()));
        assert!(index.files().iter().all(|file| path.with_file_name(file).exists()));
    }
}

#[test]
fn paths_that_leave_the_folder_are_flagged() {
    for inside in ["a.safetensors", "sub/a.safetensors", "..a", "a..b/c", "größe", "a b", ".hidden"] {
        assert_eq!(leaves_folder(inside), None, "{inside}");
    }
    for outside in [
        "",
        "..",
        "../a",
        "a/../b",
        "/etc/passwd",
        "\\a",
        "a\\..\\b",
        "C:a",
        "c:/a",
        "https://x/y",
        "file:///a",
        "a\0",
        "a\nb",
        "./a",
        "a//b",
        "a/",
    ] {
        assert!(leaves_folder(outside).is_some(), "{outside}");
    }
}

#[test]
fn odd_indexes() {
    let parse = |json: &str| ShardIndex::parse(json.as_bytes(), &Limits::default());
    let index = parse(r#"{"weight_map":{"a":"x"},"other":[{}],"weight_map":{"a":"1","b":"2","a":"3"},"metadata":{"total_size":7.0}}"#).unwrap();
    let entries: Vec<(&str, &str)> = index.entries.iter().map(|e| (e.tensor.as_str(), &*e.file)).collect();
    assert_eq!(entries, [("a", "3"), ("b", "2")]);
    assert_eq!(index.duplicate_keys, ["a", "weight_map"]);
    assert_eq!((index.total_size, index.files()), (Some(7), vec!["3", "2"]));
    assert_eq!(parse(r#"{"weight_map":{},"metadata":null}"#).unwrap().total_size, None);

    let said = |json: &str| parse(json).unwrap_err().to_string();
    assert_eq!(said("{}"), "the index cannot be read: it has no `weight_map` (byte 2)");
    assert_eq!(
        said(r#"{"weight_map":{"a":1}}"#),
        "the index cannot be read: invalid type: integer `1`, expected a string (byte 19)"
    );
    assert_eq!(
        said(r#"{"weight_map":[]}"#),
        "the index cannot be read: invalid type: sequence, expected an object from tensor names to file names for `weight_map` (byte 13)"
    );
    assert_eq!(
        said(r#"{"metadata":{"total_size":"1"},"weight_map":{}}"#),
        "the index cannot be read: invalid type: string \"1\", expected a whole number of bytes for `total_size` (byte 28)"
    );
    assert!(said(r#"{"metadata":{"total_size":1.5},"weight_map":{}}"#).contains("floating point `1.5`"));
    assert!(said(r#"{"metadata":{"total_size":-1},"weight_map":{}}"#).contains("integer `-1`"));
    assert!(said("{\"weight_map\":{}").contains("EOF"));
    assert!(said(&format!("{{\"x\":{}", "[".repeat(1_000_000))).contains("recursion limit"));
    let small = Limits { json_bytes: 10, tensors: 1, ..Limits::default() };
    assert_eq!(
        ShardIndex::parse(b"{\"weight_map\":{}}", &small),
        Err(IndexError::TooLong { len: 17, limit: 10 })
    );
    let few = Limits { tensors: 1, ..Limits::default() };
    let error = ShardIndex::parse(br#"{"weight_map":{"a":"x","b":"x"}}"#, &few).unwrap_err();
    assert!(error.to_string().contains("more than 1 entries"), "{error}");
}
