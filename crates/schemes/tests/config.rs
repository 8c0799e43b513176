//! What schemes say of themselves in configs, against what the reference wrote (`golden/config_cases.json`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod common;

use common::json;
use quantscope_schemes::{EncodeSettings, Scheme, algo_scheme, by_id};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// `quant_algo` and the fields beside it.
fn fields(scheme: &dyn Scheme) -> Value {
    let mut fields = Map::new();
    fields.insert("quant_algo".into(), scheme.about().algos[0].into());
    let own = scheme.config_fields(&EncodeSettings::default());
    fields.extend(own.into_iter().map(|(key, value)| (key.to_string(), value)));
    Value::Object(fields)
}

/// The body of a group, without its targets.
fn body(group: &Value) -> Value {
    let mut group = group.clone();
    group.as_object_mut().unwrap().remove("targets");
    group
}

#[test]
fn fields_and_groups_are_those_of_the_reference() {
    let Value::Array(cases) = json("golden/config_cases.json") else { panic!("no list of cases") };
    let (mut alone, mut mixed) = (BTreeSet::new(), BTreeSet::new());
    for case in &cases {
        let hf = &case["hf_quant_config"]["quantization"];
        let groups = &case["quantization_config"]["config_groups"];
        if let Some(layers) = hf["quantized_layers"].as_object() {
            for (module, entry) in layers {
                let scheme = algo_scheme(entry["quant_algo"].as_str().unwrap()).unwrap();
                assert_eq!(&fields(scheme), entry, "{module}");
                let named = |group: &&Value| group["targets"].as_array().unwrap().contains(&json!(module));
                let group = groups.as_object().unwrap().values().find(named).unwrap();
                let found = scheme.config_group(&EncodeSettings::default(), true).unwrap();
                assert_eq!(Value::Object(found), body(group), "{}", scheme.id());
                mixed.insert(scheme.id());
            }
            continue;
        }
        let scheme = algo_scheme(hf["quant_algo"].as_str().unwrap()).unwrap();
        let mut entry = hf.clone();
        for key in ["exclude_modules", "kv_cache_quant_algo"] {
            entry.as_object_mut().unwrap().remove(key);
        }
        assert_eq!(fields(scheme), entry, "{}", scheme.id());
        let found = scheme.config_group(&EncodeSettings::default(), false).map(Value::Object);
        assert_eq!(found, groups.get("group_0").map(body), "{}", scheme.id());
        alone.insert(scheme.id());
    }
    assert!(alone.len() >= 15 && mixed.len() >= 10, "{alone:?} {mixed:?}");
}

/// What no case holds: tiles among others, and channels.
#[test]
fn tiles_and_channels_say_what_shares_a_scale() {
    let folder = "golden-pr/fp8/mixed_nvfp4_fp8pb/expected/config.json";
    let groups = json(folder)["quantization_config"]["config_groups"].clone();
    let settings = EncodeSettings::default();
    let tiles = by_id("fp8-block").unwrap().config_group(&settings, true).map(Value::Object);
    assert_eq!(tiles, Some(body(&groups["group_0"])));
    let folder = "golden-pr/fp8/release_mixed_nvfp4_fp8pb/expected/config.json";
    let groups = json(folder)["quantization_config"]["config_groups"].clone();
    let tiles = by_id("fp8-block-wo").unwrap().config_group(&settings, true).map(Value::Object);
    assert_eq!(tiles, Some(body(&groups["group_0"])));
    let channels = by_id("fp8-channel").unwrap().config_group(&settings, true).unwrap();
    assert_eq!(channels["weights"]["strategy"], "channel");
    assert_eq!(channels["input_activations"], json!({"dynamic": false, "num_bits": 8, "type": "float"}));
}

#[test]
fn native_fp8_has_a_config_of_its_own() {
    let expected = json("golden/e2e_llama_fp8_pb_w8a8/expected/config.json")["quantization_config"].clone();
    let kept: Vec<String> = serde_json::from_value(expected["modules_to_not_convert"].clone()).unwrap();
    let found = by_id("fp8-block").unwrap().own_config(&kept, &expected["producer"], &[]);
    assert_eq!(found, Some(expected));
    assert!(by_id("fp8").unwrap().own_config(&kept, &Value::Null, &[]).is_none());
}

#[test]
fn activation_scales_stand_for_zero_by_the_largest_code() {
    let cases: [(&str, f32, f32); 8] = [
        ("nvfp4", 6.0, 2688.0),
        ("nvfp4-mse", 6.0, 2688.0),
        ("w4a8-nvfp4-fp8", 448.0, 448.0),
        ("w4a8-mxfp4-fp8", 448.0, 448.0),
        ("w4a8-int4-fp8", 448.0, 448.0),
        ("fp8", 448.0, 448.0),
        ("fp8-block", 448.0, 448.0),
        ("int8", 127.0, 127.0),
    ];
    for (id, largest, divisor) in cases {
        let scheme = by_id(id).unwrap();
        assert!(scheme.about().quantizes_activations, "{id}");
        for amax in [0.0, -0.0, f32::NAN] {
            assert_eq!(scheme.input_scale(amax).to_bits(), (largest / divisor).to_bits(), "{id} {amax}");
        }
        assert_eq!(scheme.input_scale(3.0).to_bits(), (3.0_f32 / divisor).to_bits(), "{id}");
    }
}
