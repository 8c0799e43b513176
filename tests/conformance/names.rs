//! Checkpoints renamed and split as the reference's reverse conversion does, case by case; what it refuses, and what it
//! cuts although the parts mean something else then.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use quantscope_format::{Limits, TensorSpec};
use quantscope_numeric::Dtype;
use quantscope_session::api::{ConvertRequest, SessionError};
use quantscope_tests::data;
use quantscope_tests::jobs::{Files, convert, files_of, weights};
use quantscope_tests::manifest::{Case, json_of, manifest};
use quantscope_tests::specimen::shard;
use quantscope_tests::tensors::{Stored, Tensors, file_of, parse, read};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const REVERSE: &str = "golden-pr/reverse";

fn dtype(tag: &str) -> Dtype {
    match tag {
        "U8" => Dtype::U8,
        "F32" => Dtype::F32,
        "BF16" => Dtype::BF16,
        _ => Dtype::F8_E4M3,
    }
}

fn dims(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|d| d.as_u64().unwrap()).collect()
}

/// Tensors of these names, types and shapes: `[["name", "U8", [4, 8]], …]`. Bytes count up, so that no two places
/// hold the same.
fn made(tensors: &[(&str, &str, Vec<u64>)]) -> Vec<u8> {
    let tensor = |(name, tag, shape): &(&str, &str, Vec<u64>)| {
        let spec = TensorSpec { name: (*name).to_string(), dtype: dtype(tag), shape: shape.clone() };
        let bytes = shape.iter().product::<u64>() * spec.dtype.bits() / 8;
        let data = (0..bytes).map(|i| u8::try_from((i * 7 + i / 251) % 127).unwrap()).collect();
        (spec, data)
    };
    shard(&tensors.iter().map(tensor).collect::<Vec<_>>(), &[])
}

fn renamed(files: &Files, rules: &Value) -> Result<Files, SessionError> {
    let request = ConvertRequest { rename_json: Some(rules.to_string()), ..ConvertRequest::default() };
    convert(files, &request, None, &Limits::default())
}

/// Names, types, shapes and hashes.
fn described(tensors: &Tensors) -> Value {
    let one = |t: &Stored| {
        let hash: String = Sha256::digest(&t.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        json!([t.dtype, t.shape, hash])
    };
    Value::Object(tensors.iter().map(|(name, tensor)| (name.clone(), one(tensor))).collect())
}

/// The config after renaming, which is the reference's but for what is split: it leaves those names behind.
fn with_splits(after: &Value, rules: &Value) -> Value {
    let mut after = after.clone();
    let old = after["quantized_layers"].as_object().unwrap().clone();
    let layers = after["quantized_layers"].as_object_mut().unwrap();
    layers.clear();
    for (name, value) in old {
        let split = rules["splits"].as_array().unwrap().iter().find_map(|split| {
            let base = name.strip_suffix(split["fused_suffix"].as_str().unwrap())?;
            let parts = split["part_suffixes"].as_array().unwrap().iter();
            Some(parts.map(|part| format!("{base}{}", part.as_str().unwrap())).collect::<Vec<_>>())
        });
        layers.extend(split.unwrap_or_else(|| vec![name]).into_iter().map(|name| (name, value.clone())));
    }
    after
}

#[test]
fn reverse_conversions_are_those_of_the_reference() {
    let cases = json_of(&data(REVERSE).join("cases.json"));
    let (mut converted, mut refused) = (0, 0);
    for case in cases.as_array().unwrap() {
        let name = case["case"].as_str().unwrap();
        let rules = &case["rules"];
        let Some(expected) = case.get("expected") else {
            let source: Vec<(&str, &str, Vec<u64>)> = case["source"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, spec)| (name.as_str(), spec[0].as_str().unwrap(), dims(&spec[1])))
                .collect();
            let files = Files::from([("model.safetensors".to_string(), made(&source))]);
            let error = renamed(&files, rules).unwrap_err();
            assert_eq!(error.kind, "refused", "{name}: {error}");
            let subject = source.iter().any(|(tensor, _, _)| {
                error.message.contains(tensor) || error.message.contains(tensor.rsplit_once('.').unwrap().0)
            });
            assert!(subject, "{name} is refused without a name: {error}");
            refused += 1;
            continue;
        };
        let source = std::fs::read(data(REVERSE).join(format!("{name}.safetensors"))).unwrap();
        let mut files = Files::from([("model.safetensors".to_string(), source)]);
        if let Some(before) = case.get("quant_config_before") {
            let hf = json!({"producer": {"name": "modelopt"}, "quantization": before});
            files.insert("hf_quant_config.json".into(), hf.to_string().into_bytes());
            let mut section = before.clone();
            section["quant_method"] = "modelopt".into();
            let config = json!({"quantization_config": section});
            files.insert("config.json".into(), config.to_string().into_bytes());
        }
        let written = renamed(&files, rules).unwrap();
        assert_eq!(described(&weights(&written)), *expected, "{name}");
        if let Some(after) = case.get("quant_config_after") {
            let right = with_splits(after, rules);
            let hf: Value = serde_json::from_slice(&written["hf_quant_config.json"]).unwrap();
            assert_eq!(hf["quantization"], right, "{name}");
            let config: Value = serde_json::from_slice(&written["config.json"]).unwrap();
            for field in ["exclude_modules", "quantized_layers"] {
                assert_eq!(config["quantization_config"][field], right[field], "{name}");
            }
        }
        converted += 1;
    }
    assert_eq!((converted, refused), (4, 5));
}

