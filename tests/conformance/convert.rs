//! Conversions against what the reference wrote, tensor by tensor and byte by byte; their independence of
//! tile sizes; and that nothing remains of one that failed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use quantscope_format::{Limits, MemorySource, ShardHeader, Source as _, Uncontrolled, read_header};
use quantscope_session::api::{ConvertRequest, SessionError};
use quantscope_session::{Control, CpuEngine, Engines, Progress, Session};
use quantscope_tests::sink::MemorySink;
use quantscope_tests::{data, open_folder};
use serde_json::Value;
use std::cell::Cell;
use std::collections::BTreeMap;

/// Tensors of the weight files in a folder: dtype, shape, bytes.
type Tensors = BTreeMap<String, (String, Vec<u64>, Vec<u8>)>;

fn tensors_of(bytes: &[u8]) -> Tensors {
    let source = MemorySource::new("output", bytes);
    let header: ShardHeader = pollster::block_on(read_header(&source, &Limits::default())).unwrap();
    assert!(header.is_sound(), "{:?}", header.defects);
    let slice =
        |begin: u64, end: u64| bytes[usize::try_from(begin).unwrap()..usize::try_from(end).unwrap()].to_vec();
    let entry = |t: &quantscope_format::TensorInfo| {
        (t.name.clone(), (t.dtype.tag().to_string(), t.shape.clone(), slice(t.begin, t.end)))
    };
    assert_eq!(source.len(), header.file_len);
    header.tensors.iter().map(entry).collect()
}

fn expected_tensors(folder: &str) -> Tensors {
    let mut all = Tensors::new();
    for entry in std::fs::read_dir(data(folder)).unwrap().flatten() {
        if entry.path().extension().is_some_and(|e| e == "safetensors") {
            all.extend(tensors_of(&std::fs::read(entry.path()).unwrap()));
        }
    }
    all
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(data(path)).unwrap()).unwrap()
}

fn try_convert(
    source: &str,
    request: &ConvertRequest,
    tile_bytes: u64,
    sink: &mut MemorySink,
    control: &dyn Control,
) -> Result<(), SessionError> {
    // A case's folder holds its source beside its expectation; a path to a file opens that file alone.
    let path = data(source);
    let (mut files, _) = open_folder(if path.is_file() { path.parent().unwrap() } else { &path });
    files.retain(|f| path.is_dir() || source.ends_with(&f.path));
    let limits = Limits { tile_bytes, ..Limits::default() };
    pollster::block_on(async {
        let session = Session::open(source, files, limits, &Uncontrolled).await?;
        let engine = CpuEngine::new();
        session.convert(request, Engines { gpu: None, cpu: &engine }, sink, control).await.map(|_| ())
    })
}

fn convert(source: &str, request: &ConvertRequest, tile_bytes: u64) -> BTreeMap<String, Vec<u8>> {
    let mut sink = MemorySink::default();
    try_convert(source, request, tile_bytes, &mut sink, &Uncontrolled).unwrap();
    sink.finished
}

fn written_tensors(files: &BTreeMap<String, Vec<u8>>) -> Tensors {
    let shards = files.iter().filter(|(name, _)| name.ends_with(".safetensors"));
    shards.flat_map(|(_, bytes)| tensors_of(bytes)).collect()
}

/// One golden conversion.
struct Case {
    source: &'static str,
    expected: &'static str,
    /// `case.json` and the field that holds its maxima; empty for none.
    calibration: (&'static str, &'static str),
    to: &'static str,
    exclude: &'static [&'static str],
    dtype: Option<&'static str>,
}

impl Case {
    fn request(&self) -> ConvertRequest {
        let (path, field) = self.calibration;
        let calibration_json = (!path.is_empty()).then(|| json(path)[field].to_string());
        assert_ne!(calibration_json.as_deref(), Some("null"), "{path} has no {field}");
        ConvertRequest {
            to: self.to.into(),
            exclude: self.exclude.iter().map(ToString::to_string).collect(),
            dtype: self.dtype.map(str::to_string),
            calibration_json,
            ..ConvertRequest::default()
        }
    }

