//! What ModelOpt stored, recognised by its config's word and decoded to what an independent decoder gives
//! (`tests/data/decoded.json`, made by `tests/oracle/decode.py`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod common;

use common::{Tensors, best, data, decode_by, digest, json, modules, read, read_folder, view};
use quantscope_format::{Limits, ModelConfig, QuantDeclaration};
use quantscope_schemes::{Declared, Facts, Settings, by_id, recognise};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A packed file or folder, and what its config says.
struct Place {
    name: String,
    tensors: Tensors,
    settings: Settings,
    declared: Declared,
}

impl Place {
    fn open(name: &str) -> Self {
        let path = data(name);
        let (tensors, config) = if path.is_dir() {
            let config = path.join("config.json");
            let text = std::fs::read(config).unwrap_or_else(|_| b"{}".to_vec());
            (read_folder(&path), serde_json::from_slice(&text).unwrap())
        } else {
            let case = json(&name.replace("expected.safetensors", "case.json"));
            let section = &case["config_quantization_config"];
            let config = json!({ "quantization_config": section });
            (read(&path), if section.is_object() { config } else { json!({}) })
        };
        Self::of(name, tensors, &config)
    }

    fn of(name: &str, tensors: Tensors, config: &Value) -> Self {
        let parsed = ModelConfig::parse(config.to_string().as_bytes(), &Limits::default()).unwrap();
        let declaration = QuantDeclaration::from_model_config(&parsed);
        Self {
            name: name.into(),
            tensors,
            settings: Settings::new(Some(config)),
            declared: declaration.as_ref().map(Declared::new).unwrap_or_default(),
        }
    }

    fn facts(&self, module: &str) -> Facts<'_> {
        // Swizzled scales look like another project's where nothing says who wrote them.
        let hint = self.name.contains("pad_swizzle").then_some("nvfp4");
        self.settings.facts(module, self.declared.hint(module).or(hint))
    }
}

/// Shape and hash of each weight, by name.
type Weights = BTreeMap<String, (Vec<u64>, String)>;

/// The entries of `decoded.json` that ModelOpt wrote.
fn decoded() -> Vec<(Place, Weights)> {
    let Value::Object(places) = json("decoded.json") else { panic!("decoded.json is no object") };
    let ours =
        places.into_iter().filter(|(name, _)| name.starts_with("golden/") || name.starts_with("golden-pr/"));
    let entry = |value: &Value| {
        let shape = value["shape"].as_array().unwrap().iter().map(|side| side.as_u64().unwrap()).collect();
        (shape, value["sha256"].as_str().unwrap().to_string())
    };
    let weights = |value: &Value| -> Weights {
        value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), entry(value))).collect()
    };
    ours.map(|(name, value)| (Place::open(&name), weights(&value))).collect()
}

#[test]
fn every_weight_decodes_to_what_the_oracle_gives() {
    let mut weights = 0;
    for (place, expected) in decoded() {
        let modules = modules(&place.tensors);
        for (name, (shape, sha256)) in expected {
            let (module, _) = quantscope_schemes::split_name(&name);
            let tensors = &modules[module];
            let layer = view(module, tensors, place.facts(module));
            let scheme = recognise(&layer).scheme;
            // Whole, by rows, and in pieces of rows: the same values.
            for step in [[1 << 20, 1 << 20], [3, 1 << 20], [1, 32]] {
                let (found, values) = decode_by(scheme, &layer, tensors, step)
                    .unwrap_or_else(|refusal| panic!("{}: {name}: {refusal}", place.name));
                assert_eq!(found, shape, "{}: {name}", place.name);
                assert_eq!(digest(&values), sha256, "{}: {name} by {step:?}", place.name);
            }
            assert_eq!(scheme.logical_shape(&layer), shape, "{}: {name}", place.name);
            weights += 1;
        }
    }
    assert!(weights > 400, "{weights}");
}

/// Leaves that ModelOpt writes for quantized layers only.
const SCALES: &[&str] = &["weight_scale", "weight_scale_inv"];

#[test]
fn one_scheme_fits_each_layer_best() {
    let mut seen = BTreeSet::new();
    for (place, _) in decoded() {
        for (module, tensors) in &modules(&place.tensors) {
            if !SCALES.iter().any(|leaf| tensors.contains_key(*leaf)) {
                continue;
            }
            let facts = place.facts(module);
            let layer = view(module, tensors, facts);
            let fits = best(&layer);
            let expected = facts.declared.unwrap_or_else(|| undeclared(tensors));
            assert_eq!(fits, [expected], "{}: {module}", place.name);
            let scheme = by_id(expected).unwrap();
            for stored in &layer.tensors {
                let legal = scheme.legal_shapes(stored.leaf, &layer);
                let fits = legal.is_none_or(|legal| legal.iter().any(|shape| shape == stored.shape));
                assert!(fits, "{}: {module}.{} {:?}", place.name, stored.leaf, stored.shape);
                let companion = scheme.about().companion(stored.leaf);
                let typed = companion.is_none_or(|c| c.dtypes.contains(&stored.dtype));
                assert!(typed, "{}: {module}.{} {}", place.name, stored.leaf, stored.dtype);
                let known = companion.is_some() || matches!(stored.leaf, "bias" | "k_scale" | "v_scale");
                let state = quantscope_schemes::leak::is_state_leaf(stored.leaf);
                assert!(known || state, "{}: {module}.{} is no companion", place.name, stored.leaf);
            }
            seen.insert(expected.to_string());
        }
    }
    let ids: Vec<&str> = seen.iter().map(String::as_str).collect();
    let all = [
        "fp8",
        "fp8-block",
        "fp8-block-wo",
        "fp8-channel",
        "int4",
        "int8",
        "int8-wo",
        "mxfp4",
        "mxfp8",
        "nvfp4",
        "w4a16-nvfp4",
        "w4a8-int4-fp8",
        "w4a8-mxfp4-fp8",
        "w4a8-nvfp4-fp8",
    ];
    assert_eq!(ids, all);
}

