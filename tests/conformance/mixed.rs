//! One conversion may pack some layers, decode others and keep the rest: each comes out as it would alone, and what
//! nobody asks anything of stays what it is.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_format::Limits;
use quantscope_session::api::ConvertRequest;
use quantscope_tests::data;
use quantscope_tests::jobs::{Files, convert, files_of, weights};
use quantscope_tests::manifest::json_of;
use quantscope_tests::tensors::{Stored, Tensors, floats, read};
use serde_json::{Value, json};

fn written(files: &Files, request: &ConvertRequest) -> Files {
    convert(files, request, None, &Limits::default()).unwrap()
}

fn layers(rules: &[&str]) -> ConvertRequest {
    ConvertRequest { layers: rules.iter().map(ToString::to_string).collect(), ..ConvertRequest::default() }
}

/// Nothing asked, nothing changed: tensors and configs of a quantized checkpoint and of one with leaked state.
#[test]
fn without_a_scheme_values_are_left_alone() {
    for folder in [
        "golden/e2e_llama_nvfp4/expected",
        "golden-pr/leaks/llama_nvfp4_kv_packed_plus_amax/source",
        "golden/_src/llama",
    ] {
        let files = files_of(&data(folder));
        let mut found = written(&files, &ConvertRequest::default());
        assert_eq!(weights(&found), weights(&files), "{folder}");
        assert!(found.remove("quantscope.manifest.json").is_some());
        assert_eq!(found.keys().collect::<Vec<_>>(), files.keys().collect::<Vec<_>>(), "{folder}");
        for (name, bytes) in found.iter().filter(|(name, _)| name.ends_with(".json")) {
            assert_eq!(bytes, &files[name], "{folder}/{name}");
        }
    }
}

#[test]
fn what_a_rule_names_is_packed_and_the_rest_stays() {
    let files = files_of(&data("golden/_src/llama"));
    let case = data("golden/e2e_llama_nvfp4");
    let maxima = json_of(&case.join("case.json"))["activation_amax"].to_string();
    let request = ConvertRequest { calibration_json: Some(maxima), ..layers(&["*.mlp.*=nvfp4"]) };
    let out = written(&files, &request);
    let (found, source) = (weights(&out), weights(&files));
    let expected = read(&case.join("expected/model.safetensors"));
    let packed = |name: &String| name.contains(".mlp.");
    let of = |tensors: &Tensors| -> Tensors {
        tensors.iter().filter(|(name, _)| packed(name)).map(|(n, t)| (n.clone(), t.clone())).collect()
    };
    assert_eq!(of(&found), of(&expected));
    for (name, tensor) in source.iter().filter(|(name, _)| !packed(name)) {
        assert_eq!(&found[name], tensor, "{name}");
    }
    let config: Value = serde_json::from_slice(&out["hf_quant_config.json"]).unwrap();
    let excluded = config["quantization"]["exclude_modules"].as_array().unwrap();
    assert!(excluded.contains(&json!("model.layers.0.self_attn*")), "{excluded:?}");
}

#[test]
fn one_recipe_decodes_some_layers_and_keeps_the_others() {
    let files = files_of(&data("golden/e2e_llama_nvfp4_kvfp8/expected"));
    let out = written(&files, &layers(&["*.layers.1.self_attn.*=f32"]));
    let (found, source) = (weights(&out), weights(&files));
    let name = "model.layers.1.self_attn.q_proj";
    assert!(!found.contains_key(&format!("{name}.weight_scale")));
    assert!(!found.contains_key(&format!("{name}.input_scale")));
    // By hand: two E2M1 codes a byte, the low nibble first; a scale for 16 of them.
    let [weight, scale, global] =
        ["weight", "weight_scale", "weight_scale_2"].map(|leaf| &source[&format!("{name}.{leaf}")]);
    let decoded = floats(&found[&format!("{name}.weight")]).unwrap();
    let global = floats(global).unwrap()[0];
    let scales = e4m3(scale);
    assert_eq!(decoded.len(), weight.bytes.len() * 2);
    for (i, &value) in decoded.iter().enumerate() {
        let code = (weight.bytes[i / 2] >> (4 * (i % 2))) & 15;
        let magnitude = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0][usize::from(code & 7)];
        let sign = if code & 8 == 0 { 1.0 } else { -1.0 };
        assert_eq!(value, (scales[i / 16] * global) * (sign * magnitude), "{i}");
    }
    // The scales of its cache stay, and so does everything else.
    let others =
        source.iter().filter(|(n, _)| !n.contains(".layers.1.self_attn.") || n.ends_with("_proj.k_scale"));
    for (name, tensor) in others {
        assert_eq!(&found[name], tensor, "{name}");
    }
    let config: Value = serde_json::from_slice(&out["hf_quant_config.json"]).unwrap();
    let excluded = config["quantization"]["exclude_modules"].as_array().unwrap();
    assert!(excluded.contains(&json!("model.layers.1.self_attn*")), "{excluded:?}");
    assert_eq!(config["quantization"]["kv_cache_quant_algo"], "FP8");
}

