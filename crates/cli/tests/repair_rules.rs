//! Single repairs: a golden export with one fault, mended by the name of its rule, and nothing else touched.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::{
    Tensor, Tensors, copy_folder, data, read_folder, read_json, rules_of, run_json, shards, write_shard,
};
use safetensors::tensor::Dtype;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

const NVFP4: &str = "golden/e2e_llama_nvfp4/expected";

fn scalar(value: f32) -> Tensor {
    Tensor { dtype: Dtype::F32, shape: vec![], bytes: value.to_le_bytes().to_vec() }
}

/// Writes a checkpoint of one file.
fn save(folder: &Path, tensors: &Tensors, metadata: HashMap<String, String>) {
    fs::create_dir_all(folder).unwrap();
    for old in shards(folder) {
        fs::remove_file(old).unwrap();
    }
    write_shard(&folder.join("model.safetensors"), tensors, metadata);
}

fn edit_json(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = read_json(path);
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// Repairs `folder` by one rule, which must be found before and gone after; gives the output's tensors.
fn mended(rule: &str, folder: &Path) -> (Tensors, tempfile::TempDir) {
    let (_, before) = run_json(["audit", folder.to_str().unwrap()]);
    assert!(rules_of(&before).contains_key(rule), "{rule} is not found: {:?}", rules_of(&before));
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let (code, done) =
        run_json(["repair", folder.to_str().unwrap(), "-o", out.to_str().unwrap(), "--rule", rule]);
    assert_eq!(code, 0, "{rule}: {done:#}");
    let (_, after) = run_json(["audit", out.to_str().unwrap()]);
    // Notes may come to light, since what was hidden is read; faults may not.
    let grave = |report: &Value| -> BTreeSet<String> {
        let findings = report["findings"].as_array().unwrap().iter();
        findings.filter(|f| f["severity"] != "info").map(|f| f["rule"].as_str().unwrap().to_owned()).collect()
    };
    let (was, is) = (grave(&before), grave(&after));
    assert!(!rules_of(&after).contains_key(rule), "{rule} is still found: {:#}", after["findings"]);
    assert!(is.is_subset(&was), "{rule}: the repair brought {:?}", is.difference(&was));
    (read_folder(&out), root)
}

/// Tensors of `a` that `b` has otherwise or not at all, and the reverse.
fn differing(a: &Tensors, b: &Tensors) -> Vec<String> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names.into_iter().filter(|name| a.get(*name) != b.get(*name)).cloned().collect()
}

fn golden() -> (Tensors, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    copy_folder(&data(NVFP4), root.path());
    (read_folder(root.path()), root)
}

#[test]
fn zero_scales_over_zeros_become_one() {
    let (mut tensors, root) = golden();
    let name = "model.layers.0.mlp.up_proj";
    let scale = format!("{name}.weight_scale");
    tensors.get_mut(&scale).unwrap().bytes[3] = 0;
    tensors.get_mut(&format!("{name}.weight")).unwrap().bytes[24..32]
        .copy_from_slice(&[0, 8, 0x80, 0x88, 0, 0, 0, 0]);
    save(root.path(), &tensors, HashMap::new());
    let (found, _out) = mended("SV103", root.path());
    assert_eq!(differing(&tensors, &found), std::slice::from_ref(&scale));
    // What the reference stores for a block of zeros, in this one place.
    tensors.get_mut(&scale).unwrap().bytes[3] = 0x38;
    assert_eq!(found[&scale], tensors[&scale]);
}

#[test]
fn orphans_leave_with_all_their_kind() {
    let (mut tensors, root) = golden();
    let sound = tensors.clone();
    tensors.insert("model.norm.weight_scale".into(), scalar(1.0));
    tensors.insert("model.norm.input_scale".into(), scalar(1.0));
    tensors.insert("model.layers.7.mlp.up_proj.weight_scale_2".into(), scalar(1.0));
    save(root.path(), &tensors, HashMap::new());
    let (found, _out) = mended("LK402", root.path());
    assert_eq!(differing(&sound, &found), Vec::<String>::new());
}

