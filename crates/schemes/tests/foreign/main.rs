//! The layouts of other projects, held against what their own packages decode (`tests/data/golden-foreign`)
//! and against the formulas in numpy (`tests/data/made`).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "helpers of tests fail as tests do, where indices have 64 bits"
)]

mod case;
mod hostile;
mod recast;

use case::{Case, data, tensors};
use quantscope_numeric::Dtype;
use quantscope_schemes::Match;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Every case, with the file of what it means.
fn cases() -> Vec<(Case, PathBuf)> {
    let mut found = Vec::new();
    for folder in entries(&data("golden-foreign")) {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let case = Case::read(&name, &folder.join("packed.safetensors"), &folder.join("case.json"));
        found.push((case, folder.join("dequantized.safetensors")));
    }
    for family in ["awq", "comfy", "ct", "gpt_oss", "gptq", "mlx", "torchao"] {
        for (case, stem) in made(family) {
            let decoded = stem.with_extension("dequantized.safetensors");
            if decoded.exists() {
                found.push((case, decoded));
            }
        }
    }
    let fbgemm = made("fp8").into_iter().find(|(case, _)| case.name == "fp8_fbgemm").unwrap();
    found.push((fbgemm.0, fbgemm.1.with_extension("dequantized.safetensors")));
    assert!(found.len() > 50, "only {} cases", found.len());
    found
}

/// The cases of a folder of small ones, with their paths less what comes after the name.
fn made(family: &str) -> Vec<(Case, PathBuf)> {
    let files = entries(&data("made").join(family));
    let about = files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "json"));
    let read = |about: PathBuf| {
        let stem = about.with_extension("");
        let name = format!("{family}_{}", stem.file_name().unwrap().to_string_lossy());
        (Case::read(&name, &stem.with_extension("packed.safetensors"), &about), stem)
    };
    about.map(read).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The scheme that a case's name stands for.
fn scheme_of(case: &str) -> &'static str {
    const PREFIXES: &[(&str, &str)] = &[
        ("gptq", "gptq"),
        ("awq", "awq"),
        ("bnb_nf4", "bnb-nf4"),
        ("bnb_fp4", "bnb-fp4"),
        ("bnb_int8", "bnb-int8"),
        ("mlx_affine", "mlx-affine"),
        ("mlx_mixed", "mlx-affine"),
        ("mlx_mxfp4", "mlx-mxfp4"),
        ("mlx_mxfp8", "mlx-mxfp8"),
        ("mlx_nvfp4", "mlx-nvfp4"),
        ("comfy_nvfp4", "comfy-nvfp4"),
        ("comfy_mxfp8", "comfy-mxfp8"),
        ("comfy_fp8", "comfy-fp8"),
        ("comfy_scaled_fp8", "comfy-fp8"),
        ("torchao_int8", "torchao-int8"),
        ("torchao_float8", "torchao-float8"),
        ("torchao_mx", "torchao-mx"),
        ("torchao_nvfp4", "torchao-nvfp4"),
        ("ct_nvfp4", "ct-nvfp4"),
        ("ct_int", "ct-int"),
        ("ct_float", "ct-float"),
        ("gpt_oss", "gpt-oss-mxfp4"),
        ("fp8_fbgemm", "fbgemm-fp8"),
    ];
    let hit = PREFIXES.iter().find(|(prefix, _)| case.starts_with(prefix));
    hit.unwrap_or_else(|| panic!("no scheme is known for {case}")).1
}

/// The name of the decoded tensor of a module.
fn decoded_name(module: &str) -> String {
    if module.contains("experts.") { module.to_string() } else { format!("{module}.weight") }
}

fn compare(case: &Case, name: &str, found: &[f32], expected: &[f32]) -> Result<(), String> {
    let largest = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    // Their code multiplies by a rounded 1/127: last-bit differences. All else is equal to the bit.
    let allowed = if case.name == "bnb_int8" { largest * 1e-6 } else { 0.0 };
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        // A zero has no sign in a code of four bits.
        let near = (a - b).abs() <= allowed;
        if a.to_bits() != b.to_bits() && !near {
            return Err(format!("{} {name} [{at}]: {a:e}, expected {b:e}", case.name));
        }
    }
    Ok(())
}

