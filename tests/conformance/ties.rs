//! Ties: the golden cases with the maxima of the two sides exchanged, what is saved, finished checkpoints whose copies
//! are dropped, and copies written again.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_format::{Limits, MemorySource, Uncontrolled};
use quantscope_session::api::{ConvertRequest, PlanView, SessionError, TieReport};
use quantscope_session::{CpuEngine, Engines, InputFile, Session};
use quantscope_tests::data;
use quantscope_tests::jobs::{Files, convert, files_of, weights};
use quantscope_tests::manifest::{json_of, manifest};
use quantscope_tests::tensors::{Tensors, file_of, floats, parse, read};
use serde_json::{Map, Value};
use std::rc::Rc;

const CASE: &str = "golden-pr/tied/nvfp4_canonical_on";

fn request(to: &str) -> ConvertRequest {
    ConvertRequest { to: to.into(), ..ConvertRequest::default() }
}

fn under_decoder(to: &str) -> ConvertRequest {
    ConvertRequest { canonical: Some("model.decoder".into()), ..request(to) }
}

fn written(files: &Files, request: &ConvertRequest) -> Files {
    convert(files, request, None, &Limits::default()).unwrap()
}

fn plan(files: &Files, request: &ConvertRequest) -> Result<PlanView, SessionError> {
    let inputs = files.iter().map(|(path, bytes)| InputFile {
        path: path.clone(),
        source: Rc::new(MemorySource::new(path.clone(), bytes.clone())),
    });
    futures_executor::block_on(async {
        let session =
            Session::open("checkpoint", inputs.collect(), Limits::default(), &Uncontrolled).await.unwrap();
        session.plan(request)
    })
}

/// What the audit of all bytes says of ties.
fn audited(files: &Files) -> TieReport {
    let inputs = files.iter().map(|(path, bytes)| InputFile {
        path: path.clone(),
        source: Rc::new(MemorySource::new(path.clone(), bytes.clone())),
    });
    let cpu = CpuEngine::new();
    futures_executor::block_on(async {
        let mut session =
            Session::open("checkpoint", inputs.collect(), Limits::default(), &Uncontrolled).await.unwrap();
        session.verify(Engines { gpu: None, cpu: &cpu }, &Uncontrolled).await.unwrap();
        session.ties()
    })
}

/// Whether two files hold the same; a failure names the tensors, not their bytes.
fn assert_same(found: &Tensors, right: &Tensors, case: &str) {
    let names = found.keys().chain(right.keys());
    let wrong: Vec<&String> = names.filter(|name| found.get(*name) != right.get(*name)).collect();
    assert!(wrong.is_empty(), "{case}: {wrong:#?}");
}

fn calibration(case: &str) -> Value {
    json_of(&data(case).join("case.json"))["calibrated_amax_before_merge"].take()
}

fn duplicated() -> Files {
    files_of(&data(CASE).join("source_duplicated"))
}

/// The finished checkpoint with both copies, each calibrated apart.
fn finished() -> Files {
    let apart = ConvertRequest {
        ties: Some("off".into()),
        calibration_json: Some(calibration(CASE).to_string()),
        ..under_decoder("nvfp4")
    };
    written(&duplicated(), &apart)
}

/// The two sides' maxima exchanged.
fn exchanged(calibration: &str) -> String {
    let maxima: Map<String, Value> = serde_json::from_str(calibration).unwrap();
    let swap = |key: String| {
        let (one, other) = ("encoder.", "decoder.");
        if key.contains(one) { key.replace(one, other) } else { key.replace(other, one) }
    };
    let swapped: Map<String, Value> = maxima.into_iter().map(|(key, amax)| (swap(key), amax)).collect();
    Value::Object(swapped).to_string()
}

#[test]
fn it_does_not_matter_which_side_has_the_larger_maximum() {
    let mut compared = 0;
    for case in manifest().case.iter().filter(|c| c.family == "ties" && c.expected.contains("tied")) {
        for mut job in case.jobs() {
            let Some(maxima) = job.request.calibration_json.clone().filter(|m| m.contains("encoder.")) else {
                continue;
            };
            job.request.calibration_json = Some(exchanged(&maxima));
            assert_ne!(job.request.calibration_json, Some(maxima));
            assert_same(&weights(&written(&job.files, &job.request)), &job.expected, &job.name);
            compared += 1;
        }
    }
    assert!(compared >= 7, "only {compared}");
}

