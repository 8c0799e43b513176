//! A scheme is one file. With the feature `made-up`, the build takes in `tests/made-up/made_up.rs`, which
//! nothing else names; it is then listed, recognised, audited, decoded, written and documented.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_audit::decoded::DecodedLayer;
use quantscope_audit::{Checkpoint, Model};
use quantscope_format::{Limits, TensorSpec, Uncontrolled};
use quantscope_numeric::Dtype;
use quantscope_schemes::{Region, by_id, schemes};
use quantscope_session::{CpuEngine, InputFile, Session};
use quantscope_tests::format_pages::{contents, page};
use quantscope_tests::specimen::{SIDES, Specimen, file, shard, weight};

/// A layer of 2 x 3 bytes and, if given, the shape of its step.
fn fixture(step: Option<&[u64]>) -> Vec<InputFile> {
    let spec =
        |name: &str, dtype, shape: &[u64]| TensorSpec { name: name.into(), dtype, shape: shape.to_vec() };
    let mut tensors = vec![(spec("fc.weight", Dtype::U8, &[2, 3]), vec![128, 129, 127, 255, 1, 128])];
    if let Some(shape) = step {
        let count = usize::try_from(shape.iter().product::<u64>()).unwrap();
        tensors.push((spec("fc.weight_step", Dtype::F32, shape), 0.5_f32.to_le_bytes().repeat(count)));
    }
    let config = br#"{"quantization_config": {"quant_method": "modelopt", "quant_algo": "MADE_UP"}}"#;
    vec![file("config.json", config.to_vec()), file("model.safetensors", shard(&tensors, &[]))]
}

fn rules_of(files: Vec<InputFile>) -> Vec<String> {
    let opened = Session::open("made-up", files, Limits::default(), &Uncontrolled);
    let report = futures_executor::block_on(opened).unwrap().report().unwrap();
    assert_eq!(report.layers[0].scheme, "made-up");
    report.findings.into_iter().map(|finding| finding.rule).collect()
}

#[test]
fn it_is_listed() {
    assert!(schemes().iter().any(|s| s.id() == "made-up"));
    assert!(contents().contains("made-up.md"));
}

#[test]
fn it_is_recognised_and_decoded() {
    futures_executor::block_on(async {
        let limits = Limits::default();
        let checkpoint =
            Checkpoint::open("made-up", fixture(Some(&[])), &limits, &Uncontrolled).await.unwrap();
        let model = Model::of(&checkpoint);
        let layer = model.layer("fc").unwrap();
        assert_eq!((layer.scheme.id(), layer.is_complete, layer.bits_per_weight()), ("made-up", true, 8.0));
        let decoded = DecodedLayer::new(&checkpoint, layer).unwrap();
        let values = decoded.values(&CpuEngine::new(), &Region { rows: 0..2, cols: 0..3 }).await.unwrap();
        assert_eq!(values, [0.0, 0.5, -0.5, 63.5, -63.5, 0.0]);
    });
}

#[test]
fn it_is_audited() {
    assert_eq!(rules_of(fixture(Some(&[]))), Vec::<String>::new());
    assert!(rules_of(fixture(None)).contains(&"SC001".to_string()));
    assert!(rules_of(fixture(Some(&[2]))).contains(&"SH501".to_string()));
}

#[test]
fn it_is_written_and_documented() {
    let specimen = Specimen::converted("made-up").unwrap();
    let text = page(by_id("made-up").unwrap(), Some(&specimen));
    assert!(text.contains("`quant_algo` `MADE_UP`") && text.contains("layer.weight_step"), "{text}");
    futures_executor::block_on(async {
        let limits = Limits::default();
        let checkpoint = Checkpoint::open("made-up", specimen.files, &limits, &Uncontrolled).await.unwrap();
        let model = Model::of(&checkpoint);
        let decoded = DecodedLayer::new(&checkpoint, model.layer("layer").unwrap()).unwrap();
        let whole = Region { rows: 0..SIDES[0], cols: 0..SIDES[1] };
        let values = decoded.values(&CpuEngine::new(), &whole).await.unwrap();
        let step = 0.75 / 127.0;
        assert!(
            values.iter().zip(weight()).all(|(found, right)| (found - right).abs() <= step),
            "{values:?}"
        );
    });
}
