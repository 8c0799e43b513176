//! From one quantized form to another: what is lossless and what is not is told before, and what a reader of the other
//! form looks for is there under its exact name.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_format::{Limits, MemorySource, Uncontrolled};
use quantscope_session::api::ConvertRequest;
use quantscope_session::{CpuEngine, Engines, InputFile, Session};
use quantscope_tests::data;
use quantscope_tests::jobs::{Files, convert, files_of, weights};
use quantscope_tests::manifest::json_of;
use quantscope_tests::planned::Planned;
use quantscope_tests::sink::MemorySink;
use quantscope_tests::tensors::{Tensors, floats};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::rc::Rc;

fn to(id: &str) -> ConvertRequest {
    ConvertRequest { to: id.into(), ..ConvertRequest::default() }
}

fn written(files: &Files, id: &str) -> Files {
    convert(files, &to(id), None, &Limits::default()).unwrap()
}

fn session(files: &Files) -> Session {
    let inputs = files.iter().map(|(path, bytes)| InputFile {
        path: path.clone(),
        source: Rc::new(MemorySource::new(path.clone(), bytes.clone())),
    });
    futures_executor::block_on(Session::open(
        "checkpoint",
        inputs.collect(),
        Limits::default(),
        &Uncontrolled,
    ))
    .unwrap()
}

fn plan(files: &Files, id: &str) -> Planned {
    Planned::of(&session(files), &to(id))
}

/// A case of the made ones: its source, and the config beside it.
fn made(name: &str) -> (Files, Value) {
    let stem = data("made").join(name);
    let facts = json_of(&stem.with_extension("json"));
    let files = [
        ("model.safetensors".to_string(), std::fs::read(stem.with_extension("source.safetensors")).unwrap()),
        ("config.json".to_string(), facts["config"].to_string().into_bytes()),
    ];
    (files.into(), facts)
}

/// How many blocks change is counted before anything is written, and told.
#[test]
fn blocks_that_change_are_counted() {
    for (name, words) in [
        ("modelopt/mxfp4_to_nvfp4", None),
        ("modelopt/mxfp4_to_nvfp4_far", Some("m.proj: 8 of 36 blocks whose power of two")),
        ("gpt_oss/to_nvfp4", None),
        ("gpt_oss/to_nvfp4_far", Some("blocks whose power of two")),
    ] {
        let (files, facts) = made(name);
        if let Some(count) = facts["convert"]["inexact_blocks"].as_u64() {
            assert_eq!(words.is_some(), count > 0, "{name}");
            assert!(words.is_none_or(|words| words.contains(&format!("{count} of"))), "{name}");
        }
        let (cpu, mut sink) = (CpuEngine::new(), MemorySink::default());
        let engines = Engines { gpu: None, cpu: &cpu };
        let session = session(&files);
        let done =
            futures_executor::block_on(session.convert(&to("nvfp4"), engines, &mut sink, &Uncontrolled))
                .unwrap();
        let told = done.warnings.iter().find(|warning| warning.contains("power of two"));
        match words {
            Some(words) => {
                assert!(told.is_some_and(|told| told.contains(words)), "{name}: {:?}", done.warnings);
            }
            None => assert_eq!(told, None, "{name}"),
        }
    }
}

fn lossless(files: &Files, id: &str, tensor: &str) -> Option<bool> {
    plan(files, id).tensors.iter().find(|t| t.name == tensor).unwrap().lossless
}

/// A power of two over two bits fits into BF16; products of scales need not.
#[test]
fn the_plan_says_what_is_lossless() {
    let mxfp4 = files_of(&data("golden/e2e_llama_mxfp4/expected"));
    let nvfp4 = files_of(&data("golden/e2e_llama_nvfp4/expected"));
    let mxfp8 = files_of(&data("golden/e2e_llama_mxfp8/expected"));
    let weight = "model.layers.0.mlp.up_proj.weight";
    assert_eq!(lossless(&mxfp4, "bf16", weight), Some(true));
    assert_eq!(lossless(&mxfp4, "f16", weight), None);
    assert_eq!(lossless(&mxfp8, "bf16", weight), None);
    assert_eq!(lossless(&mxfp4, "f32", weight), Some(true));
    assert_eq!(lossless(&nvfp4, "f32", weight), Some(true));
    assert_eq!(lossless(&nvfp4, "bf16", weight), None);
    assert_eq!(lossless(&mxfp4, "nvfp4", weight), None);
    assert_eq!(lossless(&nvfp4, "ct-nvfp4", &format!("{weight}_packed")), None);
    // And it is so: rounding to BF16 changes nothing.
    let [exact, rounded] = ["f32", "bf16"].map(|id| weights(&written(&mxfp4, id)));
    assert_eq!(floats(&exact[weight]), floats(&rounded[weight]));
}

