//! What a request may ask of a conversion beside its scheme: maxima from files, ties, stacks of experts, strict
//! convolutions, layers kept; and what becomes of the configs when numbers are plain again.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_format::{Limits, MemorySource, Uncontrolled};
use quantscope_session::api::{ConvertRequest, SessionError};
use quantscope_session::{CpuEngine, Engines, InputFile, Session};
use quantscope_tests::data;
use quantscope_tests::jobs::{Files, convert, files_of, weights};
use quantscope_tests::manifest::json_of;
use quantscope_tests::sink::MemorySink;
use quantscope_tests::tensors::{Stored, Tensors, file_of, floats, parse};
use serde_json::{Value, json};
use std::rc::Rc;

fn request(to: &str) -> ConvertRequest {
    ConvertRequest { to: to.into(), ..ConvertRequest::default() }
}

fn written(files: &Files, request: &ConvertRequest) -> Files {
    convert(files, request, None, &Limits::default()).unwrap()
}

fn refusal(files: &Files, request: &ConvertRequest) -> String {
    let error = convert(files, request, None, &Limits::default()).err().unwrap();
    assert_eq!(error.kind, "refused", "{error}");
    error.message
}

fn inputs(files: &Files) -> Vec<InputFile> {
    let input = |(path, bytes): (&String, &Vec<u8>)| InputFile {
        path: path.clone(),
        source: Rc::new(MemorySource::new(path.clone(), bytes.clone())),
    };
    files.iter().map(input).collect()
}

/// Converts with maxima from a file.
fn calibrated(
    files: &Files,
    maxima: &Tensors,
    request: &ConvertRequest,
    tile_bytes: u64,
) -> Result<Tensors, SessionError> {
    let calibration: Files = [("maxima.safetensors".to_string(), file_of(maxima, &[]))].into();
    let (cpu, mut sink) = (CpuEngine::new(), MemorySink::default());
    let limits = Limits { tile_bytes, ..Limits::default() };
    futures_executor::block_on(async {
        let mut session = Session::open("checkpoint", inputs(files), limits, &Uncontrolled).await?;
        session.calibrate(&inputs(&calibration)).await?;
        session.convert(request, Engines { gpu: None, cpu: &cpu }, &mut sink, &Uncontrolled).await
    })?;
    Ok(weights(&sink.finished))
}

fn f32s(shape: &[u64], values: &[f32]) -> Stored {
    Stored {
        dtype: "F32".into(),
        shape: shape.to_vec(),
        bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    }
}

/// A weight file with a config.
fn model(tensors: &Tensors, config: &Value) -> Files {
    [
        ("model.safetensors".to_string(), file_of(tensors, &[])),
        ("config.json".to_string(), config.to_string().into_bytes()),
    ]
    .into()
}

/// A layer case: its weight, and the maxima that it gives.
fn static_case(name: &str) -> (Files, Tensors, Tensors) {
    let read = |file: &str| parse(&std::fs::read(data("golden").join(name).join(file)).unwrap()).0;
    let (source, mut expected) = (read("source.safetensors"), read("expected.safetensors"));
    expected.retain(|name, _| name.starts_with("linear."));
    let maxima = [
        ("given.block_amax", "linear.weight_quantizer._amax"),
        ("given.global_amax", "linear.weight_quantizer._global_amax"),
        ("given.input_amax", "linear.input_quantizer._amax"),
    ];
    let maxima =
        maxima.into_iter().filter_map(|(given, key)| Some((key.to_string(), source.get(given)?.clone())));
    let maxima = maxima.collect();
    let weight = source.into_iter().filter(|(name, _)| name.starts_with("linear.")).collect();
    (model(&weight, &json!({})), maxima, expected)
}

#[test]
fn block_maxima_are_read_from_the_file_as_they_are_needed() {
    for (name, to) in [
        ("nvfp4_static_max_33x96", "nvfp4-static"),
        ("nvfp4_static_max_33x96", "nvfp4"),
        ("nvfp4_static_mse_8x64", "nvfp4-static"),
        ("nvfp4_static_four_over_six", "nvfp4-four-over-six"),
    ] {
        let (files, maxima, expected) = static_case(name);
        assert!(maxima.len() >= 2, "{name} gives {:?}", maxima.keys());
        for tile_bytes in [1, 100, 1 << 20] {
            let found = calibrated(&files, &maxima, &request(to), tile_bytes).unwrap();
            assert_eq!(found, expected, "{name} to {to}, tiles of {tile_bytes}");
        }
    }
}

