//! `quantscope inspect`, `rules` and `audit`: the JSON contract, exit statuses, what is printed where.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::{copy_folder, data, edit, run, run_json};
use serde_json::Value;
use std::fs;

const SOUND: &str = "golden/e2e_llama_nvfp4/expected";
const PROMISED: &str = "golden/e2e_wan_vae_nvfp4_release/expected";

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("{value} is no object")).keys().map(String::as_str).collect()
}

#[test]
fn the_report_has_the_fields_of_the_contract() {
    let path = data(SOUND);
    let (code, report) = run_json(["inspect".as_ref(), path.as_os_str()]);
    assert_eq!(code, 0);
    assert_eq!(keys(&report), ["schema", "tool", "checkpoint", "layers", "ties", "findings", "summary"]);
    assert_eq!(report["schema"], 1);
    assert_eq!(keys(&report["tool"]), ["name", "version"]);
    assert_eq!(
        keys(&report["checkpoint"]),
        ["path", "shards", "tensors", "parameters", "bytes", "bits_per_weight", "declared"]
    );
    assert_eq!(report["checkpoint"]["path"].as_str(), path.to_str());
    assert_eq!(keys(&report["checkpoint"]["declared"]), ["quant_method", "quant_algo"]);
    assert_eq!(report["checkpoint"]["declared"]["quant_algo"], "NVFP4");
    let shard = &report["checkpoint"]["shards"][0];
    assert_eq!(keys(shard), ["file", "bytes", "tensors"]);
    assert_eq!(shard["bytes"].as_u64(), Some(fs::metadata(path.join("model.safetensors")).unwrap().len()));
    let layers = report["layers"].as_array().unwrap();
    for layer in layers {
        assert_eq!(keys(layer), ["name", "kind", "scheme", "shape", "bits_per_weight", "tensors"]);
    }
    let up = layers.iter().find(|layer| layer["name"] == "model.layers.0.mlp.up_proj").unwrap();
    assert_eq!((up["kind"].as_str(), up["scheme"].as_str()), (Some("linear"), Some("nvfp4")));
    assert_eq!(up["bits_per_weight"].as_f64(), Some(4.5));
    assert_eq!(keys(&up["tensors"]["weight"]), ["dtype", "shape", "file"]);
    assert_eq!(up["tensors"]["weight"]["dtype"], "U8");
    assert_eq!(keys(&report["summary"]), ["errors", "warnings", "infos", "by_scheme", "bytes_saved_by_ties"]);
}

#[test]
fn a_finding_has_the_fields_of_the_contract() {
    let (code, report) = run_json(["audit".as_ref(), data(PROMISED).as_os_str()]);
    assert_eq!(code, 1);
    let findings = report["findings"].as_array().unwrap();
    // Every promise that is not kept is an error, and that none is kept is a warning.
    assert_eq!(report["summary"]["errors"].as_u64(), Some(findings.len() as u64 - 1));
    for finding in findings {
        let expected =
            ["rule", "severity", "subject", "file", "message", "expected", "found", "fix", "repairable"];
        assert_eq!(keys(finding)[..9], expected);
        let kind = (finding["rule"].as_str(), finding["severity"].as_str());
        assert!(
            [(Some("CF302"), Some("error")), (Some("CV902"), Some("warning"))].contains(&kind),
            "{kind:?}"
        );
    }
}

#[test]
fn exit_statuses_are_the_contract() {
    let (sound, broken) = (data(SOUND), data(PROMISED));
    let (sound, broken) = (sound.to_str().unwrap(), broken.to_str().unwrap());
    let cases: [(&[&str], i32); 19] = [
        (&["inspect", sound], 0),
        (&["inspect", broken], 0),
        (&["audit", sound], 0),
        (&["audit", sound, "--fail-on", "warning"], 0),
        (&["audit", broken], 1),
        (&["audit", broken, "--headers-only"], 1),
        (&["audit", broken, "--fail-on", "warning"], 1),
        (&["audit", broken, "--fail-on", "never"], 0),
        (&["audit", broken, "--disable", "CF302"], 0),
        (&["audit", broken, "--disable", "cf302"], 0),
        (&["audit", sound, broken], 1),
        (&["audit", broken, "--disable", "CF999"], 2),
        (&["audit", "no-such-folder"], 2),
        (&["audit"], 2),
        (&["audit", sound, "--target", "ollama"], 2),
        (&["audit", sound, "--format", "yaml"], 2),
        (&["audit", sound, "--limit", "colour=3"], 2),
        (&["preview", sound], 2),
        (&["rules", "LK401"], 0),
    ];
    for (args, expected) in cases {
        let (code, _, complaint) = run(args);
        assert_eq!(code, expected, "{args:?}: {complaint}");
        let told = complaint.contains("error: ") || complaint.contains("quantscope: ");
        assert!(expected != 2 || told, "{args:?} says nothing");
    }
}

