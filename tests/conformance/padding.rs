//! Padded and tiled layers: written as the reference's exporter writes them, read again as what they are, and taken
//! back to what they were.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_format::{Limits, MemorySource, Uncontrolled};
use quantscope_session::api::ConvertRequest;
use quantscope_session::{CpuEngine, Engines, InputFile, Session};
use quantscope_tests::data;
use quantscope_tests::jobs::{Files, convert, files_of, weights};
use quantscope_tests::tensors::{Stored, Tensors, file_of, parse, read};
use serde_json::{Value, json};
use std::rc::Rc;

const CASES: [&str; 4] = ["16x256", "20x80", "128x64", "130x144"];
const VARIANTS: [(&str, Option<&str>, bool); 5] = [
    ("nopad+swizzle", None, true),
    ("row", Some("row"), false),
    ("row+swizzle", Some("row"), true),
    ("row_col", Some("row_col"), false),
    ("row_col+swizzle", Some("row_col"), true),
];

fn request(to: &str, pad: Option<&str>, swizzle: bool) -> ConvertRequest {
    ConvertRequest { to: to.into(), pad: pad.map(str::to_string), swizzle, ..ConvertRequest::default() }
}

fn one_file(tensors: &Tensors, metadata: &[(String, String)]) -> Files {
    [("model.safetensors".to_string(), file_of(tensors, metadata))].into()
}

fn converted(files: &Files, request: &ConvertRequest, tile_bytes: u64) -> Files {
    convert(files, request, None, &Limits { tile_bytes, ..Limits::default() }).unwrap()
}

fn metadata(files: &Files) -> Vec<(String, String)> {
    parse(&files["model.safetensors"]).1
}

/// Whether two files hold the same; a failure names the tensors, not their bytes.
fn assert_same(found: &Tensors, right: &Tensors, case: &str) {
    let wrong: Vec<String> = found
        .keys()
        .chain(right.keys())
        .filter(|name| found.get(*name) != right.get(*name))
        .map(|name| {
            let shape = |tensors: &Tensors| tensors.get(name).map(|t| (t.dtype.clone(), t.shape.clone()));
            format!("{name} {:?} {:?}", shape(found), shape(right))
        })
        .collect();
    assert!(wrong.is_empty(), "{case}: {wrong:#?}");
}

fn source(case: &str) -> Tensors {
    read(&data("golden").join(format!("pad_swizzle_{case}/source.safetensors")))
}

fn expected(case: &str, variant: &str) -> Tensors {
    let all = read(&data("golden").join(format!("pad_swizzle_{case}/expected.safetensors")));
    let of = |(name, tensor): (String, Stored)| {
        Some((name.strip_prefix(&format!("{variant}/"))?.to_string(), tensor))
    };
    all.into_iter().filter_map(of).collect()
}

#[test]
fn packed_layers_are_padded_and_tiled_as_the_reference_does() {
    for case in CASES {
        let files = one_file(&source(case), &[]);
        for (variant, pad, swizzle) in VARIANTS {
            for tile_bytes in [1, 100, 1 << 20] {
                let out = converted(&files, &request("", pad, swizzle), tile_bytes);
                assert_eq!(
                    weights(&out),
                    expected(case, variant),
                    "{case} {variant} in tiles of {tile_bytes}"
                );
            }
        }
    }
}

/// Weights that are packed in the same run lie as those that were packed before.
#[test]
fn fresh_layers_lie_as_stored_ones() {
    let folder = data("golden/_src/llama");
    let plain = files_of(&folder);
    for scheme in ["nvfp4", "nvfp4-mse"] {
        let packed = converted(&plain, &request(scheme, None, false), 1 << 20);
        for (variant, pad, swizzle) in VARIANTS {
            let later = converted(&packed, &request("", pad, swizzle), 1 << 20);
            for tile_bytes in [64, 1 << 20] {
                let at_once = converted(&plain, &request(scheme, pad, swizzle), tile_bytes);
                assert_same(
                    &weights(&at_once),
                    &weights(&later),
                    &format!("{scheme} {variant} in tiles of {tile_bytes}"),
                );
            }
        }
    }
}

/// Headers tell what padding is and where tiles are, as the reference tells the config.
#[test]
fn padding_and_tiles_come_off_again() {
    for case in CASES {
        let right = source(case);
        let files = one_file(&right, &[]);
        let values = weights(&converted(&files, &request("f32", None, false), 1 << 20));
        for (variant, pad, swizzle) in VARIANTS {
            let out = converted(&files, &request("", pad, swizzle), 1 << 20);
            let config = metadata(&out).into_iter().find(|(key, _)| key == "quantization_config").unwrap().1;
            let config: Value = serde_json::from_str(&config).unwrap();
            assert_eq!(config["quant_method"], "modelopt", "{case} {variant}");
            for tile_bytes in [1, 300, 1 << 20] {
                let back = converted(&out, &request("", Some("none"), false), tile_bytes);
                assert_same(&weights(&back), &right, &format!("{case} {variant} in tiles of {tile_bytes}"));
            }
            // What is decoded has the shape of the weight.
            let decoded = weights(&converted(&out, &request("f32", None, false), 1 << 20));
            assert_same(&decoded, &values, &format!("{case} {variant}"));
            // Nothing is asked: nothing of it is lost.
            let same = converted(&out, &request("", None, false), 1 << 20);
            assert!(same["model.safetensors"] == out["model.safetensors"], "{case} {variant}");
        }
    }
}