fn e4m3(scales: &Stored) -> Vec<f32> {
    let value = |&byte: &u8| {
        let (exponent, mantissa) = (i32::from(byte >> 3 & 15), f32::from(byte & 7));
        if exponent == 0 { mantissa / 512.0 } else { (1.0 + mantissa / 8.0) * 2.0_f32.powi(exponent - 7) }
    };
    scales.bytes.iter().map(value).collect()
}

/// Layers of a group share their global scale, of the recipe's groups as of the usual ones; the others have their own.
#[test]
fn groups_of_a_recipe_share_a_global_scale() {
    let files = files_of(&data("golden/_src/llama"));
    let source = weights(&files);
    let own = |name: &str| {
        let values = floats(&source[&format!("{name}.weight")]).unwrap();
        values.into_iter().fold(0.0_f32, |most, v| most.max(v.abs()))
    };
    let text = "default = \"nvfp4\"\n[[fuse]]\nmembers = [\"k_proj\", \"o_proj\"]";
    let found = weights(&written(&files, &ConvertRequest::from_toml(text).unwrap()));
    let global = |name: &str| floats(&found[&format!("{name}.weight_scale_2")]).unwrap()[0];
    let path = |last: &str| format!("model.layers.0.self_attn.{last}");
    let (k, o, q) = (path("k_proj"), path("o_proj"), path("q_proj"));
    assert_ne!(own(&k), own(&o));
    // NVFP4: the largest magnitude over 6 × 448.
    assert_eq!(global(&k), own(&k).max(own(&o)) / 2688.0);
    assert_eq!(global(&o), global(&k));
    assert_eq!(global(&q), own(&q) / 2688.0);
    assert_ne!(own(&q), own(&k));
    let usual =
        weights(&written(&files, &ConvertRequest { to: "nvfp4".into(), ..ConvertRequest::default() }));
    let shared = floats(&usual[&format!("{q}.weight_scale_2")]).unwrap()[0];
    assert_eq!(shared, own(&q).max(own(&k)).max(own(&path("v_proj"))) / 2688.0);
}

/// `--dtype` without a scheme casts every floating tensor, scales of quantized layers left out.
#[test]
fn a_dtype_alone_casts_what_is_plain() {
    let files = files_of(&data("golden/e2e_llama_fp8/expected"));
    let out = written(&files, &ConvertRequest { dtype: Some("f32".into()), ..ConvertRequest::default() });
    let (found, source) = (weights(&out), weights(&files));
    assert_eq!(found.keys().collect::<Vec<_>>(), source.keys().collect::<Vec<_>>());
    let mut cast = 0;
    for (name, tensor) in &source {
        if tensor.dtype == "BF16" {
            cast += 1;
            assert_eq!(found[name].dtype, "F32", "{name}");
            assert_eq!(floats(&found[name]), floats(tensor), "{name}");
        } else {
            assert_eq!(&found[name], tensor, "{name}");
        }
    }
    assert!(cast > 3);
    let config: Value = serde_json::from_slice(&out["config.json"]).unwrap();
    assert_eq!(config["dtype"].as_str().or(config["torch_dtype"].as_str()), Some("float32"));
    assert!(config.get("quantization_config").is_some());
    assert_eq!(out["hf_quant_config.json"], files["hf_quant_config.json"]);
}
