//! Layers joined to the matrices that runtimes hold: from plain weights, and of what is quantized already. What must come
//! out is what the reference wrote for the single layers, one after another.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use quantscope_format::Limits;
use quantscope_session::api::{ConvertRequest, SessionError};
use quantscope_tests::data;
use quantscope_tests::jobs::{Files, convert, files_of, weights};
use quantscope_tests::manifest::{Job, manifest};
use quantscope_tests::tensors::{Tensors, read};
use serde_json::{Value, json};

/// Members and what they are joined to.
const GROUPS: [(&[&str], &str); 3] = [
    (&["q_proj", "k_proj", "v_proj"], "qkv_proj"),
    (&["gate_proj", "up_proj"], "gate_up_proj"),
    (&["w1", "w3"], "w13"),
];

fn asked(files: &Files, request: &ConvertRequest) -> Result<Files, SessionError> {
    convert(files, request, None, &Limits::default())
}

fn fused(files: &Files, to: &str) -> Result<Files, SessionError> {
    asked(files, &ConvertRequest { to: to.into(), fuse: true, ..ConvertRequest::default() })
}

/// The job of `cases.toml` that must give this folder.
fn job(expected: &str) -> Job {
    let manifest = manifest();
    let case = manifest.case.iter().find(|case| case.expected == expected).unwrap();
    case.jobs().into_iter().next().unwrap()
}

/// Tensors with groups put together by hand: rows after rows, of numbers the largest.
fn together(tensors: &Tensors) -> Tensors {
    let mut all = tensors.clone();
    for (members, name) in GROUPS {
        let firsts: Vec<String> =
            all.keys().filter(|key| key.contains(&format!(".{}.", members[0]))).cloned().collect();
        for first in firsts {
            let mut whole = all[&first].clone();
            let others =
                members.iter().map(|m| first.replace(&format!(".{}.", members[0]), &format!(".{m}.")));
            let others: Vec<_> = others.map(|key| all.remove(&key).unwrap()).collect();
            if whole.shape.is_empty() {
                let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
                let largest = others.iter().map(|t| number(&t.bytes)).fold(0.0, f32::max);
                whole.bytes = largest.to_le_bytes().to_vec();
            } else {
                whole.shape[0] = others.iter().map(|t| t.shape[0]).sum();
                whole.bytes = others.into_iter().flat_map(|t| t.bytes).collect();
            }
            all.insert(first.replace(&format!(".{}.", members[0]), &format!(".{name}.")), whole);
        }
    }
    all
}

fn assert_same(found: &Tensors, expected: &Tensors, what: &str) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}");
    for (name, tensor) in expected {
        let found = &found[name];
        assert_eq!((&found.dtype, &found.shape), (&tensor.dtype, &tensor.shape), "{what}: {name}");
        assert!(found.bytes == tensor.bytes, "{what}: {name} differs");
    }
}

#[test]
fn plain_layers_are_quantized_jointly() {
    for expected in ["golden/e2e_llama_nvfp4/expected", "golden/e2e_mixtral_nvfp4/expected"] {
        let mut job = job(expected);
        job.request.fuse = true;
        let written = asked(&job.files, &job.request).unwrap();
        assert_same(&weights(&written), &together(&job.expected), expected);
    }
    // Per row or per row of blocks, nothing is shared. Of one scale for all, the larger counts: the codes are others.
    for (expected, shares) in [
        ("golden/e2e_llama_fp8_pc_pt/expected", false),
        ("golden/e2e_llama_int8/expected", false),
        ("golden/e2e_llama_int4/expected", false),
        ("golden/e2e_llama_mxfp4/expected", false),
        ("golden/e2e_llama_mxfp8/expected", false),
        ("golden/e2e_llama_fp8/expected", true),
    ] {
        let mut job = job(expected);
        job.request.fuse = true;
        let mut found = weights(&asked(&job.files, &job.request).unwrap());
        let mut right = together(&job.expected);
        if shares {
            let codes =
                |name: &String| name.ends_with("qkv_proj.weight") || name.ends_with("gate_up_proj.weight");
            assert!(
                right.keys().filter(|name| codes(name)).all(|name| found[name].shape == right[name].shape)
            );
            found.retain(|name, _| !codes(name));
            right.retain(|name, _| !codes(name));
        }
        assert_same(&found, &right, expected);
    }
}