#[test]
fn maxima_that_do_not_fit_are_refused_by_name() {
    let (files, maxima, _) = static_case("nvfp4_static_max_8x64");
    let key = "linear.weight_quantizer._amax";
    let refused = |blocks: Stored| {
        let mut maxima = maxima.clone();
        maxima.insert(key.into(), blocks);
        let error = calibrated(&files, &maxima, &request("nvfp4-static"), 1 << 20).err().unwrap();
        assert_eq!(error.kind, "refused", "{error}");
        error.message
    };
    let few = refused(f32s(&[31], &[1.0; 31]));
    assert!(few.contains("`linear` has 32 blocks") && few.contains("31 maxima"), "{few}");
    let nan = refused(f32s(&[32], &[f32::NAN; 32]));
    assert!(nan.contains("linear.weight_quantizer") && nan.contains("NaN"), "{nan}");
    let negative = refused(f32s(&[32], &[-1.0; 32]));
    assert!(negative.contains("-1"), "{negative}");
}

/// Experts share a list of block maxima where gate and up were one parameter.
#[test]
fn gate_and_up_take_their_halves_of_a_list() {
    let values =
        |count: u16, seed: u16| (0..count).map(|i| f32::from(i * 7 % 11 + seed) / 16.0).collect::<Vec<_>>();
    let (gate_up, down) = (values(2 * 4 * 16, 1), values(2 * 16 * 16, 2));
    let stacks: Tensors = [
        ("m.experts.gate_up_proj".to_string(), f32s(&[2, 4, 16], &gate_up)),
        ("m.experts.down_proj".to_string(), f32s(&[2, 16, 16], &down)),
    ]
    .into();
    // In `experts.down_proj` the output comes first: [E, H, I].
    let files = model(&stacks, &json!({"hidden_size": 16}));
    let block =
        |values: &[f32]| values.chunks(16).map(|b| b.iter().copied().fold(0.0, f32::max)).collect::<Vec<_>>();
    let maxima: Tensors = [
        (
            "m.experts.gate_up_proj_weight_quantizers.1._amax".to_string(),
            f32s(&[4, 1], &block(&gate_up[64..])),
        ),
        ("m.experts.gate_up_proj_input_quantizer._amax".to_string(), f32s(&[], &[6.0])),
    ]
    .into();
    let found = calibrated(&files, &maxima, &request("nvfp4-static"), 1 << 20).unwrap();
    // The maxima given are the blocks' own, so that the static export without them is the same.
    let own = weights(&written(&files, &request("nvfp4-static")));
    for name in ["gate_proj", "up_proj"] {
        let scale = format!("m.experts.1.{name}.weight_scale");
        assert_eq!(found[&scale], own[&scale]);
        assert_eq!(floats(&found[&format!("m.experts.0.{name}.input_scale")]).unwrap(), [6.0 / 2688.0]);
    }
    assert!(!found.contains_key("m.experts.0.down_proj.input_scale"));
    let shapes = found.iter().filter(|(name, _)| name.ends_with("0.up_proj.weight"));
    assert_eq!(shapes.map(|(_, t)| t.shape.clone()).collect::<Vec<_>>(), [[2, 8]]);
}

