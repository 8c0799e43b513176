//! Sound exports damaged in one place each: the audit names that fault and no other.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::{Tensor, copy_folder, data, edit, read_json, rules_of, run_json, shards};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const LLAMA: &str = "golden/e2e_llama_nvfp4/expected";
const VAE: &str = "golden/e2e_wan_vae_nvfp4_conv3d/expected";
const SHARDED: &str = "golden/e2e_llama_nvfp4_sharded/expected";

/// Audits a damaged copy; gives the report.
fn audit(of: &str, damage: impl FnOnce(&Path)) -> Value {
    let root = tempfile::tempdir().unwrap();
    copy_folder(&data(of), root.path());
    damage(root.path());
    let (code, report) = run_json(["audit".as_ref(), root.path().as_os_str()]);
    let errors = report["summary"]["errors"].as_u64().unwrap();
    assert_eq!(code, i32::from(errors > 0), "{report}");
    report
}

/// The report must hold findings of this rule alone; gives them.
fn only(report: &Value, rule: &str) -> Vec<Value> {
    let rules = rules_of(report);
    assert_eq!(rules.keys().collect::<Vec<_>>(), [rule], "{}", report["findings"]);
    report["findings"].as_array().unwrap().clone()
}

#[test]
fn the_undamaged_copies_are_sound() {
    for of in [LLAMA, VAE, SHARDED] {
        let report = audit(of, |_| {});
        assert_eq!(report["findings"], json!([]), "{of}");
    }
}

#[test]
fn a_leaked_maximum() {
    for (of, module) in [(LLAMA, "model.layers.0.mlp.up_proj"), (VAE, "decoder.conv_out")] {
        let name = format!("{module}.input_quantizer._amax");
        let report = audit(of, |folder| {
            edit(folder, |tensors| {
                let leaked =
                    Tensor { dtype: safetensors::Dtype::F32, shape: vec![], bytes: vec![0, 0, 128, 63] };
                assert!(tensors.insert(name.clone(), leaked).is_none());
            });
        });
        let findings = only(&report, "LK401");
        assert_eq!(findings.len(), 1);
        assert!(findings[0].to_string().contains(&name), "{}", findings[0]);
    }
}

#[test]
fn a_missing_global_scale() {
    for (of, module) in [(LLAMA, "model.layers.0.mlp.up_proj"), (VAE, "decoder.conv_out")] {
        let report = audit(of, |folder| {
            edit(folder, |tensors| assert!(tensors.remove(&format!("{module}.weight_scale_2")).is_some()));
        });
        let findings = only(&report, "SC002");
        assert_eq!(findings.len(), 1);
        assert!(findings[0]["subject"].as_str().unwrap().starts_with(module), "{}", findings[0]);
    }
}

#[test]
fn a_halved_block_scale() {
    for (of, module) in [(LLAMA, "model.layers.0.mlp.down_proj"), (VAE, "encoder.conv_out")] {
        let report = audit(of, |folder| {
            edit(folder, |tensors| {
                let scale = tensors.get_mut(&format!("{module}.weight_scale")).unwrap();
                let (rows, cols) = (scale.shape[0], scale.shape[1]);
                let half = cols / 2;
                scale.bytes = scale.bytes.chunks(cols).flat_map(|row| row[..half].to_vec()).collect();
                scale.shape = vec![rows, half];
            });
        });
        let findings = only(&report, "SH501");
        assert_eq!(findings.len(), 1);
        assert!(findings[0]["subject"].as_str().unwrap().starts_with(module), "{}", findings[0]);
    }
}

#[test]
fn a_truncated_shard() {
    let report = audit(SHARDED, |folder| {
        let shard = shards(folder).pop().unwrap();
        let file = fs::OpenOptions::new().write(true).open(&shard).unwrap();
        file.set_len(file.metadata().unwrap().len() - 3).unwrap();
    });
    let findings = only(&report, "IX804");
    assert_eq!(findings.len(), 1);
    assert!(findings[0]["message"].as_str().unwrap().contains("3 bytes"), "{}", findings[0]);
}

#[test]
fn a_wrong_index_entry() {
    let report = audit(SHARDED, |folder| {
        let path = folder.join("model.safetensors.index.json");
        let mut index = read_json(&path);
        let map = index["weight_map"].as_object_mut().unwrap();
        let mut files: Vec<Value> = map.values().cloned().collect();
        files.dedup();
        let entry = map.values_mut().next().unwrap();
        *entry = files.into_iter().find(|file| *file != *entry).unwrap();
        fs::write(path, index.to_string()).unwrap();
    });
    let findings = only(&report, "IX802");
    assert_eq!(findings.len(), 1);
}

#[test]
fn a_missing_shard_and_an_index_that_leaves_the_folder() {
    let report = audit(SHARDED, |folder| fs::remove_file(shards(folder).pop().unwrap()).unwrap());
    assert_eq!(rules_of(&report).get("IX801"), Some(&1), "{}", report["findings"]);
    let report = audit(SHARDED, |folder| {
        let path = folder.join("model.safetensors.index.json");
        let mut index = read_json(&path);
        index["weight_map"]["stolen.weight"] = json!("../../../etc/passwd");
        fs::write(path, index.to_string()).unwrap();
    });
    assert_eq!(rules_of(&report).get("IX809"), Some(&1), "{}", report["findings"]);
}