/// What the reference's own saving drops is what the plan promises to save.
#[test]
fn the_savings_are_those_of_the_reference() {
    let stated = json_of(&data(CASE).join("case.json"))["bytes"]["saved_by_hf_dedup"].as_u64();
    for request in [under_decoder("nvfp4"), under_decoder("")] {
        assert_eq!(Some(plan(&duplicated(), &request).unwrap().bytes_tied), stated, "{}", request.to);
    }
    let off = ConvertRequest { ties: Some("off".into()), ..under_decoder("nvfp4") };
    assert_eq!(plan(&duplicated(), &off).unwrap().bytes_tied, 0);
    let mut compared = 0;
    for case in manifest().case.iter().filter(|case| case.expected.starts_with("golden-pr/tied/")) {
        let folder = case.expected.trim_end_matches("/expected");
        let stated = json_of(&data(folder).join("case.json"))["bytes"]["saved_by_hf_dedup"].as_u64();
        for job in case.jobs() {
            assert_eq!(Some(plan(&job.files, &job.request).unwrap().bytes_tied), stated, "{}", job.name);
            compared += 1;
        }
    }
    assert_eq!(compared, 5);
    let out = weights(&written(&duplicated(), &under_decoder("")));
    let kept: usize = out.values().map(|t| t.bytes.len()).sum();
    let all: usize = weights(&duplicated()).values().map(|t| t.bytes.len()).sum();
    assert_eq!(u64::try_from(all - kept).ok(), stated);
    let deduplicated = read(&data(CASE).join("source/model.safetensors"));
    assert_same(&out, &deduplicated, "as the reference saves the model");
}

/// The audit finds the same by equal bytes, but for vectors: norms of a fresh model are equal without being tied.
#[test]
fn the_audit_reports_the_savings_of_the_reference() {
    let vectors = |files: &Files| {
        let copied =
            weights(files).into_iter().filter(|(name, _)| name.contains("encoder.") && name.contains("norm"));
        copied.map(|(_, tensor)| tensor.bytes.len() as u64).sum::<u64>()
    };
    let stated = json_of(&data(CASE).join("case.json"))["bytes"]["saved_by_hf_dedup"].as_u64().unwrap();
    for (folder, saved) in [("source_duplicated", stated), ("source", 0)] {
        let files = files_of(&data(CASE).join(folder));
        let report = audited(&files);
        let found = report.groups.iter().map(|group| group.bytes_saved).sum::<u64>();
        assert_eq!(report.bytes_saved, found);
        let left_out = if saved == 0 { 0 } else { vectors(&files) };
        assert_eq!(found + left_out, saved, "{folder}: {:#?}", report.groups);
    }
}

/// The copies of a finished checkpoint are dropped, companions and all; activation scales become the larger.
#[test]
fn copies_of_a_finished_checkpoint_are_dropped() {
    let files = finished();
    let expected = read(&data(CASE).join("expected/model.safetensors"));
    assert_same(&weights(&written(&files, &under_decoder(""))), &expected, "by name");
    let declared = ConvertRequest {
        declared_ties: vec![r"model.encoder\.(?:[^.]+\.)*weight=model.decoder\.(?:[^.]+\.)*weight".into()],
        ..request("")
    };
    let found = weights(&written(&files, &declared));
    let mut right = expected.clone();
    let biases = weights(&files).into_iter().filter(|(name, _)| name.ends_with("layernorm.bias"));
    right.extend(biases);
    assert_same(&found, &right, "declared; biases stay");
    let keep = ConvertRequest { ties: Some("keep-input-scale".into()), ..under_decoder("") };
    let found = weights(&written(&files, &keep));
    let scale = "self_attn.o_proj.input_scale";
    let own = weights(&files);
    for side in ["encoder", "decoder"] {
        let name = format!("model.{side}.layers.0.{scale}");
        assert_eq!(found[&name], own[&name]);
    }
    let [e, d] = ["encoder", "decoder"].map(|side| floats(&own[&format!("model.{side}.layers.0.{scale}")]));
    assert_ne!(e, d);
    assert!(!found.contains_key("model.encoder.layers.0.self_attn.o_proj.weight_scale"));
}

/// The scales of FP8 blocks go with their weight, which the reference forgets.
#[test]
fn inverse_scales_go_with_their_weight() {
    let apart = ConvertRequest { ties: Some("off".into()), ..under_decoder("fp8-block") };
    let files = written(&duplicated(), &apart);
    assert!(weights(&files).contains_key("model.encoder.layers.0.self_attn.q_proj.weight_scale_inv"));
    let found = weights(&written(&files, &under_decoder("")));
    let left: Vec<&String> = found.keys().filter(|name| name.starts_with("model.encoder")).collect();
    assert!(left.iter().all(|name| name.ends_with("layer_scalar")), "{left:?}");
    assert_same(&found, &weights(&written(&duplicated(), &under_decoder("fp8-block"))), "at once");
}