#[test]
fn ties_follow_their_policy() {
    let case = data("golden-pr/tied/nvfp4_canonical_on");
    let files = files_of(&case.join("source_duplicated"));
    let maxima = json_of(&case.join("case.json"))["calibrated_amax_before_merge"].take();
    let with = |ties: Option<&str>| ConvertRequest {
        ties: ties.map(str::to_string),
        canonical: Some("model.decoder".into()),
        calibration_json: Some(maxima.to_string()),
        ..request("nvfp4")
    };
    let scale = |tensors: &Tensors, side: &str| {
        let name = format!("model.{side}.layers.0.self_attn.o_proj.input_scale");
        tensors.get(&name).map(|t| floats(t).unwrap()[0])
    };
    let amax = |side: &str| {
        let key = format!("model.{side}.layers.0.self_attn.o_proj.input_quantizer._amax");
        #[allow(clippy::cast_possible_truncation, reason = "maxima are F32")]
        let single = maxima[&key].as_f64().unwrap() as f32;
        single / 2688.0
    };
    assert_ne!(amax("encoder"), amax("decoder"));
    let merged = weights(&written(&files, &with(None)));
    assert_eq!(scale(&merged, "encoder"), None);
    assert_eq!(scale(&merged, "decoder"), Some(amax("encoder").max(amax("decoder"))));
    let own = weights(&written(&files, &with(Some("keep-input-scale"))));
    assert_eq!(scale(&own, "encoder"), Some(amax("encoder")));
    assert_eq!(scale(&own, "decoder"), Some(amax("decoder")));
    assert!(!own.contains_key("model.encoder.layers.0.self_attn.o_proj.weight"));
    let apart = weights(&written(&files, &with(Some("off"))));
    assert_eq!(scale(&apart, "encoder"), Some(amax("encoder")));
    assert!(apart.contains_key("model.encoder.layers.0.self_attn.o_proj.weight"));
    assert!(apart.contains_key("lm_head.weight") && !merged.contains_key("lm_head.weight"));
}

#[test]
fn sides_that_differ_are_both_kept() {
    let case = data("golden-pr/tied/nvfp4_canonical_on/source_duplicated");
    let mut files = files_of(&case);
    let (mut tensors, metadata) = parse(&files["model.safetensors"]);
    tensors.get_mut("model.encoder.layers.1.self_attn.q_proj.weight").unwrap().bytes[0] ^= 1;
    files.insert("model.safetensors".into(), file_of(&tensors, &metadata));
    let request = ConvertRequest { canonical: Some("model.decoder".into()), ..request("nvfp4") };
    let found = weights(&written(&files, &request));
    assert!(found.contains_key("model.encoder.layers.1.self_attn.q_proj.weight_scale"));
    assert!(!found.contains_key("model.encoder.layers.1.self_attn.k_proj.weight_scale"));
}

#[test]
fn strict_convolutions_are_those_the_reference_takes() {
    let files = files_of(&data("golden/_src/wan_vae"));
    let case = json_of(&data("golden/e2e_wan_vae_nvfp4_conv3d/case.json"));
    let strict = |to: &str, calibration: Option<String>| ConvertRequest {
        conv3d: Some("strict".into()),
        exclude: vec!["*conv_in*".into()],
        calibration_json: calibration,
        ..request(to)
    };
    let full = Some(case["activation_amax"].to_string());
    let lenient = ConvertRequest { conv3d: None, ..strict("nvfp4", full.clone()) };
    assert!(weights(&written(&files, &strict("nvfp4", full.clone()))) == weights(&written(&files, &lenient)));
    assert!(refusal(&files, &strict("nvfp4", None)).contains("has no calibrated activation maximum"));
    for to in ["nvfp4-mse", "nvfp4-static", "w4a16-nvfp4"] {
        let message = refusal(&files, &strict(to, full.clone()));
        assert!(message.contains("dynamic NVFP4 only") && message.contains("decoder"), "{to}: {message}");
    }
}

#[test]
fn stacks_of_an_unknown_form_are_refused_or_kept() {
    let stacks: Tensors = [
        ("m.experts.gate_up_proj".to_string(), f32s(&[2, 16, 16], &[1.0; 512])),
        ("m.fc.weight".to_string(), f32s(&[2, 16], &[1.0; 32])),
    ]
    .into();
    for (config, words) in [
        (json!({}), "no config.json tells the hidden size"),
        (json!({"hidden_size": 16}), "both of whose sides"),
        (json!({"hidden_size": 24}), "none of whose sides"),
    ] {
        let files = model(&stacks, &config);
        let message = refusal(&files, &request("nvfp4"));
        assert!(message.contains("m.experts.gate_up_proj") && message.contains(words), "{message}");
        let keep = ConvertRequest { layers: vec!["*experts*=keep".into()], ..request("nvfp4") };
        let found = weights(&written(&files, &keep));
        assert_eq!(found["m.experts.gate_up_proj"], stacks["m.experts.gate_up_proj"]);
        assert_eq!(found["m.fc.weight"].dtype, "U8");
    }
    let batched = model(&stacks, &json!({"model_type": "gpt_oss", "hidden_size": 16}));
    assert_eq!(weights(&written(&batched, &request("nvfp4")))["m.experts.gate_up_proj"].shape, [2, 8, 16]);
}

