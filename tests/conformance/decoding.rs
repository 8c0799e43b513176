//! Every packed checkpoint of the data, dequantized: against the hashes that an independent decoder wrote to
//! `decoded.json`, and so against what other projects' packages decode. Layouts that nobody here decodes are refused
//! by name.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_format::Limits;
use quantscope_kernels::Engine;
use quantscope_session::api::ConvertRequest;
use quantscope_tests::jobs::{Files, convert, files_of, weights};
use quantscope_tests::manifest::json_of;
use quantscope_tests::tally::Tally;
use quantscope_tests::tensors::{Stored, Tensors, floats, read};
use quantscope_tests::{data, gpu};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Ends of names that nothing dequantized has any use for.
const COMPANIONS: &[&str] = &[
    "weight_scale",
    "weight_scale_2",
    "weight_scale_inv",
    "input_scale",
    "input_scale_ub",
    "pre_quant_scale",
    "svdquant_lora_a",
    "svdquant_lora_b",
    "weight_packed",
    "weight_shape",
    "weight_global_scale",
    "input_global_scale",
    "weight_zero_point",
    "weight_g_idx",
    "_blocks",
    "_scales",
    "qweight",
    "qzeros",
    "scales",
    "g_idx",
    "biases",
    "absmax",
    "quant_map",
    "nested_absmax",
    "nested_quant_map",
    "bitsandbytes__nf4",
    "bitsandbytes__fp4",
    "SCB",
    "weight_format",
    "scaled_fp8",
    "scale_weight",
    "scale_input",
    "comfy_quant",
    "_qdata",
    "_per_tensor_scale",
];

/// The files of an entry of `decoded.json`.
fn packed(path: &str) -> Files {
    let place = data(path);
    if place.is_dir() {
        return files_of(&place);
    }
    let mut files = Files::from([("model.safetensors".into(), std::fs::read(&place).unwrap())]);
    if path.starts_with("golden/pad_swizzle_") {
        // Tensors alone: a reader takes tiles without a config for ComfyUI's, and the exporter always writes one.
        let config = json!({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}});
        files.insert("config.json".into(), config.to_string().into_bytes());
    }
    let facts = match path.strip_suffix(".packed.safetensors") {
        Some(stem) => json_of(&data(&format!("{stem}.json"))),
        None => json_of(&place.parent().unwrap().join("case.json")),
    };
    // The config of a case of packing is that of its source.
    let config = facts.get("config").filter(|config| config.is_object() && facts.get("convert").is_none());
    if let Some(config) = config {
        files.insert("config.json".into(), config.to_string().into_bytes());
    }
    files
}

fn dequantized(files: &Files, to: &str, engine: Option<&dyn Engine>) -> Result<Tensors, String> {
    dequantized_in_tiles(files, to, engine, &Limits::default())
}

fn dequantized_in_tiles(
    files: &Files,
    to: &str,
    engine: Option<&dyn Engine>,
    limits: &Limits,
) -> Result<Tensors, String> {
    let request = ConvertRequest { to: to.into(), ..ConvertRequest::default() };
    let written = convert(files, &request, engine, limits).map_err(|error| error.to_string())?;
    Ok(weights(&written))
}

/// The hash that `decoded.json` holds: zeros count as +0, NaNs as 0x7FC00000.
fn digest(values: &[f32]) -> String {
    let plain = |value: f32| {
        if value.is_nan() {
            0x7FC0_0000
        } else if value == 0.0 {
            0
        } else {
            value.to_bits()
        }
    };
    let bytes: Vec<u8> = values.iter().flat_map(|value| plain(*value).to_le_bytes()).collect();
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn wrong_weights(path: &str, found: &Tensors, entries: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, right) in entries.as_object().unwrap() {
        let Some(tensor) = found.get(name) else {
            wrong.push(format!("{path}: {name} is missing"));
            continue;
        };
        let values = floats(tensor).unwrap_or_default();
        let shape: Vec<u64> = serde_json::from_value(right["shape"].clone()).unwrap();
        if tensor.dtype != "F32" || tensor.shape != shape {
            wrong.push(format!(
                "{path}: {name} is {} {:?}, expected F32 {shape:?}",
                tensor.dtype, tensor.shape
            ));
        } else if right["sha256"] != digest(&values) {
            wrong.push(format!("{path}: {name} has other values: {:?}…", values.get(..4)));
        }
    }
    for (name, tensor) in found {
        let left = COMPANIONS.iter().any(|end| name.ends_with(end)) || floats(tensor).is_none();
        if left && !entries.as_object().unwrap().contains_key(name) {
            wrong.push(format!("{path}: {name} ({}) is left over", tensor.dtype));
        }
    }
    wrong
}