#[test]
fn one_spelling_is_left() {
    let root = tempfile::tempdir().unwrap();
    let codes = Tensor {
        dtype: Dtype::F8_E4M3,
        shape: vec![256, 256],
        bytes: (0..65536_u32).map(|i| (i % 0x70) as u8).collect(),
    };
    let scales: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let tiles = |shape: &[usize]| Tensor { dtype: Dtype::F32, shape: shape.to_vec(), bytes: scales.clone() };
    let mut tensors = Tensors::new();
    for layer in ["a", "b", "c"] {
        tensors.insert(format!("{layer}.up_proj.weight"), codes.clone());
        tensors.insert(format!("{layer}.up_proj.weight_scale_inv"), tiles(&[2, 2]));
    }
    let sound = tensors.clone();
    tensors.remove("b.up_proj.weight_scale_inv");
    tensors.insert("b.up_proj.weight_scale".into(), tiles(&[2, 1, 2, 1]));
    save(root.path(), &tensors, HashMap::new());
    let (found, _out) = mended("SN201", root.path());
    assert_eq!(differing(&sound, &found), Vec::<String>::new());
}

#[test]
fn a_plain_model_loses_its_declaration() {
    let (tensors, root) = golden();
    let plain: Tensors = tensors.into_iter().filter(|(_, t)| t.dtype == Dtype::BF16).collect();
    let mut plain = plain;
    let weight = Tensor { dtype: Dtype::BF16, shape: vec![4, 4], bytes: vec![0x3f; 32] };
    plain.insert("model.layers.0.mlp.up_proj.weight".into(), weight);
    save(root.path(), &plain, HashMap::new());
    let (found, out) = mended("CV902", root.path());
    assert_eq!(differing(&plain, &found), Vec::<String>::new());
    let config = read_json(&out.path().join("out/config.json"));
    assert!(config.get("quantization_config").is_none() && config["model_type"] == "llama", "{config}");
    assert!(!out.path().join("out/hf_quant_config.json").exists());
}

#[test]
fn the_tie_flag_follows_the_file() {
    let (mut tensors, root) = golden();
    tensors.remove("lm_head.weight").unwrap();
    save(root.path(), &tensors, HashMap::new());
    let (found, out) = mended("TI701", root.path());
    assert_eq!(differing(&tensors, &found), Vec::<String>::new());
    assert_eq!(read_json(&out.path().join("out/config.json"))["tie_word_embeddings"], true);
}

#[test]
fn a_mixed_model_lists_its_layers_again() {
    let root = tempfile::tempdir().unwrap();
    copy_folder(&data("golden/e2e_llama_mixed_nvfp4_fp8/expected"), root.path());
    let tensors = read_folder(root.path());
    let sound = read_json(&root.path().join("config.json"));
    let drop_one = |layers: &mut Value| {
        let layers = layers.as_object_mut().unwrap();
        let first = layers.keys().next().unwrap().clone();
        layers.shift_remove(&first).unwrap();
    };
    edit_json(&root.path().join("config.json"), |c| {
        drop_one(&mut c["quantization_config"]["quantized_layers"]);
    });
    edit_json(&root.path().join("hf_quant_config.json"), |c| {
        drop_one(&mut c["quantization"]["quantized_layers"]);
    });
    let (found, out) = mended("CF306", root.path());
    assert_eq!(differing(&tensors, &found), Vec::<String>::new());
    let config = read_json(&out.path().join("out/config.json"));
    assert_eq!(
        config["quantization_config"]["quantized_layers"],
        sound["quantization_config"]["quantized_layers"]
    );
}

