//! Sources against the reference's own exports: everything is explained, and every error is the one that numpy has
//! computed (`tests/oracle/decode.py`).

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod opened;

use opened::{Stopping, data, open_folder};
use quantscope_session::api::{Comparison, Difference};
use quantscope_session::{CpuEngine, Engines, Limits, Session, Uncontrolled};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn compare(a: &Session, b: &Session, rules: Option<&str>) -> Comparison {
    let cpu = CpuEngine::new();
    let engines = Engines { gpu: None, cpu: &cpu };
    futures_executor::block_on(a.compare(b, rules, engines, &Uncontrolled)).unwrap()
}

/// Exports that lie in folders, with their sources, as paths below `tests/data`.
fn exports() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![data("golden"), data("golden-pr")];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).unwrap().flatten().map(|e| e.path());
        folders.extend(entries.filter(|path| path.is_dir()));
        let Ok(case) = std::fs::read(folder.join("case.json")) else { continue };
        let case: Value = serde_json::from_slice(&case).unwrap();
        let source = match (case["source"].as_str(), case["source_files"][0].as_str()) {
            (Some(source), _) => folder.join(source),
            (None, Some(file)) => folder.join(file).parent().unwrap().to_path_buf(),
            (None, None) => folder.join("source"),
        };
        let below = |path: &Path| -> String {
            let root = data("").canonicalize().unwrap();
            path.canonicalize().unwrap().strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/")
        };
        for name in ["expected", "expected_intended"] {
            let export = folder.join(name);
            if export.is_dir() && source.is_dir() {
                found.push((below(&source), below(&export)));
            }
        }
    }
    found.sort();
    found
}

/// What no cause explains in these exports, and why that is right.
fn unexplained(export: &str) -> &'static [&'static str] {
    match export {
        // AWQ multiplies norms by what it divides weights by.
        "golden/e2e_llama_int4_awq/expected" => &["values"],
        // The config promises NVFP4, and no layer was packed.
        "golden/e2e_wan_vae_nvfp4_release/expected" => &["config"],
        // The exporter called the class of another checkpoint.
        "golden-pr/tied/release_nvfp4_canonical_off/expected" => &["config"],
        // The source has the decoder's names, the export the encoder's: no file tells that they are the same.
        "golden-pr/tied/nvfp4_canonical_off/expected" => &["extra", "missing", "config"],
        _ => &[],
    }
}

#[test]
fn every_export_of_the_reference_is_explained_and_measured() {
    let decoded: Value = serde_json::from_slice(&std::fs::read(data("decoded.json")).unwrap()).unwrap();
    let (mut explained, mut measured) = (0, 0);
    let exports = exports();
    assert!(exports.len() > 60, "{}", exports.len());
    for (source, export) in &exports {
        let (a, b) = (open_folder(source, Limits::default()), open_folder(export, Limits::default()));
        let found = compare(&a, &b, None);
        let allowed = unexplained(export);
        for difference in found.differences.iter().filter(|d| !d.explained) {
            let known = difference.causes.iter().any(|cause| allowed.contains(&cause.as_str()));
            assert!(known, "{export}: {difference:?}");
        }
        assert_eq!(found.unexplained > 0, !allowed.is_empty(), "{export}: {:?}", found.by_cause);
        explained += usize::from(allowed.is_empty());
        for difference in &found.differences {
            let (Some(name), Some(found)) = (&difference.b, difference.sqnr_db) else { continue };
            let entries = &decoded[export.as_str()];
            let entry = [format!("{name}.weight"), name.clone()].into_iter().find_map(|key| entries.get(key));
            if let Some(expected) = entry.and_then(|e| e["sqnr_db"].as_f64()) {
                assert!((found - expected).abs() < 1e-4, "{export} {name}: {found}, not {expected}");
                measured += 1;
            }
        }
    }
    assert!(explained > 60 && measured > 700, "{explained} {measured}");
}

fn find<'c>(found: &'c Comparison, b: &str) -> &'c Difference {
    found.differences.iter().find(|d| d.b.as_deref() == Some(b)).unwrap()
}

#[test]
fn the_other_way_round_is_dequantizing_and_the_same_is_nothing() {
    let source = open_folder("golden/_src/e2e_mixtral_nvfp4", Limits::default());
    let export = open_folder("golden/e2e_mixtral_nvfp4/expected", Limits::default());
    let same = compare(&export, &export, None);
    assert_eq!((same.differences.len(), same.explained, same.unexplained), (0, 0, 0));
    assert!(same.equal_layers > 15);
    // Decoded values are not those of the source: that they came from this export nothing explains.
    let back = compare(&export, &source, None);
    assert!(back.unexplained >= 13, "{:?}", back.by_cause);
    let layer = find(&back, "model.layers.0.self_attn.q_proj");
    assert_eq!((layer.from.as_str(), layer.to.as_str()), ("nvfp4", "bf16"));
    assert_eq!(layer.causes, ["dequantized", "calibrated"].map(String::from)[..1]);
}

#[test]
fn splits_and_renames_are_told() {
    let source = open_folder("golden-pr/tied/nvfp4_canonical_on/source", Limits::default());
    let export = open_folder("golden-pr/tied/nvfp4_canonical_on/expected", Limits::default());
    let found = compare(&source, &export, None);
    let expert =
        found.differences.iter().find(|d| d.b.as_ref().is_some_and(|b| b.contains("experts.0.gate_proj")));
    let expert = expert.unwrap();
    assert!(expert.a.as_ref().unwrap().ends_with("experts.gate_up_proj"), "{expert:?}");
    for cause in ["quantized", "renamed", "split"] {
        assert!(expert.causes.iter().any(|c| c == cause), "{expert:?}");
    }
}

#[test]
fn a_layer_is_drawn_and_a_job_is_stopped() {
    let source = open_folder("golden/_src/llama", Limits::default());
    let export = open_folder("golden/e2e_llama_nvfp4/expected", Limits::default());
    let cpu = CpuEngine::new();
    let engines = Engines { gpu: None, cpu: &cpu };
    let name = "model.layers.0.mlp.up_proj";
    let picture =
        futures_executor::block_on(source.compare_layer(&export, name, None, engines, &Uncontrolled))
            .unwrap();
    assert_eq!((picture.size, picture.map.rows, picture.map.cols), ([64, 64], 32, 64));
    // The cells' errors add up to that of the layer.
    let mean: f64 = picture.map.cells.iter().map(|c| f64::from(*c).powi(2)).sum::<f64>() / 2048.0;
    let layer = compare(&source, &export, None);
    let layer = find(&layer, name);
    assert_eq!((picture.sqnr_db, Some(picture.max_abs)), (layer.sqnr_db, layer.max_abs));
    assert!(mean > 0.0 && mean.sqrt() > layer.mean_abs.unwrap() && mean.sqrt() < picture.max_abs, "{mean}");
    let error =
        futures_executor::block_on(source.compare_layer(&export, "nothing", None, engines, &Uncontrolled));
    assert_eq!(error.unwrap_err().kind, "refused");
    let control = Stopping { after: std::cell::Cell::new(3) };
    let error = futures_executor::block_on(source.compare(&export, None, engines, &control)).unwrap_err();
    assert_eq!(error.kind, "cancelled");
}