/// All of a layer goes, or none of it.
#[test]
fn a_layer_whose_copy_is_not_whole_stays() {
    let files = finished();
    let (tensors, metadata) = parse(&files["model.safetensors"]);
    let layer = "model.encoder.layers.0.self_attn.q_proj";
    for (what, part) in
        [("missing", "weight_scale_2"), ("different", "weight_scale"), ("different", "weight")]
    {
        for side in ["encoder", "decoder"] {
            let mut tensors = tensors.clone();
            let name = format!("{layer}.{part}").replace("encoder", side);
            if what == "missing" {
                tensors.remove(&name).unwrap();
            } else {
                tensors.get_mut(&name).unwrap().bytes[3] ^= 1;
            }
            let mut files = files.clone();
            files.insert("model.safetensors".into(), file_of(&tensors, &metadata));
            let found = weights(&written(&files, &under_decoder("")));
            for (name, tensor) in tensors.iter().filter(|(name, _)| name.starts_with(layer)) {
                assert_eq!(found.get(name), Some(tensor), "{what} {part} of the {side}");
            }
            assert!(!found.contains_key("model.encoder.layers.0.self_attn.k_proj.weight"));
            let declared = ConvertRequest {
                declared_ties: vec!["model.encoder.layers=model.decoder.layers".into()],
                ..request("")
            };
            if what == "different" {
                let error = convert(&files, &declared, None, &Limits::default()).unwrap_err();
                assert_eq!(error.kind, "refused", "{error}");
                assert!(
                    error.message.contains(&format!("{layer}.{part}")) && error.message.contains("differ"),
                    "{error}"
                );
            }
        }
    }
}

/// The activation scale of a layer that is taken over comes from one side: the other's must not be lost silently.
#[test]
fn copies_are_not_dropped_while_their_form_changes() {
    let files = finished();
    let error = convert(&files, &under_decoder("ct-nvfp4"), None, &Limits::default()).unwrap_err();
    assert_eq!(error.kind, "refused", "{error}");
    assert!(error.message.contains("drop the copies first"), "{error}");
    let first = written(&files, &under_decoder(""));
    let names = weights(&written(&first, &request("ct-nvfp4")));
    assert!(names.contains_key("model.decoder.layers.0.self_attn.q_proj.input_global_scale"));
    assert!(!names.contains_key("model.encoder.layers.0.self_attn.q_proj.input_global_scale"));
}

#[test]
fn declared_ties_that_differ_are_refused_by_name() {
    let mut files = duplicated();
    let (mut tensors, metadata) = parse(&files["model.safetensors"]);
    tensors.get_mut("model.encoder.layers.1.self_attn.q_proj.weight").unwrap().bytes[0] ^= 1;
    files.insert("model.safetensors".into(), file_of(&tensors, &metadata));
    for ties in ["model.encoder.*=model.decoder.*", "model.encoder=model.decoder"] {
        let request = ConvertRequest { declared_ties: vec![ties.into()], ..request("nvfp4") };
        let error = convert(&files, &request, None, &Limits::default()).unwrap_err();
        assert_eq!(error.kind, "refused", "{error}");
        assert!(error.message.contains("model.encoder.layers.1.self_attn.q_proj.weight"), "{error}");
        assert!(!error.message.contains("layers.0"), "{error}");
    }
}

/// What stands in for both sides is written for both again; dropping the copies gives the same as before.
#[test]
fn copies_are_written_again_on_request() {
    let expected = read(&data(CASE).join("expected/model.safetensors"));
    let maxima = calibration(CASE).to_string();
    let expand = |to: &str, source: &Files, calibration: Option<&String>| {
        let request = ConvertRequest {
            declared_ties: vec!["model.encoder=model.decoder".into()],
            expand_ties: true,
            calibration_json: calibration.cloned(),
            ..request(to)
        };
        written(source, &request)
    };
    let single = files_of(&data(CASE).join("source"));
    for (case, source) in [("both copies", duplicated()), ("one copy", single)] {
        let out = expand("nvfp4", &source, Some(&maxima));
        let found = weights(&out);
        let mut pairs = 0;
        for (name, tensor) in found.iter().filter(|(name, _)| name.starts_with("model.encoder.layers")) {
            let twin = name.replace("encoder", "decoder");
            if let Some(twin) = found.get(&twin) {
                assert!(twin == tensor, "{case}: {name}");
                pairs += 1;
            }
        }
        assert!(pairs > 100, "{case}: {pairs} tensors have twins");
        assert!(found["lm_head.weight"] == found["model.decoder.embed_tokens.weight"], "{case}");
        for (name, tensor) in &expected {
            assert!(found.get(name) == Some(tensor), "{case}: {name}");
        }
        assert_same(&weights(&written(&out, &under_decoder(""))), &expected, case);
    }
    // A finished checkpoint with one copy.
    let one = files_of(&data(CASE).join("expected"));
    let found = weights(&expand("", &one, None));
    for name in
        found.keys().filter(|name| name.starts_with("model.encoder.layers") && !name.ends_with("scalar"))
    {
        assert!(found[name] == expected[&name.replace("encoder", "decoder")], "{name}");
    }
    assert!(found.len() > expected.len() + 100, "{} {}", found.len(), expected.len());
}
