//! The errors that a conversion states, against the definitions of signal-to-noise ratio and largest error, computed
//! here in double precision from the files: what went in, and what comes out when the result is decoded.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::{Tensor, Tensors, read_folder, read_json, run, write_shard};
use safetensors::Dtype;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

const WEIGHT: &str = "model.layers.0.mlp.up_proj.weight";
const NORM: &str = "model.norm.weight";

/// F32 numbers of many magnitudes; two tensors.
fn source(root: &Path) -> PathBuf {
    let folder = root.join("source");
    fs::create_dir(&folder).unwrap();
    let mut state = 1_u64;
    let mut number = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = f32::from(u16::try_from(state >> 48).unwrap()) / 65536.0 - 0.5;
        uniform * uniform * uniform
    };
    let tensors: Tensors = [(WEIGHT, vec![96, 160]), (NORM, vec![160])]
        .into_iter()
        .map(|(name, shape)| {
            let count: usize = shape.iter().product();
            let bytes = (0..count).flat_map(|_| number().to_le_bytes()).collect();
            (name.to_owned(), Tensor { dtype: Dtype::F32, shape, bytes })
        })
        .collect();
    write_shard(&folder.join("model.safetensors"), &tensors, HashMap::new());
    fs::write(folder.join("config.json"), r#"{"model_type": "llama"}"#).unwrap();
    folder
}

fn convert(from: &Path, to: &Path, flags: &[&str]) {
    let (code, _, said) =
        run([&["convert", from.to_str().unwrap(), "-o", to.to_str().unwrap()], flags].concat());
    assert_eq!(code, 0, "{flags:?}: {said}");
}

/// The numbers of a tensor in F32 or BF16.
fn numbers(tensor: &Tensor) -> Vec<f64> {
    let widened = |bits: u32| f64::from(f32::from_bits(bits));
    match tensor.dtype {
        Dtype::F32 => tensor.bytes.as_chunks().0.iter().map(|b| widened(u32::from_le_bytes(*b))).collect(),
        Dtype::BF16 => {
            let wide = |b: &[u8; 2]| widened(u32::from(u16::from_le_bytes(*b)) << 16);
            tensor.bytes.as_chunks().0.iter().map(wide).collect()
        }
        other => panic!("{other:?} are no plain numbers"),
    }
}

/// What the manifest states of a tensor.
fn stated(out: &Path, name: &str) -> (Option<f64>, Option<f64>) {
    let manifest = read_json(&out.join("quantscope.manifest.json"));
    let tensors = manifest["tensors"].as_array().unwrap();
    let found: &Value = tensors.iter().find(|t| t["name"] == name).unwrap();
    (found["sqnr_db"].as_f64(), found["max_abs_error"].as_f64())
}

fn assert_error(source: &Tensor, decoded: &Tensor, stated: (Option<f64>, Option<f64>), what: &str) {
    let (source, decoded) = (numbers(source), numbers(decoded));
    assert_eq!(source.len(), decoded.len(), "{what}");
    let errors: Vec<f64> = source.iter().zip(&decoded).map(|(a, b)| a - b).collect();
    let power = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>();
    let ratio = 10.0 * (power(&source) / power(&errors)).log10();
    let largest = errors.iter().fold(0.0_f64, |n, e| n.max(e.abs()));
    let (found, most) = (stated.0.unwrap(), stated.1.unwrap());
    assert!((found - ratio).abs() < 0.001, "{what}: {found} dB stated, {ratio} dB found");
    assert!((most / largest - 1.0).abs() < 1e-6, "{what}: {most} stated, {largest} found");
}

#[test]
fn what_packing_loses_is_stated() {
    let root = tempfile::tempdir().unwrap();
    let source = source(root.path());
    let original = read_folder(&source);
    for scheme in ["nvfp4", "nvfp4-mse", "fp8", "fp8-block", "fp8-channel", "mxfp4", "mxfp8", "int8-wo"] {
        let (packed, plain) = (root.path().join(scheme), root.path().join(format!("{scheme}-plain")));
        convert(&source, &packed, &["--to", scheme, "--limit", "tile=8192"]);
        convert(&packed, &plain, &["--to", "f32"]);
        assert_error(&original[WEIGHT], &read_folder(&plain)[WEIGHT], stated(&packed, WEIGHT), scheme);
        assert_eq!(stated(&packed, NORM), (None, None), "{scheme}: what is copied has no error");
    }
}

#[test]
fn what_casting_and_decoding_lose_is_stated() {
    let root = tempfile::tempdir().unwrap();
    let source = source(root.path());
    let original = read_folder(&source);
    let narrow = root.path().join("bf16");
    convert(&source, &narrow, &["--to", "bf16"]);
    for name in [WEIGHT, NORM] {
        assert_error(&original[name], &read_folder(&narrow)[name], stated(&narrow, name), name);
    }
    // A product of a code and a scale has more digits than BF16 has; F32 holds it.
    let [packed, wide, rounded] = ["fp8-channel", "f32", "decoded"].map(|name| root.path().join(name));
    convert(&source, &packed, &["--to", "fp8-channel"]);
    convert(&packed, &wide, &["--to", "f32"]);
    convert(&packed, &rounded, &["--to", "bf16"]);
    assert_error(
        &read_folder(&wide)[WEIGHT],
        &read_folder(&rounded)[WEIGHT],
        stated(&rounded, WEIGHT),
        "decoded to BF16",
    );
    assert_eq!(stated(&wide, WEIGHT), (None, None), "nothing is lost in F32");
    // BF16 numbers stay what they are.
    let again = root.path().join("again");
    convert(&narrow, &again, &["--to", "f32"]);
    assert_eq!(stated(&again, WEIGHT), (None, None));
}
