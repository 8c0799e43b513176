//! What a conversion leaves behind: the same bytes whatever the tile size, and nothing at all when it fails, is
//! cancelled or refused. What the bytes are is the matter of the test `cases`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use quantscope_format::{Limits, Uncontrolled};
use quantscope_session::api::{ConvertRequest, SessionError};
use quantscope_session::{Control, CpuEngine, Engines, Progress, Session};
use quantscope_tests::sink::MemorySink;
use quantscope_tests::{data, open_folder};
use std::cell::Cell;

/// A checkpoint with several schemes of layers, some kept.
const SOURCE: &str = "golden/_src/wan_vae";

fn request() -> ConvertRequest {
    ConvertRequest { to: "nvfp4".into(), exclude: vec!["*conv_in*".into()], ..ConvertRequest::default() }
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

#[test]
fn the_tile_size_changes_no_byte() {
    let converted = |tile_bytes: u64| {
        let mut sink = MemorySink::default();
        try_convert(SOURCE, &request(), tile_bytes, &mut sink, &Uncontrolled).unwrap();
        sink.finished
    };
    let whole = converted(16 << 20);
    for tile_bytes in [1, 33, 256, 4096] {
        let cut = converted(tile_bytes);
        assert_eq!(whole.keys().collect::<Vec<_>>(), cut.keys().collect::<Vec<_>>());
        for (name, bytes) in whole.iter().filter(|(name, _)| name.ends_with(".safetensors")) {
            assert_eq!(&cut[name], bytes, "{name} with tiles of {tile_bytes} bytes");
        }
    }
}

#[test]
fn a_sink_that_fails_at_any_call_leaves_nothing() {
    let mut sink = MemorySink::default();
    try_convert(SOURCE, &request(), 1 << 20, &mut sink, &Uncontrolled).unwrap();
    let calls = sink.calls;
    assert!(calls > 100, "only {calls} calls");
    for fail_at in 1..=calls {
        let mut sink = MemorySink { fail_at: Some(fail_at), ..MemorySink::default() };
        let error = try_convert(SOURCE, &request(), 1 << 20, &mut sink, &Uncontrolled).unwrap_err();
        assert_eq!(error.kind, "sink", "call {fail_at}: {error}");
        assert!(sink.finished.is_empty(), "call {fail_at}");
    }
}

#[test]
fn a_medium_that_changes_bytes_is_found_out() {
    let mut sink = MemorySink { corrupt: true, ..MemorySink::default() };
    let error = try_convert(SOURCE, &request(), 1 << 20, &mut sink, &Uncontrolled).unwrap_err();
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
        let error = try_convert(SOURCE, &request(), 1 << 20, &mut sink, &control).unwrap_err();
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