/// Mixtral's experts as the reference wrote them, put into stacks under the names that the model has in memory.
/// `parameter` says whether companions stand beside the stack with an underscore, or below it.
fn stacked(golden: &Tensors, parameter: bool) -> Tensors {
    let mut stacks = Tensors::new();
    for (name, tensor) in golden {
        let Some((before, rest)) = name.split_once(".block_sparse_moe.experts.") else {
            stacks.insert(name.replace(".block_sparse_moe.", ".mlp."), tensor.clone());
            continue;
        };
        let (number, rest) = rest.split_once('.').unwrap();
        let (own, leaf) = rest.split_once('.').unwrap();
        if number != "0" || own == "w3" {
            continue;
        }
        let parts: &[&str] = if own == "w1" { &["w1", "w3"] } else { &["w2"] };
        let is_number = tensor.shape.is_empty();
        let mut whole = Stored { shape: vec![0], bytes: Vec::new(), ..tensor.clone() };
        let mut experts = 0;
        while golden.contains_key(&format!("{before}.block_sparse_moe.experts.{experts}.{rest}")) {
            // A number of gate and up is one, as the two were fused when it was taken.
            for part in parts.iter().take(if is_number { 1 } else { 2 }) {
                let part = &golden[&format!("{before}.block_sparse_moe.experts.{experts}.{part}.{leaf}")];
                whole.bytes.extend_from_slice(&part.bytes);
            }
            experts += 1;
        }
        whole.shape = vec![experts];
        whole.shape.extend(&tensor.shape);
        if let (Some(rows), false) = (whole.shape.get_mut(1), is_number) {
            *rows *= parts.len() as u64;
        }
        let stack = if own == "w1" { "gate_up_proj" } else { "down_proj" };
        let name = match (parameter, leaf) {
            (true, "weight") => format!("{before}.mlp.experts.{stack}"),
            (true, _) => format!("{before}.mlp.experts.{stack}_{leaf}"),
            (false, _) => format!("{before}.mlp.experts.{stack}.{leaf}"),
        };
        stacks.insert(name, whole);
    }
    stacks
}