/// What cases without a config hold: NVFP4 all of them, calibrated or not.
fn undeclared(tensors: &Tensors) -> &'static str {
    if tensors.contains_key("input_scale") { "nvfp4" } else { "w4a16-nvfp4" }
}

/// Without a config the tensors tell, except where two schemes store the same.
#[test]
fn tensors_alone_tell_the_scheme() {
    for (case, id) in [
        ("fp8_block_f16_tiny", "fp8-block-wo"),
        ("fp8_block_wo_130x140", "fp8-block-wo"),
        // A single tile stores what a single scale does.
        ("fp8_block_wo_100x60", "fp8"),
        ("fp8_channel_bf16", "fp8-channel"),
        ("fp8_tensor_bf16", "fp8"),
        ("int4_block128", "int4"),
        ("int4_block32", "int4"),
        ("int8_sq", "int8"),
        ("int8_wo", "int8-wo"),
        ("mxfp4", "mxfp4"),
        ("mxfp8", "mxfp8"),
        ("nvfp4_linear_bf16_64x48", "nvfp4"),
        ("nvfp4_static_mse_8x64", "nvfp4"),
        ("nvfp4_w4a16", "w4a16-nvfp4"),
        ("w4a8_awq_max", "w4a8-int4-fp8"),
        ("w4a8_mxfp4_fp8", "w4a8-mxfp4-fp8"),
        ("w4a8_nvfp4_fp8", "w4a8-nvfp4-fp8"),
    ] {
        let tensors = modules(&read(&data(&format!("golden/{case}/expected.safetensors"))));
        let layer = view("linear", &tensors["linear"], Facts::default());
        assert_eq!(best(&layer), [id], "{case}");
    }
}

/// Tiles of scales beside sizes that are no multiples of 16 are ModelOpt's; ComfyUI pads to 16.
#[test]
fn tiles_beside_unpadded_sizes_are_read_without_a_config() {
    for (case, module) in
        [("pad_swizzle_130x144", "nopad+swizzle/blk.proj"), ("pad_swizzle_20x80", "nopad+swizzle/blk.proj")]
    {
        let file = modules(&read(&data(&format!("golden/{case}/expected.safetensors"))));
        let layer = view(module, &file[module], Facts::default());
        assert_eq!(best(&layer), ["w4a16-nvfp4"], "{case}");
    }
}

/// The stacks and corrections that no export of the golden data has, from the formulas in numpy.
#[test]
fn made_cases_decode_to_the_bit() {
    for (case, id) in [
        ("modelopt/nvfp4_awq", "nvfp4-awq"),
        ("modelopt/nvfp4_svdquant", "nvfp4-svdquant"),
        ("fp8/block_16x32", "fp8-block"),
        ("fp8/block_bf16_scales", "fp8-block"),
        ("fp8/block_e8m0_scales", "fp8-block"),
        ("fp8/block_u8_scales", "fp8-block"),
        // Sides of 1 x 32 as the config says: MXFP8 under another name.
        ("fp8/mxfp8_weight_scale_inv", "fp8-block"),
    ] {
        let about = json(&format!("made/{case}.json"));
        let tensors = read(&data(&format!("made/{case}.packed.safetensors")));
        let expected = read(&data(&format!("made/{case}.dequantized.safetensors")));
        let place = Place::of(case, tensors, &about["config"]);
        let modules = modules(&place.tensors);
        for (name, expected) in expected {
            let (module, _) = quantscope_schemes::split_name(&name);
            let layer = view(module, &modules[module], place.facts(module));
            assert_eq!(best(&layer), [id], "{case}");
            for step in [[1 << 20, 1 << 20], [3, 32]] {
                let found = decode_by(by_id(id).unwrap(), &layer, &modules[module], step).unwrap();
                assert_eq!(found.0, expected.shape, "{case}: {name}");
                assert_eq!(digest(&found.1), digest(&common::floats(&expected)), "{case}: {name}");
            }
            let unknown = recognise(&view(module, &modules[module], Facts::default()));
            let alone = if case.starts_with("modelopt") { id } else { "fp8-block" };
            assert_eq!(unknown.scheme.id(), alone, "{case} without its config");
        }
    }
}