#[test]
fn what_can_be_read_but_is_broken_is_a_finding() {
    let root = tempfile::tempdir().unwrap();
    for (name, bytes) in [("empty", b"".as_slice()), ("text", b"this is no checkpoint"), ("zeros", &[0; 64])]
    {
        let path = root.path().join(format!("{name}.safetensors"));
        fs::write(&path, bytes).unwrap();
        let (code, report) = run_json(["audit".as_ref(), path.as_os_str()]);
        assert_eq!(code, 1, "{name}");
        assert_eq!(common::rules_of(&report).keys().collect::<Vec<_>>(), ["ST101"], "{name}");
    }
    let (code, document) = run_json(["audit".as_ref(), root.path().join("absent.safetensors").as_os_str()]);
    assert_eq!((code, document["error"]["kind"].as_str()), (2, Some("nothing")));
}

#[test]
fn several_checkpoints_are_several_reports() {
    let (code, document) =
        run_json(["inspect".as_ref(), data(SOUND).as_os_str(), data(PROMISED).as_os_str()]);
    assert_eq!(code, 0);
    let paths: Vec<&str> = document
        .as_array()
        .unwrap()
        .iter()
        .map(|report| report["checkpoint"]["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, [data(SOUND).to_str().unwrap(), data(PROMISED).to_str().unwrap()]);
}

#[test]
fn files_of_a_glob_are_one_checkpoint() {
    let pattern = data("golden/e2e_llama_nvfp4_sharded/expected").join("model-*.safetensors");
    let (code, report) = run_json(["inspect".as_ref(), pattern.as_os_str()]);
    assert_eq!(code, 0);
    assert!(report["checkpoint"]["shards"].as_array().unwrap().len() > 1, "{report}");
}

#[test]
fn people_read_the_verdict_first_and_no_escape_codes() {
    let (_, said, _) = run(["inspect".as_ref(), data(SOUND).as_os_str()]);
    let first = said.lines().next().unwrap();
    assert!(first.contains("Sound NVFP4 export"), "{said}");
    assert!(said.contains("bits per weight") && said.contains("linear"), "{said}");
    let (_, said, _) = run(["audit".as_ref(), data(PROMISED).as_os_str()]);
    assert!(said.lines().next().unwrap().contains("43 errors"), "{said}");
    assert!(said.contains("CF302") && said.contains("fix:") && said.contains("and 33 more"), "{said}");
    assert!(!said.contains('\u{1b}'), "no colour in a pipe");
}

#[test]
fn names_in_a_file_cannot_write_to_the_terminal() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("x.safetensors");
    let json = r#"{"a\u001b[2Jb._amax":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\u202e.q_quantizer._amax":{"dtype":"U8","shape":[1],"data_offsets":[4,5]}}"#;
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(json.as_bytes());
    file.extend_from_slice(&[0; 5]);
    fs::write(&path, file).unwrap();
    for command in ["inspect", "audit"] {
        let (_, said, complaint) = run([command.as_ref(), path.as_os_str()]);
        assert!(
            !said.contains(['\u{1b}', '\u{202e}']) && !complaint.contains(['\u{1b}', '\u{202e}']),
            "{said}"
        );
    }
}

#[test]
fn rules_are_explained() {
    let (code, document) = run_json(["rules"]);
    assert_eq!(code, 0);
    let rules = document["rules"].as_array().unwrap();
    let ids: Vec<&str> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    for id in [
        "LK401", "SC001", "SC002", "SH501", "SH502", "SH505", "CF301", "CF302", "CF307", "IX801", "IX806",
        "SV101", "SV102", "SV104", "TI702",
    ] {
        assert!(ids.contains(&id), "{id} is missing");
        let (code, said, _) = run(["rules", id]);
        assert!(code == 0 && said.contains(id) && said.contains("Fix:"), "{said}");
    }
    let (code, said, _) = run(["rules"]);
    assert!(code == 0 && ids.iter().all(|id| said.contains(id)));
    assert_eq!(run(["rules", "XX001"]).0, 2);
}

#[test]
fn headers_only_reads_no_scale() {
    let root = tempfile::tempdir().unwrap();
    copy_folder(&data(SOUND), root.path());
    // A NaN scale is in the bytes, not in the header.
    edit(root.path(), |tensors| {
        let scale = tensors.get_mut("model.layers.0.mlp.up_proj.weight_scale").unwrap();
        scale.bytes[0] = 0x7F;
    });
    let (code, _, _) = run(["audit".as_ref(), root.path().as_os_str(), "--headers-only".as_ref()]);
    assert_eq!(code, 0);
    let (code, report) = run_json(["audit".as_ref(), root.path().as_os_str()]);
    assert_eq!(code, 1);
    assert_eq!(common::rules_of(&report).keys().collect::<Vec<_>>(), ["SV101"]);
}

#[test]
fn limits_hold() {
    let path = data(SOUND);
    let (code, report) =
        run_json(["audit".as_ref(), path.as_os_str(), "--limit".as_ref(), "tensors=3".as_ref()]);
    assert_eq!(code, 1);
    assert!(common::rules_of(&report).contains_key("ST106"), "{}", report["findings"]);
    // Any tile size gives the same report.
    let (_, whole) = run_json(["audit".as_ref(), path.as_os_str()]);
    let (_, small) = run_json(["audit".as_ref(), path.as_os_str(), "--limit".as_ref(), "tile=64".as_ref()]);
    assert_eq!(whole, small);
}
