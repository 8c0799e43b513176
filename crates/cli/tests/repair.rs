//! `quantscope repair`: the leaks of the golden data, and a checkpoint with ten planted faults.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::{
    Tensor, Tensors, copy_folder, data, read_folder, read_json, read_shard, rules_of, run, run_json,
    write_shard,
};
use safetensors::tensor::Dtype;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

fn repair(source: &Path, out: &Path, more: &[&str]) -> (i32, Value) {
    let mut args = vec!["repair", source.to_str().unwrap(), "-o", out.to_str().unwrap()];
    args.extend(more);
    run_json(args)
}

fn audit(folder: &Path) -> (i32, Value) {
    run_json(["audit", folder.to_str().unwrap()])
}

/// The reference's own export is what its leaked state becomes once it is repaired.
#[test]
fn leaks_are_stripped_as_the_reference_does() {
    let mut compared = 0;
    for case in [
        "conv3d_packed_plus_amax",
        "fused_experts_leak",
        "llama_nvfp4_kv_packed_plus_amax",
        "llama_nvfp4_packed_plus_amax",
    ] {
        let folder = data("golden-pr/leaks").join(case);
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        let (code, done) = repair(&folder.join("source"), &out, &["--rule", "LK401"]);
        assert_eq!(code, 0, "{case}: {done}");
        let (found, expected) = (read_folder(&out), read_folder(&folder.join("expected")));
        let names = |tensors: &Tensors| tensors.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(&expected), "{case}");
        let description = read_json(&folder.join("case.json"));
        for name in description["must_match_bytes"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            assert_eq!(found[name], expected[name], "{case}: {name}");
            compared += 1;
        }
    }
    assert!(compared > 80, "{compared}");
}

/// Weights that were never packed stay as they are; only the state beside them goes. Without a rule all is mended.
#[test]
fn state_beside_plain_weights_is_stripped() {
    for source in ["llama_fp8_unpacked_amax/source", "conv3d_packed_plus_amax/source_unpacked"] {
        let folder = data("golden-pr/leaks").join(source);
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        // Tiles may be as large as any number says.
        let (code, done) = repair(&folder, &out, &["--limit", "tile=18446744073709551615"]);
        assert_eq!(code, 0, "{source}: {done}");
        let mut right = read_folder(&folder);
        let before = right.len();
        right.retain(|name, _| !name.contains("_quantizer"));
        assert!(right.len() < before, "{source}");
        let found = read_folder(&out);
        assert_eq!(found.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>(), "{source}");
        for (name, tensor) in &right {
            assert!(found[name] == *tensor, "{source}: {name}");
        }
    }
}

/// A golden export in two shards, with an index.
fn two_shards(root: &Path) -> (Tensors, Tensors) {
    copy_folder(&data("golden/e2e_llama_nvfp4/expected"), root);
    let (mut first, metadata) = read_shard(&root.join("model.safetensors"));
    fs::remove_file(root.join("model.safetensors")).unwrap();
    let second = first.split_off("model.layers.1");
    write(root, &first, &second, metadata);
    (first, second)
}

const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
const INDEX: &str = "model.safetensors.index.json";

fn write(root: &Path, first: &Tensors, second: &Tensors, metadata: HashMap<String, String>) {
    write_shard(&root.join(SHARDS[0]), first, metadata.clone());
    write_shard(&root.join(SHARDS[1]), second, metadata);
    let map: BTreeMap<&String, &str> =
        first.keys().map(|n| (n, SHARDS[0])).chain(second.keys().map(|n| (n, SHARDS[1]))).collect();
    let total: usize = first.values().chain(second.values()).map(|t| t.bytes.len()).sum();
    let index = json!({"metadata": {"total_size": total}, "weight_map": map});
    fs::write(root.join(INDEX), index.to_string()).unwrap();
}