/// The values in a shorter type, rounded to nearest even.
fn shortened(tensor: &Stored, to: &str) -> Stored {
    let halves: Vec<u8> = floats(tensor)
        .unwrap_or_default()
        .into_iter()
        .flat_map(|value| match to {
            "bf16" => half::bf16::from_f32(value).to_le_bytes(),
            _ => half::f16::from_f32(value).to_le_bytes(),
        })
        .collect();
    Stored { dtype: to.to_uppercase(), shape: tensor.shape.clone(), bytes: halves }
}

fn wrong_short_types(path: &str, files: &Files, whole: &Tensors, entries: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for to in ["bf16", "f16"] {
        match dequantized(files, to, None) {
            Err(error) => wrong.push(format!("{path} to {to}: {error}")),
            Ok(found) => {
                for name in entries.as_object().unwrap().keys() {
                    let right = whole.get(name).map(|tensor| shortened(tensor, to));
                    let is_nan =
                        whole.get(name).and_then(floats).is_some_and(|v| v.iter().any(|x| x.is_nan()));
                    if !is_nan && found.get(name) != right.as_ref() {
                        wrong.push(format!("{path}: {name} to {to} is not the F32 value rounded"));
                    }
                }
            }
        }
    }
    wrong
}

fn family(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["golden-foreign", case, ..] => format!("foreign, {}", case.split('_').next().unwrap_or_default()),
        ["made", family, ..] => format!("made, {family}"),
        ["golden", case, ..] if case.starts_with("e2e") => "checkpoints".into(),
        ["golden", case, ..] => format!("layers, {}", case.split('_').next().unwrap_or_default()),
        [_, family, ..] => (*family).to_string(),
        _ => path.to_string(),
    }
}

#[test]
fn everything_decodes_as_an_independent_decoder_says() {
    let recorded = json_of(&data("decoded.json"));
    let recorded = recorded.as_object().unwrap();
    assert!(recorded.len() > 150, "decoded.json has only {} entries", recorded.len());
    let gpu = gpu();
    // Smaller than most weights, and no smaller than what is read at once beside them: descriptions as JSON.
    let cut = Limits { tile_bytes: 256, ..Limits::default() };
    let mut tally = Tally::default();
    for (path, entries) in recorded {
        let files = packed(path);
        let mut wrong = Vec::new();
        match dequantized(&files, "f32", None) {
            Err(error) => wrong.push(format!("{path}: {error}")),
            Ok(found) => {
                wrong.extend(wrong_weights(path, &found, entries));
                wrong.extend(wrong_short_types(path, &files, &found, entries));
                wrong.extend(wrong_foreign(path, &found));
            }
        }
        tally.add("CPU", &family(path), wrong);
        let wrong = match dequantized_in_tiles(&files, "f32", None, &cut) {
            Err(error) => vec![format!("{path}: {error}")],
            Ok(found) => wrong_weights(path, &found, entries),
        };
        tally.add("CPU in small tiles", &family(path), wrong);
        if let Some(engine) = &gpu {
            let wrong = match dequantized(&files, "f32", Some(engine)) {
                Err(error) => vec![format!("{path}: {error}")],
                Ok(found) => wrong_weights(path, &found, entries),
            };
            tally.add("GPU", &family(path), wrong);
        }
    }
    tally.finish();
}