/// Without the note, tiles are told by their shapes where shapes tell, and the config that the reference writes into the
/// header; what the codes hold counts as the weight.
#[test]
fn tiles_of_the_reference_come_off_by_their_shapes() {
    for (case, variant, pad) in [
        ("16x256", "row+swizzle", "none"),
        ("20x80", "nopad+swizzle", "none"),
        ("130x144", "nopad+swizzle", "none"),
        ("130x144", "row+swizzle", "row"),
    ] {
        let config = json!({"quant_method": "modelopt", "quant_algo": "NVFP4"}).to_string();
        let files = one_file(&expected(case, variant), &[("quantization_config".into(), config)]);
        let out = converted(&files, &request("", Some("none"), false), 1 << 20);
        let right = if pad == "none" { source(case) } else { expected(case, pad) };
        assert_same(&weights(&out), &right, &format!("{case} {variant}"));
    }
}

/// What is written padded and tiled is sound, and is not taken for ComfyUI's.
#[test]
fn the_audit_agrees_with_what_is_written() {
    let plain = files_of(&data("golden/_src/llama"));
    for (variant, pad, swizzle) in VARIANTS {
        let out = converted(&plain, &request("nvfp4", pad, swizzle), 1 << 20);
        let inputs = out.iter().map(|(name, bytes)| InputFile {
            path: name.clone(),
            source: Rc::new(MemorySource::new(name.clone(), bytes.clone())),
        });
        let report = futures_executor::block_on(async {
            let mut session =
                Session::open("padded", inputs.collect(), Limits::default(), &Uncontrolled).await.unwrap();
            let engine = CpuEngine::new();
            let engines = Engines { gpu: None, cpu: &engine };
            session.verify(engines, &Uncontrolled).await.unwrap();
            serde_json::to_value(session.report().unwrap()).unwrap()
        });
        let findings = report["findings"].as_array().unwrap();
        let grave: Vec<&Value> = findings.iter().filter(|f| f["severity"] != "info").collect();
        assert!(grave.is_empty(), "{variant}: {grave:#?}");
        let schemes = report["summary"]["by_scheme"].as_object().unwrap();
        assert!(!schemes.contains_key("comfy-nvfp4"), "{variant}: {schemes:?}");
    }
}

#[test]
fn convolutions_are_left_out_or_refused() {
    let files = files_of(&data("golden/_src/wan_vae"));
    let with = |conv3d: &str| ConvertRequest {
        conv3d: Some(conv3d.into()),
        exclude: vec!["*conv_in*".into()],
        calibration_json: Some(json!({}).to_string()),
        ..request("nvfp4", Some("row"), true)
    };
    let plain = converted(&files, &ConvertRequest { pad: None, swizzle: false, ..with("lenient") }, 1 << 20);
    assert_same(&weights(&converted(&files, &with("lenient"), 1 << 20)), &weights(&plain), "at once");
    let packed =
        converted(&plain, &ConvertRequest { pad: Some("row".into()), ..request("", None, true) }, 1 << 20);
    assert_same(&weights(&packed), &weights(&plain), "later");
    let strict = ConvertRequest { conv3d: Some("strict".into()), ..request("", Some("row"), false) };
    let error = convert(&plain, &strict, None, &Limits::default()).unwrap_err();
    assert!(error.kind == "refused" && error.message.contains("neither pads nor tiles"), "{error}");
}

/// A note that contradicts the tensors is not believed.
#[test]
fn hostile_notes_change_nothing() {
    let right = source("20x80");
    let plain = weights(&converted(&one_file(&right, &[]), &request("f32", None, false), 1 << 20));
    for note in [
        json!({"shape": [0, 0], "scales": "rows"}),
        json!({"shape": [21, 80], "scales": "rows"}),
        json!({"shape": [20, u64::MAX], "scales": "rows"}),
        json!({"shape": [20, 81], "scales": "rows"}),
        json!({"shape": [20], "scales": 7}),
        json!({"shape": "20x80"}),
        json!([1, 2]),
        json!(null),
    ] {
        let text = json!({"layers": {"blk.proj": note}}).to_string();
        let files = one_file(&right, &[("quantscope_layout".into(), text.clone())]);
        assert_same(&weights(&converted(&files, &request("f32", None, false), 1 << 20)), &plain, &text);
    }
}