#[test]
fn plain_numbers_have_a_plain_config() {
    let folder = data("golden/e2e_llama_nvfp4_kvfp8/expected");
    let files = files_of(&folder);
    let out = written(&files, &request("f32"));
    let config: Value = serde_json::from_slice(&out["config.json"]).unwrap();
    assert!(config.get("quantization_config").is_none() && !out.contains_key("hf_quant_config.json"));
    assert_eq!(config["dtype"].as_str().or(config["torch_dtype"].as_str()), Some("float32"));
    let found = weights(&out);
    let source = weights(&files);
    for name in found.keys() {
        assert!(name.ends_with(".weight"), "{name} is left of the old format");
        assert_eq!(found[name].dtype, "F32", "{name}");
    }
    let norm = "model.norm.weight";
    assert_eq!(floats(&found[norm]), floats(&source[norm]));
    // A layer that is kept stays declared, and nothing else.
    let kept = ConvertRequest { layers: vec!["*layers.0.mlp.up_proj=keep".into()], ..request("bf16") };
    let out = written(&files, &kept);
    let config: Value = serde_json::from_slice(&out["config.json"]).unwrap();
    let ignored = config["quantization_config"]["ignore"].as_array().unwrap();
    assert_eq!(config["quantization_config"]["quant_algo"], "NVFP4");
    assert!(ignored.contains(&json!("model.layers.0.mlp.down_proj")), "{ignored:?}");
    let name = "model.layers.0.mlp.up_proj.weight_scale";
    assert_eq!(weights(&out)[name], source[name]);
}

#[test]
fn what_is_quantized_is_not_quantized_again() {
    let files = files_of(&data("golden/e2e_llama_fp8/expected"));
    let message = refusal(&files, &request("nvfp4"));
    assert!(message.contains("is stored as fp8 already") && message.contains("--to bf16"), "{message}");
    // With its quantized layers kept, the others can be quantized, and the configs say both.
    let embeddings = ConvertRequest {
        layers: vec!["*embed_tokens=w4a16-nvfp4".into(), "*=keep".into()],
        ..request("nvfp4")
    };
    let out = written(&files, &embeddings);
    let config: Value = serde_json::from_slice(&out["hf_quant_config.json"]).unwrap();
    let layers = &config["quantization"]["quantized_layers"];
    assert_eq!(layers["model.embed_tokens"], json!({"quant_algo": "W4A16_NVFP4", "group_size": 16}));
    assert_eq!(layers["model.layers.1.mlp.up_proj"], json!({"quant_algo": "FP8"}));
}

/// The loss that the manifest tells is that of the decoded output, tensor by tensor.
#[test]
fn the_manifest_tells_what_was_lost() {
    let files = files_of(&data("golden/_src/llama"));
    let source = weights(&files);
    for to in ["nvfp4", "fp8", "fp8-block", "int4", "mxfp8"] {
        let out = written(&files, &ConvertRequest { group_size: Some(32), ..request(to) });
        let manifest: Value = serde_json::from_slice(&out["quantscope.manifest.json"]).unwrap();
        let decoded = weights(&written(&out, &request("f32")));
        let mut told = 0;
        for tensor in manifest["tensors"].as_array().unwrap() {
            let (Some(name), Some(sqnr)) = (tensor["name"].as_str(), tensor["sqnr_db"].as_f64()) else {
                continue;
            };
            let (right, found) = (floats(&source[name]).unwrap(), floats(&decoded[name]).unwrap());
            let power = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
            let signal = power(&mut right.iter().map(|&v| f64::from(v)));
            let noise = power(&mut right.iter().zip(&found).map(|(&a, &b)| f64::from(a) - f64::from(b)));
            // The resolution that the kernel of these sums promises.
            assert!((10.0 * (signal / noise).log10() - sqnr).abs() < 3e-4, "{to}: {name} {sqnr}");
            told += 1;
        }
        assert_eq!(told, 14, "{to}");
    }
}