/// What is quantized in ModelOpt's form becomes exactly what a reader of compressed-tensors looks for, and comes back.
#[test]
fn compressed_tensors_and_back() {
    let folder = data("golden/e2e_llama_nvfp4/expected");
    let files = files_of(&folder);
    let source = weights(&files);
    let compressed = written(&files, "ct-nvfp4");
    let found = weights(&compressed);
    let renamed = |name: &str| {
        let pairs = [
            (".weight_scale_2", ".weight_global_scale"),
            (".input_scale", ".input_global_scale"),
            (".weight_scale", ".weight_scale"),
            (".weight", ".weight_packed"),
        ];
        let is_quantized = |stem: &str| source.contains_key(&format!("{stem}.weight_scale_2"));
        let new = pairs.iter().find_map(|(old, new)| {
            let stem = name.strip_suffix(old)?;
            is_quantized(stem).then(|| format!("{stem}{new}"))
        });
        new.unwrap_or_else(|| name.to_string())
    };
    let names: BTreeSet<String> = source.keys().map(|name| renamed(name)).collect();
    assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), names);
    for (name, tensor) in &source {
        let new = &found[&renamed(name)];
        if name.ends_with("scale_2") || name.ends_with("input_scale") {
            assert_eq!((new.dtype.as_str(), new.shape.as_slice()), ("F32", &[1][..]), "{name}");
            let [one, other] = [tensor, new].map(|t| floats(t).unwrap()[0]);
            assert!((one * other - 1.0).abs() <= f32::EPSILON, "{name}: {one} and {other}");
        } else {
            assert!(new == tensor, "{name}");
        }
    }
    let config: Value = serde_json::from_slice(&compressed["config.json"]).unwrap();
    let numbers = |dynamic: Value| {
        json!({"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16, "symmetric": true,
               "dynamic": dynamic})
    };
    assert_eq!(
        config["quantization_config"],
        json!({
            "quant_method": "compressed-tensors",
            "format": "nvfp4-pack-quantized",
            "quantization_status": "compressed",
            "config_groups": {"group_0": {
                "targets": ["Linear"],
                "weights": numbers(json!(false)),
                "input_activations": numbers(json!("local")),
            }},
            "ignore": ["lm_head", "model.embed_tokens"],
        })
    );
    assert!(!compressed.contains_key("hf_quant_config.json"));
    let back = written(&compressed, "nvfp4");
    same_but_for_a_last_bit(&weights(&back), &source);
    let quantization = |files: &Files| {
        let config: Value = serde_json::from_slice(&files["hf_quant_config.json"]).unwrap();
        config["quantization"].clone()
    };
    assert_eq!(quantization(&back), quantization(&files));
}

/// Numbers that were inverted twice may differ in the last bit; nothing else may.
fn same_but_for_a_last_bit(found: &Tensors, right: &Tensors) {
    assert_eq!(found.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
    for (name, tensor) in right {
        if tensor.dtype == "F32" && tensor.shape.is_empty() {
            let [one, other] = [tensor, &found[name]].map(|t| floats(t).unwrap()[0].to_bits());
            assert!(one.abs_diff(other) <= 1, "{name}");
        } else {
            assert!(found[name] == *tensor, "{name}");
        }
    }
}

/// Without a stored scale activations are quantized under scales found on the way, or, where the scheme is for weights
/// alone, not at all.
#[test]
fn configs_say_how_activations_are_quantized() {
    let source = files_of(&data("golden/_src/llama"));
    let activations = |files: &Files| {
        let compressed = written(files, "ct-nvfp4");
        let config: Value = serde_json::from_slice(&compressed["config.json"]).unwrap();
        config["quantization_config"]["config_groups"].clone()
    };
    let uncalibrated = activations(&written(&source, "nvfp4"));
    assert_eq!(uncalibrated["group_0"]["input_activations"]["dynamic"], json!(true));
    let weights_alone = activations(&written(&source, "w4a16-nvfp4"));
    assert!(weights_alone["group_0"].get("input_activations").is_none(), "{weights_alone}");
    let some = ConvertRequest {
        calibration_json: Some(r#"{"model.layers.0.mlp.down_proj.input_quantizer": {"amax": 2.0}}"#.into()),
        ..to("nvfp4")
    };
    let some = activations(&convert(&source, &some, None, &Limits::default()).unwrap());
    let [calibrated, others] = ["group_0", "group_1"].map(|group| &some[group]);
    assert_eq!(calibrated["targets"], json!(["model.layers.0.mlp.down_proj"]));
    assert_eq!(calibrated["input_activations"]["dynamic"], "local");
    assert_eq!(others["targets"].as_array().unwrap().len(), 13);
    assert_eq!(others["input_activations"]["dynamic"], json!(true));
}