/// A stack of quantized experts comes apart into what the reference wrote expert by expert.
#[test]
fn quantized_stacks_come_apart() {
    let folder = data("golden/e2e_mixtral_nvfp4/expected");
    let golden = read(&folder);
    let cases = json_of(&data(REVERSE).join("cases.json"));
    let mixtral =
        cases.as_array().unwrap().iter().find(|case| case["case"] == "mixtral_real_mapping").unwrap();
    for parameter in [true, false] {
        let stacks = stacked(&golden, parameter);
        // Three experts of three matrices with four tensors each are two stacks with four.
        assert_eq!(golden.len() - stacks.len(), 36 - 8);
        let files = Files::from([
            ("model.safetensors".to_string(), file_of(&stacks, &[])),
            ("config.json".to_string(), std::fs::read(folder.join("config.json")).unwrap()),
        ]);
        let found = weights(&renamed(&files, &mixtral["rules"]).unwrap());
        assert_eq!(found.keys().collect::<Vec<_>>(), golden.keys().collect::<Vec<_>>());
        for (name, tensor) in &golden {
            assert!(found[name] == *tensor, "{name}: {:?}, expected {:?}", found[name].shape, tensor.shape);
        }
        // Without the hidden size nobody can tell rows from columns.
        let unsized_files = Files::from([("model.safetensors".to_string(), file_of(&stacks, &[]))]);
        let error = renamed(&unsized_files, &mixtral["rules"]).unwrap_err();
        assert!(error.message.contains("hidden size") && error.message.contains("experts"), "{error}");
    }
}

