//! Trying schemes on layers: every figure against what numpy has computed (`tests/oracle/preview.py`).

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod opened;

use opened::{Stopping, open_folder};
use quantscope_session::api::{LayerTrial, PreviewRequest, SchemeTrial};
use quantscope_session::{CpuEngine, Engines, Limits, Session, Uncontrolled};
use serde_json::Value;

fn try_on(session: &Session, layer: &str, schemes: &[&str], sample: Option<u64>) -> LayerTrial {
    let request = PreviewRequest {
        layer: layer.into(),
        schemes: schemes.iter().map(ToString::to_string).collect(),
        sample_bytes: sample,
        group_size: None,
    };
    let cpu = CpuEngine::new();
    let engines = Engines { gpu: None, cpu: &cpu };
    futures_executor::block_on(session.preview(&request, engines, &Uncontrolled)).unwrap()
}

fn near(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1e-9), "{what}: {found}, not {expected}");
}

fn agrees(found: &SchemeTrial, expected: &Value) {
    let what = &found.scheme;
    assert_eq!(found.refused, None, "{what}");
    for (value, key) in [
        (found.sqnr_db.unwrap(), "sqnr_db"),
        (found.max_abs, "max_abs"),
        (found.mean_abs, "mean_abs"),
        (found.squared_error, "squared_error"),
    ] {
        near(value, &expected[key], &format!("{what} {key}"));
    }
    for (value, key) in [(found.bytes, "bytes"), (found.saturated, "saturated"), (found.zeroed, "zeroed")] {
        assert_eq!(Some(value), expected[key].as_u64(), "{what} {key}");
    }
    if let Some(bins) = expected["bins"].as_array() {
        assert_eq!(found.bins, bins.iter().map(|b| b.as_u64().unwrap()).collect::<Vec<_>>(), "{what}");
        let map = expected["map"].as_array().unwrap();
        assert_eq!((found.map.cells.len(), found.map.rows * found.map.cols), (map.len(), 192), "{what}");
        for (cell, expected) in found.map.cells.iter().zip(map) {
            let expected = expected.as_f64().unwrap();
            assert!((f64::from(*cell) - expected).abs() <= 1e-5 * expected, "{what}: {cell}, not {expected}");
        }
    }
}

fn cases() -> Vec<Value> {
    let text = std::fs::read(opened::data("preview.json")).unwrap();
    serde_json::from_slice::<Value>(&text).unwrap().as_array().unwrap().clone()
}

#[test]
fn every_figure_is_what_numpy_computes() {
    let mut compared = 0;
    for case in cases() {
        // Tiles of 2 KiB cut the layers into bands; the figures must not depend on them.
        for tile_bytes in [Limits::default().tile_bytes, 2048] {
            let limits = Limits { tile_bytes, ..Limits::default() };
            let session = open_folder(case["source"].as_str().unwrap(), limits);
            let schemes = case["schemes"].as_object().unwrap();
            let mut ids: Vec<&str> = schemes.keys().map(String::as_str).collect();
            if tile_bytes == 2048 {
                // Its blocks of 128 x 128 are no smaller than the layer.
                ids.retain(|id| *id != "fp8-block");
            }
            let trial = try_on(&session, case["layer"].as_str().unwrap(), &ids, None);
            assert_eq!(trial.values_read, trial.values_total);
            let bins: Vec<Value> = trial.bins.iter().map(|&b| b.into()).collect();
            assert_eq!(Value::Array(bins), case["bins"]);
            for (found, id) in trial.schemes.iter().zip(&ids) {
                assert_eq!(&found.scheme, id);
                agrees(found, &schemes[*id]);
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 26);
}

#[test]
fn a_sample_is_near_the_whole_and_says_what_it_is() {
    let session = open_folder("golden/_src/llama_hidden128", Limits::default());
    let layer = "model.layers.0.mlp.gate_proj";
    let schemes = ["nvfp4", "fp8-channel", "int8-wo"];
    let whole = try_on(&session, layer, &schemes, None);
    let part = try_on(&session, layer, &schemes, Some(8 << 10));
    assert!(part.values_read <= whole.values_read / 2 && part.values_read > 0, "{}", part.values_read);
    assert_eq!(part.values_total, whole.values_total);
    for (part, whole) in part.schemes.iter().zip(&whole.schemes) {
        assert_eq!(part.bytes, whole.bytes);
        assert!((part.sqnr_db.unwrap() - whole.sqnr_db.unwrap()).abs() < 0.5, "{}", part.scheme);
        assert!((part.squared_error / whole.squared_error - 1.0).abs() < 0.1, "{}", part.scheme);
    }
}

#[test]
fn a_quantized_layer_is_decoded_first() {
    let session = open_folder("golden/e2e_llama_nvfp4/expected", Limits::default());
    let trial = try_on(&session, "model.layers.0.mlp.down_proj.weight", &["nvfp4", "fp8"], None);
    assert!(trial.decoded);
    assert_eq!((trial.name.as_str(), trial.from.as_str()), ("model.layers.0.mlp.down_proj", "nvfp4"));
    // Values that come from NVFP4 have it back without loss, but lose something to FP8.
    assert_eq!((trial.schemes[0].sqnr_db, trial.schemes[0].max_abs), (None, 0.0));
    assert!(trial.schemes[1].sqnr_db.unwrap() > 25.0);
}

#[test]
fn what_cannot_be_tried_is_told() {
    let session = open_folder("golden/_src/llama", Limits::default());
    // 64 columns are no multiple of 128: that one scheme is refused, the other is not.
    let trial = try_on(&session, "model.layers.0.mlp.up_proj", &["int4", "nvfp4"], None);
    assert!(trial.schemes[0].refused.as_ref().unwrap().contains("multiple of the group size 128"));
    assert!(trial.schemes[1].refused.is_none());
    let cpu = CpuEngine::new();
    let engines = Engines { gpu: None, cpu: &cpu };
    for (layer, scheme, says) in [
        ("model.norm", "nvfp4", "no matrix"),
        ("model.layers.9.mlp.up_proj", "nvfp4", "no layer called"),
        ("model.layers.0.mlp.up_proj", "nvfp5", "no scheme is called"),
        ("model.layers.0.mlp.up_proj", "bf16", "no quantization scheme"),
    ] {
        let request =
            PreviewRequest { layer: layer.into(), schemes: vec![scheme.into()], ..PreviewRequest::default() };
        let error =
            futures_executor::block_on(session.preview(&request, engines, &Uncontrolled)).unwrap_err();
        assert_eq!(error.kind, "refused");
        assert!(error.message.contains(says), "{}", error.message);
    }
    let control = Stopping { after: std::cell::Cell::new(1) };
    let request = PreviewRequest {
        layer: "model.layers.0.mlp.up_proj".into(),
        schemes: vec!["nvfp4".into()],
        ..PreviewRequest::default()
    };
    let error = futures_executor::block_on(session.preview(&request, engines, &control)).unwrap_err();
    assert_eq!(error.kind, "cancelled");
}