fn change_json(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = read_json(path);
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// Plants ten faults of different rules.
fn plant(root: &Path) {
    let (mut first, mut second) = two_shards(root);
    let scalar =
        |value: f32| Tensor { dtype: Dtype::F32, shape: vec![], bytes: value.to_le_bytes().to_vec() };
    // 1, 2: leaked state, one a maximum that must not be lost.
    first.insert("model.layers.0.mlp.up_proj.weight_quantizer._amax".into(), scalar(3.0));
    first.insert("model.layers.0.self_attn.k_bmm_quantizer._amax".into(), scalar(448.0));
    first.insert("model.layers.0.self_attn.v_bmm_quantizer._amax".into(), scalar(896.0));
    // 3: a tensor in both shards.
    second.insert("model.embed_tokens.weight".into(), first["model.embed_tokens.weight"].clone());
    write(root, &first, &second, HashMap::from([("format".into(), "pt".into())]));
    // 4, 5, 6: the index.
    change_json(&root.join(INDEX), |index| {
        index["metadata"]["total_size"] = json!(1);
        let map = index["weight_map"].as_object_mut().unwrap();
        map.insert("model.layers.1.mlp.up_proj.weight".into(), json!(SHARDS[0]));
        map.insert("model.embed_tokens.weight".into(), json!(SHARDS[0]));
        map.remove("model.norm.weight").unwrap();
    });
    // 7: excluded although quantized; 8: plain although promised. 9: the two configs disagree.
    change_json(&root.join("config.json"), |config| {
        config["quantization_config"]["ignore"] = json!(["model.embed_tokens", "model.layers.1.mlp*"]);
    });
    change_json(&root.join("hf_quant_config.json"), |config| {
        config["quantization"]["exclude_modules"] = json!(["lm_head", "model.embed_tokens"]);
    });
    // 10: a header that only tolerant readers take.
    let path = root.join(SHARDS[1]);
    let file = fs::read(&path).unwrap();
    let length = usize::try_from(u64::from_le_bytes(file[..8].try_into().unwrap())).unwrap();
    let header = String::from_utf8(file[8..8 + length].to_vec()).unwrap();
    let header = header.replacen("{\"format\":\"pt\"}", "null", 1);
    let mut odd = (header.len() as u64).to_le_bytes().to_vec();
    odd.extend(header.into_bytes());
    odd.extend(&file[8 + length..]);
    fs::write(&path, odd).unwrap();
}

#[test]
fn ten_planted_faults_are_mended() {
    let root = tempfile::tempdir().unwrap();
    let (source, out) = (root.path().join("source"), root.path().join("out"));
    plant(&source);
    let (code, before) = audit(&source);
    assert_eq!(code, 1);
    let planted: BTreeSet<String> = rules_of(&before).into_keys().collect();
    for rule in ["LK401", "IX802", "IX803", "IX805", "IX806", "CF301", "CF302", "CF307", "ST002"] {
        assert!(planted.contains(rule), "{rule} is not found: {planted:?}");
    }
    let (code, done) = repair(&source, &out, &[]);
    assert_eq!(code, 0, "{done:#}");
    assert_eq!(done["plan"]["mends_all"], true, "{:#}", done["plan"]["unmended"]);
    let (code, after) = audit(&out);
    assert_eq!(code, 0, "{:#}", after["findings"]);
    assert_eq!(after["summary"]["warnings"], 0, "{:#}", after["findings"]);
    // The reference crate reads every file, and what was not touched is what it was.
    let sound = root.path().join("sound");
    let (first, second) = two_shards(&sound);
    let mut expected: Tensors = first.into_iter().chain(second).collect();
    let scale = |value: f32| Tensor { dtype: Dtype::F32, shape: vec![], bytes: value.to_le_bytes().to_vec() };
    expected.insert("model.layers.0.self_attn.k_proj.k_scale".into(), scale(1.0));
    expected.insert("model.layers.0.self_attn.v_proj.v_scale".into(), scale(2.0));
    assert_eq!(read_folder(&out), expected);
    let summary = &done["summary"];
    assert_eq!(summary["made"], 2);
    assert_eq!(summary["unchanged"].as_u64().unwrap() + 2, expected.len() as u64);
    // Of the configs only what was wrong changed.
    let config = read_json(&out.join("config.json"));
    let golden = read_json(&sound.join("config.json"));
    let section = &config["quantization_config"];
    assert_eq!(section["ignore"], golden["quantization_config"]["ignore"]);
    assert_eq!(section["producer"], golden["quantization_config"]["producer"]);
    assert_eq!(section["config_groups"], golden["quantization_config"]["config_groups"]);
    assert_eq!(section["kv_cache_scheme"], json!({"dynamic": false, "num_bits": 8, "type": "float"}));
    let hf = read_json(&out.join("hf_quant_config.json"));
    assert_eq!(hf["quantization"]["exclude_modules"], golden["quantization_config"]["ignore"]);
    assert_eq!(hf["quantization"]["kv_cache_quant_algo"], "FP8");
    // The manifest's hashes are those of the bytes.
    let manifest = read_json(&out.join("quantscope.manifest.json"));
    assert_eq!(manifest["tensors"].as_array().unwrap().len(), expected.len());
    assert_eq!(manifest["repair"]["changes"], done["plan"]["changes"]);
}

#[test]
fn a_plan_writes_nothing_and_names_what_it_would_do() {
    let root = tempfile::tempdir().unwrap();
    let source = root.path().join("source");
    plant(&source);
    let (code, plan) = run_json(["repair", source.to_str().unwrap(), "--plan", "--rule", "lk401"]);
    assert_eq!(code, 0);
    let changes = plan["plan"]["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 3, "{changes:#?}");
    assert!(changes.iter().all(|c| c["rule"] == "LK401"));
    let scale = changes.iter().find(|c| c["subject"].as_str().unwrap().contains("k_bmm")).unwrap();
    assert_eq!(scale["after"], "model.layers.0.self_attn.k_proj.k_scale F32 [] = maximum / 448");
    let left: BTreeSet<&str> =
        plan["plan"]["unmended"].as_array().unwrap().iter().map(|u| u["rule"].as_str().unwrap()).collect();
    assert!(left.contains("CF301") && !left.contains("LK401"), "{left:?}");
    let (_, text, _) = run(["repair", source.to_str().unwrap(), "--plan"]);
    assert!(
        text.contains("LK401 drop 1 time") && text.contains("- model.layers.0.mlp.up_proj.weight_quantizer"),
        "{text}"
    );
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

/// Copies that are not equal are no copies: nothing is chosen, nothing is written.
#[test]
fn copies_that_differ_refuse_the_repair() {
    let root = tempfile::tempdir().unwrap();
    let (source, out) = (root.path().join("source"), root.path().join("out"));
    let (first, mut second) = two_shards(&source);
    let mut copy = first["model.embed_tokens.weight"].clone();
    copy.bytes[7] ^= 1;
    second.insert("model.embed_tokens.weight".into(), copy);
    write(&source, &first, &second, HashMap::new());
    let (code, done) = repair(&source, &out, &[]);
    assert_eq!(code, 2, "{done}");
    assert!(done["error"]["message"].as_str().unwrap().contains("has other bytes"), "{done}");
    assert!(!out.exists());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "something unfinished was left behind");
}

/// A shard that is not there stays missed: the index goes on naming it.
#[test]
fn a_missing_shard_is_not_repaired_away() {
    let root = tempfile::tempdir().unwrap();
    let (source, out) = (root.path().join("source"), root.path().join("out"));
    two_shards(&source);
    fs::remove_file(source.join(SHARDS[1])).unwrap();
    change_json(&source.join(INDEX), |index| index["weight_map"]["ghost"] = json!("../outside.safetensors"));
    let (code, done) = repair(&source, &out, &["--rule", "IX809"]);
    assert_eq!(code, 0, "{done}");
    let (code, after) = audit(&out);
    let rules = rules_of(&after);
    assert!(code == 1 && rules.contains_key("IX801") && !rules.contains_key("IX809"), "{rules:?}");
}

#[test]
fn what_cannot_be_mended_is_said() {
    let root = tempfile::tempdir().unwrap();
    let (source, out) = (root.path().join("source"), root.path().join("out"));
    let (mut first, second) = two_shards(&source);
    first.remove("model.layers.0.mlp.up_proj.weight_scale_2").unwrap();
    first.insert("x._amax".into(), Tensor { dtype: Dtype::F32, shape: vec![], bytes: vec![0; 4] });
    write(&source, &first, &second, HashMap::new());
    // Everything that can be mended is.
    let (code, done) = repair(&source, &out, &[]);
    assert_eq!(code, 0, "{done:#}");
    let left = done["plan"]["unmended"].as_array().unwrap();
    let scale = left.iter().find(|u| u["rule"] == "SC002").unwrap();
    assert!(scale["reason"].as_str().unwrap().contains("Export the layer again"), "{scale}");
    // Asked for what it cannot do, it says so and writes nothing.
    let again = root.path().join("again");
    let (code, done) = repair(&source, &again, &["--rule", "SC002"]);
    assert!(code == 2 && !again.exists(), "{done}");
    let (code, done) = repair(&out, &again, &[]);
    assert!(code == 2 && done["error"]["message"].as_str().unwrap().contains("nothing to mend"), "{done}");
    let (code, _, error) = run(["repair", out.to_str().unwrap(), "--plan", "--rule", "XX000"]);
    assert!(code == 2 && error.contains("no rule is called"), "{error}");
}

/// For a runtime that wants four dimensions, two become four: no byte moves.
#[test]
fn a_scale_is_renamed_and_reshaped_for_a_runtime() {
    let root = tempfile::tempdir().unwrap();
    let (source, out) = (root.path().join("source"), root.path().join("out"));
    fs::create_dir_all(&source).unwrap();
    let codes: Vec<u8> = (0..256 * 384).map(|i: u32| (i % 0x70) as u8).collect();
    let scales: Vec<u8> = (0..6).flat_map(|i: u8| (f32::from(i) + 0.5).to_le_bytes()).collect();
    let tensors = Tensors::from([
        (
            "a.up_proj.weight".to_string(),
            Tensor { dtype: Dtype::F8_E4M3, shape: vec![256, 384], bytes: codes },
        ),
        (
            "a.up_proj.weight_scale_inv".to_string(),
            Tensor { dtype: Dtype::F32, shape: vec![2, 3], bytes: scales.clone() },
        ),
    ]);
    write_shard(&source.join("model.safetensors"), &tensors, HashMap::new());
    let quant = json!({"quant_method": "modelopt", "quant_algo": "fp8_pb_wo", "ignore": []});
    fs::write(source.join("config.json"), json!({"quantization_config": quant}).to_string()).unwrap();
    let (code, done) = repair(&source, &out, &["--rule", "SN202", "--target", "vllm"]);
    assert_eq!(code, 0, "{done:#}");
    let found = read_folder(&out);
    let scale = &found["a.up_proj.weight_scale"];
    assert_eq!((scale.shape.as_slice(), &scale.bytes), (&[2, 1, 3, 1][..], &scales));
    assert_eq!(found["a.up_proj.weight"], tensors["a.up_proj.weight"]);
    let (code, after) = run_json(["audit", out.to_str().unwrap(), "--target", "vllm"]);
    assert_eq!(code, 0, "{:#}", after["findings"]);
    assert!(!rules_of(&after).contains_key("SN202"), "{:#}", after["findings"]);
}