    fn check(&self) {
        let files = convert(self.source, &self.request(), Limits::default().tile_bytes);
        let (written, mut expected) = (written_tensors(&files), expected_tensors(self.expected));
        if self.calibration.0.is_empty() {
            expected.retain(|name, _| !name.ends_with(".input_scale"));
        }
        let names = |t: &Tensors| t.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&written), names(&expected), "{}", self.expected);
        for (name, right) in &expected {
            let found = &written[name];
            assert_eq!((&found.0, &found.1), (&right.0, &right.1), "{}: {name}", self.expected);
            let at = found.2.iter().zip(&right.2).position(|(a, b)| a != b);
            assert_eq!(at, None, "{}: {name} differs first at byte {at:?}", self.expected);
        }
        self.check_configs(&files);
    }

    fn check_configs(&self, files: &BTreeMap<String, Vec<u8>>) {
        for name in ["config.json", "hf_quant_config.json"] {
            let path = format!("{}/{name}", self.expected);
            let Ok(bytes) = std::fs::read(data(&path)) else {
                assert!(!files.contains_key(name), "{}: {name} was written", self.expected);
                continue;
            };
            let mut right: Value = serde_json::from_slice(&bytes).unwrap();
            let mut found: Value = serde_json::from_slice(&files[name]).unwrap();
            if name == "config.json" {
                right = right["quantization_config"].take();
                found = found["quantization_config"].take();
            }
            for value in [&mut right, &mut found] {
                value.as_object_mut().unwrap().remove("producer");
            }
            assert_eq!(found, right, "{path}");
        }
    }
}

const WAN: Case = Case {
    source: "golden/_src/wan_vae",
    expected: "golden/e2e_wan_vae_nvfp4_conv3d/expected",
    calibration: ("golden/e2e_wan_vae_nvfp4_conv3d/case.json", "activation_amax"),
    to: "nvfp4",
    exclude: &["*conv_in*"],
    dtype: None,
};

#[test]
fn the_small_vae_is_what_the_reference_wrote() {
    WAN.check();
}

#[test]
fn the_residual_vaes_are_what_the_reference_wrote() {
    for (source, expected, exclude) in [
        ("golden-pr/vae/wan22_residual/source", "golden-pr/vae/wan22_residual/expected", &[][..]),
        ("golden-pr/vae/wan21_all/source", "golden-pr/vae/wan21_all/expected", &[]),
        (
            "golden-pr/vae/wan22_residual/source",
            "golden-pr/vae/wan22_residual_filter/expected",
            &["*conv_in", "*conv_out", "*quant_conv", "*conv_shortcut", "*time_conv"],
        ),
    ] {
        Case { source, expected, calibration: ("", ""), to: "nvfp4", exclude, dtype: None }.check();
    }
}

#[test]
fn banks_of_convolutions_are_what_the_reference_wrote() {
    for (source, expected, case, dtype) in [
        (
            "golden-pr/conv3d/conv3d_bf16/source",
            "golden-pr/conv3d/conv3d_bf16/expected",
            "golden-pr/conv3d/conv3d_bf16/case.json",
            None,
        ),
        (
            "golden-pr/conv3d/conv3d_f16/source",
            "golden-pr/conv3d/conv3d_f16/expected",
            "golden-pr/conv3d/conv3d_f16/case.json",
            None,
        ),
        (
            "golden-pr/conv3d/conv3d_f32/source",
            "golden-pr/conv3d/conv3d_f32/expected",
            "golden-pr/conv3d/conv3d_f32/case.json",
            None,
        ),
        (
            "golden-pr/conv3d/conv3d_f32_to_bf16/source",
            "golden-pr/conv3d/conv3d_f32_to_bf16/expected",
            "golden-pr/conv3d/conv3d_f32_to_bf16/case.json",
            Some("bf16"),
        ),
        (
            "golden-pr/conv3d/conv3d_f16_to_bf16/source",
            "golden-pr/conv3d/conv3d_f16_to_bf16/expected",
            "golden-pr/conv3d/conv3d_f16_to_bf16/case.json",
            Some("bf16"),
        ),
    ] {
        for calibration in [("", ""), (case, "calibrated_amax")] {
            Case { source, expected, calibration, to: "nvfp4", exclude: &["z_disabled"], dtype }.check();
        }
    }
}

#[test]
fn language_models_are_what_the_reference_wrote() {
    for (source, expected, case, to) in [
        ("golden/_src/llama", "golden/e2e_llama_nvfp4/expected", "golden/e2e_llama_nvfp4/case.json", "nvfp4"),
        (
            "golden/_src/llama",
            "golden/e2e_llama_nvfp4_kvfp8/expected",
            "golden/e2e_llama_nvfp4_kvfp8/case.json",
            "nvfp4",
        ),
        (
            "golden/_src/llama_tieTrue",
            "golden/e2e_llama_nvfp4_tied_head/expected",
            "golden/e2e_llama_nvfp4_tied_head/case.json",
            "nvfp4",
        ),
        (
            "golden/_src/llama",
            "golden/e2e_llama_w4a16_nvfp4/expected",
            "golden/e2e_llama_w4a16_nvfp4/case.json",
            "w4a16-nvfp4",
        ),
    ] {
        Case { source, expected, calibration: (case, "activation_amax"), to, exclude: &[], dtype: None }
            .check();
    }
    // Its maxima are named by stacks of experts, which the source does not have.
    let (source, expected) = ("golden/_src/e2e_mixtral_nvfp4", "golden/e2e_mixtral_nvfp4/expected");
    Case { source, expected, calibration: ("", ""), to: "nvfp4", exclude: &[], dtype: None }.check();
}