/// Against the file that the other project's own package wrote: the same tensors and no others.
fn wrong_foreign(path: &str, found: &Tensors) -> Vec<String> {
    let Some(case) = path.strip_prefix("golden-foreign/") else { return Vec::new() };
    let right = read(&data(path).parent().unwrap().join("dequantized.safetensors"));
    let names = |tensors: &Tensors| tensors.keys().cloned().collect::<Vec<_>>();
    let mut wrong = Vec::new();
    if names(found) != names(&right) {
        wrong.push(format!("{case}: holds {:?}, expected {:?}", names(found), names(&right)));
    }
    for (name, right) in &right {
        let (Some(found), Some(right)) = (found.get(name).and_then(floats), floats(right)) else { continue };
        let largest = right.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let far = found.iter().zip(&right).filter(|(a, b)| (*a - *b).abs() > 1e-6 * largest).count();
        if far > 0 {
            wrong.push(format!(
                "{case}: {name} has {far} values that are off by more than 1e-6 of the largest"
            ));
        }
    }
    wrong
}

/// Smoothed weights cannot be packed again from their source; they are read as well as an independent reader does.
#[test]
fn smoothed_checkpoints_are_read_as_well_as_they_can_be() {
    let recorded = json_of(&data("decoded.json"));
    for folder in ["golden/e2e_llama_int4_awq/expected", "golden/e2e_llama_int8_smoothquant/expected"] {
        let found = dequantized(&packed(folder), "f32", None).unwrap();
        let source = read(&data("golden/_src/llama"));
        let entries = recorded[folder].as_object().unwrap();
        assert_eq!(entries.len(), 14, "{folder}");
        for (name, entry) in entries {
            let (weight, values) = (floats(&source[name]).unwrap(), floats(&found[name]).unwrap());
            let reached = sqnr_db(&weight, &values);
            let right = entry["sqnr_db"].as_f64().unwrap();
            assert!(reached >= right - 0.05, "{folder}: {name} reaches {reached} dB, not {right}");
        }
    }
}

fn sqnr_db(weight: &[f32], values: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let signal: f64 = weight.iter().map(|w| square(f64::from(*w))).sum();
    let noise: f64 = weight.iter().zip(values).map(|(w, v)| square(f64::from(*w) - f64::from(*v))).sum();
    10.0 * (signal / noise).log10()
}

#[test]
fn what_is_not_decoded_is_refused_by_name() {
    let mut refused = 0;
    for entry in std::fs::read_dir(data("made/refused")).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let facts = json_of(&path);
        let word = facts["refused"].as_str().unwrap();
        let name = facts["name"].as_str().unwrap();
        let files = packed(&format!("made/{name}.packed.safetensors"));
        let error = dequantized(&files, "f32", None).expect_err(name);
        assert!(error.contains(word), "{name}: {error}");
        refused += 1;
    }
    assert!(refused > 8, "only {refused} cases");
}

/// The comparison sees one value, one shape and one left-over tensor.
#[test]
fn a_wrong_value_is_noticed() {
    let path = "golden-foreign/gptq_4bit_sym/packed.safetensors";
    let recorded = json_of(&data("decoded.json"));
    let right = read(&data(path).with_file_name("dequantized.safetensors"));
    let wrong = |found: &Tensors| wrong_weights(path, found, &recorded[path]).len();
    assert_eq!(wrong(&right), 0);
    let mut other = right.clone();
    other.get_mut("linear.weight").unwrap().bytes[0] ^= 1;
    assert_eq!((wrong(&other), wrong_foreign(path, &other).len()), (1, 0));
    other.get_mut("linear.weight").unwrap().bytes[3] = 0x3F;
    assert_eq!((wrong(&other), wrong_foreign(path, &other).len()), (1, 1));
    let mut more = right.clone();
    more.insert("linear.scales".into(), right["linear.weight"].clone());
    assert_eq!((wrong(&more), wrong_foreign(path, &more).len()), (1, 1));
    assert_eq!(wrong(&Tensors::new()), 1);
}