#[test]
fn quantized_layers_are_joined_where_their_scales_are_one() {
    for case in
        ["llama_nvfp4", "llama_w4a16_nvfp4", "mixtral_nvfp4", "llama_mxfp4", "llama_int4", "llama_fp8_pc_pt"]
    {
        let folder = data(&format!("golden/e2e_{case}/expected"));
        let written = fused(&files_of(&folder), "").unwrap();
        assert_same(&weights(&written), &together(&read(&folder)), case);
    }
    for (case, reason) in [
        ("llama_fp8", "would stand for several that differ"),
        ("llama_fp8_pb_w8a8", "no whole tiles of 128"),
        ("llama_fp8_pb_wo", "the 64 rows of one are no whole tiles of 128"),
    ] {
        let files = files_of(&data(&format!("golden/e2e_{case}/expected")));
        let error = fused(&files, "").map(|_| ()).unwrap_err();
        assert_eq!(error.kind, "refused", "{case}: {error}");
        assert!(error.message.contains(reason) && error.message.contains("jointly"), "{case}: {error}");
    }
}

#[test]
fn layers_of_two_schemes_are_not_joined() {
    let request = ConvertRequest {
        to: "nvfp4".into(),
        layers: vec!["*.q_proj=fp8".into()],
        ..ConvertRequest::default()
    };
    let mixed = asked(&files_of(&data("golden/_src/llama")), &request).unwrap();
    let error = fused(&mixed, "").unwrap_err();
    let said = ["q_proj", "one is stored as fp8, another as nvfp4"]
        .iter()
        .all(|words| error.message.contains(words));
    assert!(said, "{error}");
}

/// Joining and splitting again is no change, in values and configs.
#[test]
fn what_was_joined_comes_apart_again() {
    let folder = data("golden/e2e_llama_mixed_nvfp4_fp8_pb/expected");
    let rules =
        json!({"splits": [{"fused_suffix": ".gate_up_proj", "part_suffixes": [".gate_proj", ".up_proj"]}]});
    let groups = vec![vec!["gate_proj".to_string(), "up_proj".to_string()]];
    let join = |files: &Files| {
        asked(files, &ConvertRequest { fuse: true, fuse_groups: groups.clone(), ..ConvertRequest::default() })
    };
    let joined = join(&files_of(&folder)).unwrap();
    let quantized = |files: &Files| {
        let hf: Value = serde_json::from_slice(&files["hf_quant_config.json"]).unwrap();
        let layers = hf["quantization"]["quantized_layers"].as_object().unwrap().clone();
        layers.into_iter().collect::<std::collections::BTreeMap<_, _>>()
    };
    assert!(quantized(&joined).keys().any(|name| name.ends_with("gate_up_proj")), "{:?}", quantized(&joined));
    assert!(!quantized(&joined).keys().any(|name| name.ends_with(".up_proj")), "{:?}", quantized(&joined));
    let request = ConvertRequest { rename_json: Some(rules.to_string()), ..ConvertRequest::default() };
    let apart = asked(&joined, &request).unwrap();
    assert_same(&weights(&apart), &read(&folder), "split again");
    assert_eq!(quantized(&apart), quantized(&files_of(&folder)));
}

/// Plain numbers are joined and cast in one go.
#[test]
fn plain_layers_are_joined_as_they_are() {
    let files = files_of(&data("golden/_src/llama"));
    for to in ["", "f32"] {
        let single = asked(&files, &ConvertRequest { to: to.into(), ..ConvertRequest::default() }).unwrap();
        let written = fused(&files, to).unwrap();
        assert_same(&weights(&written), &together(&weights(&single)), to);
    }
}

#[test]
fn layers_that_are_treated_differently_are_not_joined() {
    let files = files_of(&data("golden/_src/llama"));
    let request = |layers: &[&str]| ConvertRequest {
        to: "nvfp4".into(),
        fuse: true,
        layers: layers.iter().map(ToString::to_string).collect(),
        ..ConvertRequest::default()
    };
    let error = asked(&files, &request(&["*.q_proj=keep"])).unwrap_err();
    assert!(error.message.contains("qkv_proj") && error.message.contains("treats differently"), "{error}");
    let kept = asked(&files, &request(&["*.q_proj=keep", "*.k_proj=keep", "*.v_proj=keep"])).unwrap();
    let name = "model.layers.0.self_attn.qkv_proj.weight";
    assert_eq!(weights(&kept)[name].dtype, "BF16");
    let packed = asked(&files, &request(&["*.qkv_proj=fp8"])).unwrap();
    assert_eq!(weights(&packed)[name].dtype, "F8_E4M3");
    // A layer that is quantized already changes its values in another conversion.
    let quantized = files_of(&data("golden/e2e_llama_nvfp4/expected"));
    let error = fused(&quantized, "bf16").unwrap_err();
    assert!(error.message.contains("in another"), "{error}");
}
