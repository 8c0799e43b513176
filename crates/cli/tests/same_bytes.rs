//! One input and one request give one output: whatever the tiles, the threads and the engine, every file is the same
//! to the byte, the manifest with its errors included.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::{Tensor, Tensors, quantscope, write_shard};
use safetensors::Dtype;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

fn tensor(dtype: Dtype, shape: &[usize], seed: u64) -> Tensor {
    let count: usize = shape.iter().product();
    let mut state = seed;
    let mut bytes = Vec::new();
    for _ in 0..count {
        // Knuth's linear congruential generator; sums of its halves are bell-shaped enough.
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f32::from(u16::try_from(state >> 48).unwrap()) / 65536.0 - 0.5
        };
        let value = (uniform() + uniform() + uniform()) * 0.1;
        match dtype {
            Dtype::F32 => bytes.extend(value.to_le_bytes()),
            _ => bytes.extend(&value.to_le_bytes()[2..]),
        }
    }
    Tensor { dtype, shape: shape.to_vec(), bytes }
}

/// Layers larger and smaller than a tile of 1 MiB, one of them with rows that are, a bias, a norm, a convolution.
fn source(root: &Path) -> PathBuf {
    let folder = root.join("source");
    fs::create_dir(&folder).unwrap();
    let tensors: Tensors = [
        ("model.layers.0.mlp.up_proj.weight", Dtype::BF16, &[768, 1536][..]),
        ("model.layers.0.mlp.gate_proj.weight", Dtype::BF16, &[768, 1536]),
        ("model.layers.0.mlp.down_proj.weight", Dtype::F32, &[260, 1216]),
        ("model.layers.1.mlp.down_proj.weight", Dtype::F32, &[4, 294_912]),
        ("model.layers.1.mlp.down_proj.bias", Dtype::F32, &[4]),
        ("model.layers.1.norm.weight", Dtype::F32, &[1216]),
        ("model.conv.weight", Dtype::BF16, &[40, 20, 3, 3, 3]),
    ]
    .into_iter()
    .zip(1..)
    .map(|((name, dtype, shape), seed)| (name.to_owned(), tensor(dtype, shape, seed)))
    .collect();
    write_shard(&folder.join("model.safetensors"), &tensors, HashMap::new());
    fs::write(folder.join("config.json"), r#"{"model_type": "llama"}"#).unwrap();
    folder
}

type Files = BTreeMap<String, Vec<u8>>;

/// Converts on so many threads; `None` if there is no such engine.
fn convert(source: &Path, flags: &[&str], threads: u32, tile: u64, engine: &str) -> Option<Files> {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let output = quantscope(["convert".as_ref(), source.as_os_str(), "-o".as_ref(), out.as_os_str()])
        .args(flags)
        .args(["--engine", engine, "--limit", &format!("tile={tile}")])
        .env("RAYON_NUM_THREADS", threads.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if engine == "gpu" && said.contains("no GPU adapter") {
        return None;
    }
    assert!(output.status.success(), "{flags:?} {threads} {tile} {engine}: {said}");
    let entries = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path());
    Some(
        entries
            .map(|path| (path.file_name().unwrap().to_str().unwrap().into(), fs::read(path).unwrap()))
            .collect(),
    )
}

fn assert_same(ours: &Files, expected: &Files, how: &str) {
    assert!(ours.keys().eq(expected.keys()), "{how}: {:?}", ours.keys());
    for (name, bytes) in expected {
        let at = ours[name].iter().zip(bytes).position(|(a, b)| a != b);
        assert!(ours[name] == *bytes, "{how}: {name} differs, first at byte {at:?}");
    }
}

#[test]
fn tiles_threads_and_engines_change_no_byte() {
    let gpu = std::env::var("QUANTSCOPE_GPU").unwrap_or_else(|_| "auto".to_owned());
    let root = tempfile::tempdir().unwrap();
    let source = source(root.path());
    let mut on_gpu = 0;
    for flags in [
        ["--to", "nvfp4", "--shard-size", "600KB"].as_slice(),
        &["--to", "nvfp4-mse", "--exclude", "*layers.0.mlp*", "--exclude", "*conv"],
        &["--to", "fp8-block", "--exclude", "*conv"],
        &["--to", "mxfp8", "--dtype", "bf16", "--exclude", "*conv"],
        &["--to", "fp8-channel", "--exclude", "*conv"],
        &["--to", "bf16"],
    ] {
        let expected = convert(&source, flags, 1, 1 << 20, "cpu").unwrap();
        assert!(expected.contains_key("quantscope.manifest.json"));
        for (threads, tile) in [(4, 1 << 20), (1, 64 << 20), (4, 64 << 20), (3, 100_000)] {
            let ours = convert(&source, flags, threads, tile, "cpu").unwrap();
            assert_same(&ours, &expected, &format!("{flags:?} {threads} threads, tiles of {tile}"));
        }
        if gpu == "off" {
            continue;
        }
        // A software GPU is slow: the larger tiles are tried with one scheme.
        for tile in if flags.contains(&"nvfp4") { [1 << 20, 64 << 20].as_slice() } else { &[1 << 20] } {
            let Some(ours) = convert(&source, flags, 4, *tile, "gpu") else { continue };
            assert_same(&ours, &expected, &format!("{flags:?} on the GPU, tiles of {tile}"));
            on_gpu += 1;
        }
    }
    assert!(gpu != "required" || on_gpu == 7, "only {on_gpu} conversions on the GPU");
    if on_gpu == 0 {
        println!("SKIPPED on the GPU: {gpu}");
    }
}

/// The comparison must be able to fail.
#[test]
fn another_byte_of_the_source_gives_other_files() {
    let root = tempfile::tempdir().unwrap();
    let source = source(root.path());
    let flags = ["--to", "nvfp4"];
    let before = convert(&source, &flags, 4, 1 << 20, "cpu").unwrap();
    let weights = source.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 0x40;
    fs::write(&weights, bytes).unwrap();
    let after = convert(&source, &flags, 4, 1 << 20, "cpu").unwrap();
    assert_ne!(before["model.safetensors"], after["model.safetensors"]);
    assert_ne!(before["quantscope.manifest.json"], after["quantscope.manifest.json"]);
}