#[test]
fn the_tile_size_changes_no_byte() {
    let whole = convert(WAN.source, &WAN.request(), 16 << 20);
    for tile_bytes in [1, 33, 256, 4096] {
        let cut = convert(WAN.source, &WAN.request(), tile_bytes);
        assert_eq!(whole.keys().collect::<Vec<_>>(), cut.keys().collect::<Vec<_>>());
        for (name, bytes) in whole.iter().filter(|(name, _)| name.ends_with(".safetensors")) {
            assert_eq!(&cut[name], bytes, "{name} with tiles of {tile_bytes} bytes");
        }
    }
}

#[test]
fn a_sink_that_fails_at_any_call_leaves_nothing() {
    let mut sink = MemorySink::default();
    try_convert(WAN.source, &WAN.request(), 1 << 20, &mut sink, &Uncontrolled).unwrap();
    let calls = sink.calls;
    assert!(calls > 100, "only {calls} calls");
    for fail_at in 1..=calls {
        let mut sink = MemorySink { fail_at: Some(fail_at), ..MemorySink::default() };
        let error = try_convert(WAN.source, &WAN.request(), 1 << 20, &mut sink, &Uncontrolled).unwrap_err();
        assert_eq!(error.kind, "sink", "call {fail_at}: {error}");
        assert!(sink.finished.is_empty(), "call {fail_at}");
    }
}

#[test]
fn a_medium_that_changes_bytes_is_found_out() {
    let mut sink = MemorySink { corrupt: true, ..MemorySink::default() };
    let error = try_convert(WAN.source, &WAN.request(), 1 << 20, &mut sink, &Uncontrolled).unwrap_err();
    assert!(error.message.contains("read back"), "{error}");
    assert!(sink.finished.is_empty());
}

/// A control that cancels when it is asked for the n-th time.
struct CancelAt(Cell<u32>);

impl Control for CancelAt {
    fn progress(&self, _: &Progress) {}
    fn is_cancelled(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left == 0
    }
}

#[test]
fn cancelling_leaves_nothing() {
    for at in [0, 1, 10, 100, 200] {
        let mut sink = MemorySink::default();
        let control = CancelAt(Cell::new(at));
        let error = try_convert(WAN.source, &WAN.request(), 1 << 20, &mut sink, &control).unwrap_err();
        assert_eq!(error.kind, "cancelled", "at {at}: {error}");
        assert!(sink.finished.is_empty(), "at {at}");
    }
}

#[test]
fn what_cannot_be_converted_is_refused_by_name() {
    let request = |to: &str, exclude: &[&str]| ConvertRequest {
        to: to.into(),
        exclude: exclude.iter().map(ToString::to_string).collect(),
        ..ConvertRequest::default()
    };
    for (source, request, words) in [
        ("golden/_src/wan_vae", request("int9", &[]), "no scheme is called"),
        ("golden/_src/llama", request("f64", &[]), "is no quantization scheme"),
        ("golden/_src/wan_vae", request("nvfp4-awq", &[]), "can be read but not written"),
        ("golden/_src/wan_vae", request("nvfp4", &["*"]), "nothing would be packed"),
        ("golden/_src/llama_hidden136", request("nvfp4", &[]), "no multiple of 16"),
        (
            "golden/nvfp4_bmm_llama4_experts/source.safetensors",
            request("nvfp4", &[]),
            "no config.json tells the hidden size",
        ),
        ("golden/e2e_llama_fp8/expected", request("nvfp4", &[]), "is stored as fp8 already"),
    ] {
        let mut sink = MemorySink::default();
        let error = try_convert(source, &request, 1 << 20, &mut sink, &Uncontrolled).expect_err(source);
        assert_eq!(error.kind, "refused", "{source}: {error}");
        assert!(error.message.contains(words), "{source}: {error}");
        assert!(sink.finished.is_empty(), "{source}");
    }
}