/// Repairs that change what the model computes wait until they are named.
#[test]
fn a_missing_activation_scale_is_taken_from_siblings_if_named() {
    let (sound, root) = golden();
    let lost = "model.layers.1.mlp.up_proj.input_scale";
    let mut tensors = sound.clone();
    tensors.remove(lost).unwrap();
    save(root.path(), &tensors, HashMap::new());
    let out = root.path().join("unnamed");
    let (code, done) = run_json(["repair", root.path().to_str().unwrap(), "-o", out.to_str().unwrap()]);
    assert!(code == 2 && !out.exists(), "{done:#}");
    let (found, _out) = mended("SC003", root.path());
    assert_eq!(differing(&tensors, &found), [lost]);
    let sibling = &sound["model.layers.0.mlp.up_proj.input_scale"];
    assert_eq!(found[lost], *sibling);
}

#[test]
fn a_reciprocal_is_turned_if_named() {
    let (sound, root) = golden();
    let name = "model.layers.0.mlp.up_proj.weight_scale_2";
    let mut tensors = sound.clone();
    let value = f32::from_le_bytes(sound[name].bytes[..].try_into().unwrap());
    tensors.insert(name.into(), scalar(1.0 / value));
    save(root.path(), &tensors, HashMap::new());
    let (found, _out) = mended("SV105", root.path());
    assert_eq!(differing(&tensors, &found), [name]);
    let turned = f32::from_le_bytes(found[name].bytes[..].try_into().unwrap());
    assert!((turned / value - 1.0).abs() < 1e-6, "{turned} against {value}");
}

fn comfy(metadata: Option<Value>) -> (Tensors, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    let mut tensors = Tensors::new();
    for layer in ["blocks.0.attn.q", "blocks.0.attn.k"] {
        let name = format!("model.diffusion_model.{layer}");
        let codes = Tensor { dtype: Dtype::F8_E4M3, shape: vec![16, 16], bytes: vec![0x38; 256] };
        tensors.insert(format!("{name}.weight"), codes);
        tensors.insert(format!("{name}.weight_scale"), scalar(0.5));
    }
    let metadata = metadata.map(|m| ("_quantization_metadata".to_string(), m.to_string()));
    save(root.path(), &tensors, metadata.into_iter().collect());
    (tensors, root)
}

fn metadata_of(out: &Path) -> Value {
    let (_, metadata) = common::read_shard(&out.join("out/model.safetensors"));
    serde_json::from_str(&metadata["_quantization_metadata"]).unwrap()
}

#[test]
fn comfyui_gets_its_metadata() {
    let entry = json!({"format": "float8_e4m3fn"});
    let full = |name: &str| format!("model.diffusion_model.blocks.0.attn.{name}");
    let expected = json!({full("k"): entry, full("q"): entry});
    let (tensors, root) = comfy(None);
    let (found, out) = mended("CM971", root.path());
    assert_eq!(differing(&tensors, &found), Vec::<String>::new());
    assert_eq!(metadata_of(out.path())["layers"], expected);
    // Names without the prefix get it; what an entry says beside the format stays.
    let flagged = json!({"format": "float8_e4m3fn", "full_precision_matrix_mult": true});
    let short =
        json!({"format_version": "1.0", "layers": {"blocks.0.attn.q": flagged, "blocks.0.attn.k": entry}});
    let (_, root) = comfy(Some(short));
    let (_, out) = mended("CM972", root.path());
    assert_eq!(metadata_of(out.path())["layers"], json!({full("q"): flagged, full("k"): entry}));
}

/// A file that names a damaged shard cannot be taken over, and says which.
#[test]
fn a_damaged_shard_refuses_the_repair() {
    let (_, root) = golden();
    let path = root.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
    let out = root.path().join("out");
    let (code, done) = run_json(["repair", root.path().to_str().unwrap(), "-o", out.to_str().unwrap()]);
    assert_eq!(code, 2, "{done}");
    assert!(done["error"]["message"].as_str().unwrap().contains("is damaged"), "{done}");
    assert!(!out.exists());
}