/// Tiles and biases of a stack come apart too: two experts, both of which are the case's matrix, the second with its
/// halves exchanged.
#[test]
fn stacks_in_tiles_come_apart() {
    let source = read(&data(REVERSE).join("fp8_block_gate_up_bias.safetensors"));
    let mut stacks = Tensors::new();
    for (name, tensor) in &source {
        let (first, second) = tensor.bytes.split_at(tensor.bytes.len() / 2);
        let mut stack = tensor.clone();
        stack.shape.insert(0, 2);
        stack.bytes.extend([second, first].concat());
        stacks.insert(name.replace(".mlp.", ".mlp.experts."), stack);
    }
    let config = json!({"hidden_size": 128, "quantization_config": {
        "quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}});
    let files = Files::from([
        ("model.safetensors".to_string(), file_of(&stacks, &[])),
        ("config.json".to_string(), config.to_string().into_bytes()),
    ]);
    let rules = json!({"expert_fused_leaves": ["gate_up_proj"]});
    let found = described(&weights(&renamed(&files, &rules).unwrap()));
    let cases = json_of(&data(REVERSE).join("cases.json"));
    let case =
        cases.as_array().unwrap().iter().find(|case| case["case"] == "fp8_block_gate_up_bias").unwrap();
    let mut right = serde_json::Map::new();
    for (name, tensor) in case["expected"].as_object().unwrap() {
        right.insert(name.replace(".mlp.", ".mlp.experts.0."), tensor.clone());
        let other = if name.contains("gate_proj") {
            name.replace("gate_proj", "up_proj")
        } else {
            name.replace("up_proj", "gate_proj")
        };
        right.insert(other.replace(".mlp.", ".mlp.experts.1."), tensor.clone());
    }
    assert_eq!(found, Value::Object(right));
}

/// Whatever shapes a file claims: an answer or a refusal.
#[test]
fn hostile_shapes_are_answered() {
    let rules = json!({"splits": [{"fused_suffix": ".gate_up_proj", "part_suffixes": [".gate_proj", ".up_proj"]}],
                       "expert_fused_leaves": ["gate_up_proj", "down_proj"]});
    let shapes: [&[u64]; 9] =
        [&[], &[0], &[1], &[2, 0], &[0, 0, 0], &[0, 2, 4], &[3, 2, 4], &[2, 2, 2, 2], &[4, 8]];
    let (mut answered, mut refused) = (0, 0);
    for place in ["a.mlp.gate_up_proj", "a.mlp.experts.gate_up_proj", "gate_up_proj", "a.experts.down_proj"] {
        for weight in shapes {
            for scale in shapes {
                let names = ["weight", "weight_scale_inv", "weight_scale", "bias"]
                    .map(|leaf| format!("{place}.{leaf}"));
                let [weight_name, inverse, blocks, bias] = names.each_ref().map(String::as_str);
                for (tag, scale_name) in [("F8_E4M3", inverse), ("U8", blocks), ("BF16", bias)] {
                    let source =
                        made(&[(weight_name, tag, weight.to_vec()), (scale_name, "F32", scale.to_vec())]);
                    let config = br#"{"hidden_size": 4}"#.to_vec();
                    let files =
                        Files::from([("model.safetensors".into(), source), ("config.json".into(), config)]);
                    let request = ConvertRequest {
                        rename_json: Some(rules.to_string()),
                        fuse: scale.len() % 2 == 0,
                        ..ConvertRequest::default()
                    };
                    match convert(&files, &request, None, &Limits::default()) {
                        Ok(_) => answered += 1,
                        Err(error) => {
                            assert_eq!(error.kind, "refused", "{place} {weight:?} {scale:?}: {error}");
                            refused += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(answered > 100 && refused > 100, "{answered} answered, {refused} refused");
}

/// Decodes a checkpoint to F32.
fn decoded(files: &Files) -> Tensors {
    let request = ConvertRequest { to: "f32".into(), ..ConvertRequest::default() };
    weights(&convert(files, &request, None, &Limits::default()).unwrap())
}

/// In every scheme, the rows of a projection mean after a split what they meant before; or the split is refused.
#[test]
fn halves_mean_what_they_meant_in_the_whole() {
    let rules = json!({"splits": [{"fused_suffix": ".o_proj", "part_suffixes": [".upper", ".lower"]},
                                  {"fused_suffix": ".down_proj", "part_suffixes": [".upper", ".lower"]}]});
    let mut split = Vec::new();
    for (name, refusal) in [
        ("nvfp4", ""),
        ("w4a16_nvfp4", ""),
        ("fp8", ""),
        ("fp8_pc_pt", ""),
        ("int8", ""),
        ("int8_smoothquant", ""),
        ("int4", ""),
        ("int4_awq", ""),
        ("mxfp4", ""),
        ("mxfp8", ""),
        ("fp8_pb_wo", ""),
        ("mixed_nvfp4_fp8_pb", ""),
        ("fp8_pb_w8a8", "after row 68, inside one of the entries of `weight_scale_inv`"),
    ] {
        let files = files_of(&data(&format!("golden/e2e_llama_{name}/expected")));
        let written = match renamed(&files, &rules) {
            Ok(written) if refusal.is_empty() => written,
            Err(error) if !refusal.is_empty() && error.message.contains(refusal) => continue,
            other => panic!("{name}: {:?}", other.map(|_| "was split").map_err(|e| e.message)),
        };
        let (parts, wholes) = (decoded(&written), decoded(&files));
        for (whole, tensor) in &wholes {
            let Some(base) =
                ["o_proj", "down_proj"].iter().find_map(|p| whole.strip_suffix(&format!("{p}.weight")))
            else {
                continue;
            };
            let halves: Vec<&Stored> =
                ["upper", "lower"].iter().map(|part| &parts[&format!("{base}{part}.weight")]).collect();
            let joined: Vec<u8> = halves.iter().flat_map(|half| half.bytes.clone()).collect();
            assert_eq!(joined, tensor.bytes, "{name}: {whole}");
            assert!(halves.iter().all(|half| half.shape[0] * 2 == tensor.shape[0]), "{name}: {whole}");
            split.push(whole.clone());
        }
        // Nothing but the two modules has changed its name.
        let others = |tensors: &Tensors| {
            let kept = tensors.iter().filter(|(n, _)| {
                ![".o_proj", ".down_proj", ".upper", ".lower"].iter().any(|p| n.contains(p))
            });
            kept.map(|(n, t)| (n.clone(), t.clone())).collect::<Tensors>()
        };
        assert!(others(&parts) == others(&wholes), "{name}");
    }
    assert!(split.len() >= 40, "{} layers were split", split.len());
}

#[test]
fn padded_and_tiled_layers_are_not_split() {
    let rules = json!({"splits": [{"fused_suffix": ".o_proj", "part_suffixes": [".upper", ".lower"]}]});
    let source = files_of(&data("golden/e2e_llama_nvfp4/expected"));
    let request = ConvertRequest { swizzle: true, ..ConvertRequest::default() };
    let tiled = convert(&source, &request, None, &Limits::default()).unwrap();
    let error = renamed(&tiled, &rules).unwrap_err();
    assert!(error.message.contains("o_proj") && error.message.contains("padded or tiled"), "{error}");
    let both = ConvertRequest { rename_json: Some(rules.to_string()), ..request };
    let error = convert(&source, &both, None, &Limits::default()).unwrap_err();
    assert!(error.message.contains("how they lie in another"), "{error}");
}

/// Other projects' layouts, whose rows stand across bytes, or in an order of their own.
#[test]
fn layouts_without_rows_are_not_split() {
    for (case, scheme) in [
        ("gptq_4bit_sym", "gptq"),
        ("awq_gemm_4bit", "awq"),
        ("bnb_nf4", "bnb-nf4"),
        ("bnb_int8", "bnb-int8"),
        ("comfy_nvfp4_48x64", "comfy-nvfp4"),
    ] {
        let folder = data(&format!("golden-foreign/{case}"));
        let packed = std::fs::read(folder.join("packed.safetensors")).unwrap();
        let (tensors, _) = parse(&packed);
        let (module, _) = quantscope_schemes::split_name(tensors.keys().next().unwrap());
        let rules = json!({"splits": [{"fused_suffix": module, "part_suffixes": ["upper", "lower"]}]});
        let mut files = Files::from([("model.safetensors".to_string(), packed.clone())]);
        if let Some(config) = json_of(&folder.join("case.json")).get("config").filter(|c| c.is_object()) {
            files.insert("config.json".into(), config.to_string().into_bytes());
        }
        let error = renamed(&files, &rules).unwrap_err();
        assert!(error.message.contains(&format!("is stored as {scheme}, whose rows")), "{case}: {error}");
    }
}

/// The user's rules lead where the preset leads: stacks apart, experts under the names of the hub, calibrated maxima
/// found under those of the memory.
#[test]
fn rules_and_presets_convert_alike() {
    let cases = json_of(&data(REVERSE).join("cases.json"));
    let mixtral =
        cases.as_array().unwrap().iter().find(|case| case["case"] == "mixtral_real_mapping").unwrap();
    let is_mixtral = |case: &&Case| case.expected == "golden/e2e_mixtral_nvfp4/expected";
    let manifest = manifest();
    let mut jobs = manifest.case.iter().find(is_mixtral).unwrap().jobs();
    let job = jobs.first_mut().unwrap();
    let mut config: Value = serde_json::from_slice(&job.files["config.json"]).unwrap();
    assert_eq!(config["model_type"], "mixtral");
    config["model_type"] = "another".into();
    job.files.insert("config.json".into(), config.to_string().into_bytes());
    let mut found = |rules: Option<&Value>| {
        job.request.rename_json = rules.map(Value::to_string);
        let written = convert(&job.files, &job.request, None, &Limits::default()).unwrap();
        let ignored: Value = serde_json::from_slice(&written["config.json"]).unwrap();
        (weights(&written) == job.expected, ignored["quantization_config"]["ignore"].clone())
    };
    let ignored = json!(["lm_head", "model.embed_tokens", "model.layers.0.block_sparse_moe.gate"]);
    assert_eq!(found(Some(&mixtral["rules"])), (true, ignored));
    assert!(!found(None).0, "without rules the names stay");
}