#[test]
fn every_case_decodes_to_the_bit() {
    let mut decoded = 0;
    let mut faults = Vec::new();
    for (case, expected) in cases() {
        let expected = tensors(&expected);
        let mut left: BTreeSet<&String> = expected.keys().collect();
        for (module, found) in case.quantized() {
            let name = decoded_name(module);
            if found.scheme.id() != scheme_of(&case.name) {
                faults.push(format!("{} {module}: taken for {}", case.name, found.scheme.id()));
                continue;
            }
            let Some(wanted) = expected.get(&name) else {
                faults.push(format!("{}: {module} is no layer of it", case.name));
                continue;
            };
            left.remove(&name);
            let decoder = match case.decoder(module) {
                Ok(decoder) => decoder,
                Err(refusal) => {
                    faults.push(format!("{} {module}: {refusal}", case.name));
                    continue;
                }
            };
            assert_eq!(wanted.dtype, Dtype::F32);
            let values: Vec<f32> =
                wanted.bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            if decoder.shape() != wanted.shape {
                faults.push(format!(
                    "{} {module}: shape {:?}, not {:?}",
                    case.name,
                    decoder.shape(),
                    wanted.shape
                ));
                continue;
            }
            let view = case.view(module);
            assert_eq!(found.scheme.logical_shape(&view), wanted.shape, "{} {module}", case.name);
            // The whole at once, rows one by one, a few rows, and parts of rows.
            for cut in
                [[u64::MAX >> 1, u64::MAX >> 8], [1, u64::MAX >> 8], [3, u64::MAX >> 8], [1, 1], [5, 33]]
            {
                let cut = [cut[0].min(decoder.extent()[0]), cut[1].min(decoder.extent()[1])];
                faults.extend(
                    compare(&case, &name, &case.decoded(module, decoder.as_ref(), cut), &values).err(),
                );
            }
            decoded += 1;
        }
        faults.extend(left.iter().map(|name| format!("{}: {name} was not decoded", case.name)));
    }
    assert!(faults.is_empty(), "{decoded} layers decoded; {}", faults.join("\n"));
}

#[test]
fn known_variants_are_refused_by_name() {
    let cases = made("refused");
    assert!(cases.len() >= 12, "only {} cases", cases.len());
    for (case, _) in cases {
        let word = case.about["refused"].as_str().unwrap();
        let found = case.quantized();
        let [(module, recognised)] = found.as_slice() else {
            panic!("{}: {} layers", case.name, found.len())
        };
        assert!(recognised.fit >= Match::Full, "{}", case.name);
        let refusal = case.decoder(module).err().unwrap_or_else(|| panic!("{} is decoded", case.name));
        assert!(refusal.to_string().contains(word), "{}: {refusal}", case.name);
    }
}

/// The words of other configs do not make a layer something else.
#[test]
fn names_alone_do_not_tell() {
    let case = |name: &str, config: serde_json::Value| {
        let folder = data("golden-foreign").join(name);
        let mut about: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.join("case.json")).unwrap()).unwrap();
        about["config"] = config;
        about["header_metadata"] = serde_json::Value::Null;
        Case::of(name, tensors(&folder.join("packed.safetensors")), about)
    };
    let id = |case: &Case| case.quantized().first().map(|(_, r)| r.scheme.id());
    let none = || serde_json::json!({});
    // By shapes alone: transposed words tell GPTQ from AWQ, padded tiles tell ComfyUI from ModelOpt.
    assert_eq!(id(&case("gptq_4bit_sym", none())), Some("gptq"));
    assert_eq!(id(&case("awq_gemm_4bit", none())), Some("awq"));
    assert_eq!(id(&case("comfy_nvfp4_48x64", none())), Some("comfy-nvfp4"));
    assert_eq!(id(&case("torchao_nvfp4", none())), Some("torchao-nvfp4"));
    assert_eq!(id(&case("mlx_mxfp8", none())), Some("mlx-mxfp8"));
    // ModelOpt writes such tiles too, with the low nibble first, and says so.
    let modelopt = serde_json::json!({"quantization_config": {"quant_method": "modelopt"}});
    assert_ne!(id(&case("comfy_nvfp4_48x64", modelopt)), Some("comfy-nvfp4"));
    // Without bits and group size an affine layer is known and not decoded.
    let bare = case("mlx_affine_4bit", none());
    assert_eq!(id(&bare), Some("mlx-affine"));
    assert!(bare.decoder("linear").err().unwrap().remedy.contains("group_size"));
}

/// torchao describes every parameter of a module; the plain ones do not stand in the way of the others, and a
/// parameter with another name than `weight` is decoded like one.
#[test]
fn torchao_parameters_are_told_apart() {
    let folder = data("golden-foreign/torchao_int8_weight_only");
    let packed = tensors(&folder.join("packed.safetensors"));
    let expected = tensors(&folder.join("dequantized.safetensors"));
    let about: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("case.json")).unwrap()).unwrap();
    let said = about["header_metadata"]["0.weight"].clone();
    let plain = r#"{"_type": "Tensor"}"#;

    let mut with_bias = about.clone();
    with_bias["header_metadata"] = serde_json::json!({"0.weight": said, "0.bias": plain});
    let case = Case::of("with a bias", packed.clone(), with_bias);
    let decoder = case.decoder("0").unwrap();
    let values = case.decoded("0", decoder.as_ref(), decoder.extent());
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    assert!(bytes(&values) == expected["0.weight"].bytes);

    let renamed =
        packed.into_iter().map(|(name, tensor)| (name.replace("0._weight_", "experts._w1_"), tensor));
    let mut other = about;
    other["header_metadata"] = serde_json::json!({"experts.w1": said, "experts.w2": plain});
    let case = Case::of("another name", renamed.collect(), other);
    let found: Vec<_> = case.quantized().iter().map(|(module, r)| (*module, r.scheme.id())).collect();
    assert_eq!(found, [("experts._w1", "torchao-int8")]);
    let decoder = case.decoder("experts._w1").unwrap();
    let values = case.decoded("experts._w1", decoder.as_ref(), decoder.extent());
    assert!(bytes(&values) == expected["0.weight"].bytes, "rounded to the type that the metadata says");
}
