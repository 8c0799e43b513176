//! What a conversion leaves behind: the same bytes whatever the tile size, and nothing at all when it fails, is
//! cancelled or refused. What the bytes are is the matter of the test `cases`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use quantscope_format::{Limits, TensorSpec, Uncontrolled};
use quantscope_numeric::Dtype;
use quantscope_session::api::{ConvertRequest, SessionError};
use quantscope_session::{Control, CpuEngine, Engines, Progress, Session};
use quantscope_tests::sink::MemorySink;
use quantscope_tests::specimen::{file, shard};
use quantscope_tests::tensors::parse;
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
    futures_executor::block_on(async {
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

/// A weight of one block: its only block maximum looks like the maximum of the tensor, and the global one beside
/// it says that it is none. Found by a random comparison; the values follow from `formats.md` c by hand.
#[test]
fn a_single_block_takes_the_maximum_it_is_given() {
    let spec = TensorSpec { name: "a.proj.weight".into(), dtype: Dtype::BF16, shape: vec![1, 16] };
    let mut weight = vec![0; 30];
    weight.extend([0x00, 0x3f]); // 0.5
    let files = || {
        let shard = shard(&[(spec.clone(), weight.clone())], &[]);
        vec![file("config.json", b"{}".to_vec()), file("model.safetensors", shard)]
    };
    for to in ["nvfp4", "nvfp4-static"] {
        let calibration = r#"{"a.proj.weight_quantizer": {"amax": [[0.25]]},
                              "a.proj.weight_quantizer._global_amax": {"amax": 0.5}}"#;
        let request = ConvertRequest {
            to: to.into(),
            calibration_json: Some(calibration.into()),
            ..ConvertRequest::default()
        };
        let mut sink = MemorySink::default();
        futures_executor::block_on(async {
            let session = Session::open("one block", files(), Limits::default(), &Uncontrolled).await?;
            let engine = CpuEngine::new();
            session.convert(&request, Engines { gpu: None, cpu: &engine }, &mut sink, &Uncontrolled).await
        })
        .unwrap();
        let (found, _) = parse(&sink.finished["model.safetensors"]);
        // (0.25 / 6) * 448 / (0.5 / 6) = 224; 0.5 / (224 * 0.5 / 2688) = 12, which saturates.
        assert_eq!(found["a.proj.weight_scale"].bytes, [0x76], "{to}");
        assert_eq!(found["a.proj.weight"].bytes, [0, 0, 0, 0, 0, 0, 0, 0x70], "{to}");
        assert_eq!(found["a.proj.weight_scale_2"].bytes, (0.5_f32 / 2688.0).to_le_bytes(), "{to}");
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

/// Stopped at every third call of the sink, in the middle of a line of the journal too, and continued: the same files. What
/// was finished before is not made again.
#[test]
fn a_run_that_is_stopped_anywhere_is_continued_to_the_same_files() {
    let request = ConvertRequest { shard_size: Some("3KB".into()), ..request() };
    let run = |sink: &mut MemorySink| {
        sink.calls = 0;
        try_convert(SOURCE, &request, 1 << 20, sink, &Uncontrolled)
    };
    let mut whole = MemorySink { journal: Some(Vec::new()), ..MemorySink::default() };
    run(&mut whole).unwrap();
    let shards = whole.finished.keys().filter(|name| name.ends_with(".safetensors")).count();
    assert!(shards > 3, "only {shards} shards");
    let (calls, mut least) = (whole.calls, u64::MAX);
    for fail_at in (1..calls).step_by(3).chain([calls]) {
        let mut sink =
            MemorySink { fail_at: Some(fail_at), journal: Some(Vec::new()), ..MemorySink::default() };
        assert_eq!(run(&mut sink).unwrap_err().kind, "sink", "call {fail_at}");
        assert!(sink.finished.is_empty(), "call {fail_at}");
        sink.fail_at = None;
        run(&mut sink).unwrap();
        assert!(sink.finished == whole.finished, "stopped at call {fail_at}, the files differ");
        least = least.min(sink.calls);
    }
    assert!(least < calls / 2, "{least} calls of {calls}: finished files are made again");
}

/// What is left of a stopped run is compared, every byte of it.
#[test]
fn a_finished_file_that_is_damaged_is_made_again() {
    let request = ConvertRequest { shard_size: Some("3KB".into()), ..request() };
    let run = |sink: &mut MemorySink| try_convert(SOURCE, &request, 1 << 20, sink, &Uncontrolled);
    let mut whole = MemorySink::default();
    run(&mut whole).unwrap();
    let stopped = || {
        // The last call of all: everything but the final name is there.
        let mut sink =
            MemorySink { fail_at: Some(whole.calls), journal: Some(Vec::new()), ..MemorySink::default() };
        run(&mut sink).unwrap_err();
        (sink.fail_at, sink.calls) = (None, 0);
        sink
    };
    let mut undamaged = stopped();
    run(&mut undamaged).unwrap();
    let names: Vec<String> =
        whole.finished.keys().filter(|name| name.ends_with(".safetensors")).cloned().collect();
    for name in names {
        let len = whole.finished[&name].len();
        for at in [20, len - 1] {
            let mut sink = stopped();
            sink.left.get_mut(&name).unwrap()[at] ^= 4;
            run(&mut sink).unwrap();
            assert!(sink.finished == whole.finished, "{name}, byte {at}");
            assert!(sink.calls > undamaged.calls, "{name}, byte {at}: it was not made again");
        }
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
