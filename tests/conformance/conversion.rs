//! Whole conversions give the bytes of the reference, whatever the engine and the size of the tiles, and
//! leave nothing behind when they end early.

use quantscope_format::{Control, Limits, Progress, ShardHeader, Uncontrolled};
use quantscope_kernels::{CpuEngine, Engine};
use quantscope_session::api::{ConvertRequest, SessionError};
use quantscope_session::{Engines, Session};
use quantscope_tests::{MemorySink, data, gpu, open_folder};
use serde_json::{Map, Value, json};
use std::cell::Cell;
use std::collections::BTreeMap;

/// A source, what the reference made of it, and what was left out.
struct Case {
    source: &'static str,
    result: &'static str,
    exclude: &'static [&'static str],
    dtype: Option<&'static str>,
}

const CASES: &[Case] = &[
    Case {
        source: "golden/_src/wan_vae",
        result: "golden/e2e_wan_vae_nvfp4_conv3d",
        exclude: &["*conv_in*"],
        dtype: None,
    },
    vae("golden-pr/vae/wan22_residual/source", "golden-pr/vae/wan22_residual"),
    vae("golden-pr/vae/wan21_all/source", "golden-pr/vae/wan21_all"),
    bank("golden-pr/conv3d/conv3d_bf16/source", "golden-pr/conv3d/conv3d_bf16", None),
    bank("golden-pr/conv3d/conv3d_f16/source", "golden-pr/conv3d/conv3d_f16", None),
    bank("golden-pr/conv3d/conv3d_f32/source", "golden-pr/conv3d/conv3d_f32", None),
    bank("golden-pr/conv3d/conv3d_f16_to_bf16/source", "golden-pr/conv3d/conv3d_f16_to_bf16", Some("bf16")),
    bank("golden-pr/conv3d/conv3d_f32_to_bf16/source", "golden-pr/conv3d/conv3d_f32_to_bf16", Some("bf16")),
];

const fn vae(source: &'static str, result: &'static str) -> Case {
    Case { source, result, exclude: &[], dtype: None }
}

/// A bank of convolutions, the last of which the reference left plain.
const fn bank(source: &'static str, result: &'static str, dtype: Option<&'static str>) -> Case {
    Case { source, result, exclude: &["z_disabled"], dtype }
}

fn parsed(path: &std::path::Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Activation maxima of a case, in the form that conversions take.
fn calibration(case: &Case) -> String {
    let facts = parsed(&data(case.result).join("case.json"));
    if let Some(named) = facts.get("activation_amax") {
        return named.to_string();
    }
    let plain = facts["calibrated_amax"].as_object().unwrap();
    let inputs = plain
        .iter()
        .filter_map(|(name, amax)| Some((name.strip_suffix("._amax")?, amax)))
        .filter(|(name, _)| name.ends_with(".input_quantizer"))
        .map(|(name, amax)| (name.to_owned(), json!({ "amax": amax })));
    Value::Object(inputs.collect::<Map<_, _>>()).to_string()
}

fn request(case: &Case) -> ConvertRequest {
    ConvertRequest {
        to: "nvfp4".into(),
        exclude: case.exclude.iter().map(|&glob| glob.into()).collect(),
        dtype: case.dtype.map(str::to_owned),
        calibration_json: Some(calibration(case)),
        ..ConvertRequest::default()
    }
}

fn convert(
    case: &Case,
    gpu: Option<&dyn Engine>,
    limits: Limits,
    sink: &mut MemorySink,
    control: &dyn Control,
) -> Result<String, SessionError> {
    let (files, _) = open_folder(&data(case.source));
    let cpu = CpuEngine::new();
    pollster::block_on(async {
        let session = Session::open(case.source, files, limits, &Uncontrolled).await?;
        let summary = session.convert(&request(case), Engines { gpu, cpu: &cpu }, sink, control).await?;
        Ok(summary.engine)
    })
}

fn converted(case: &Case, gpu: Option<&dyn Engine>, limits: Limits) -> BTreeMap<String, Vec<u8>> {
    let mut sink = MemorySink::default();
    convert(case, gpu, limits, &mut sink, &Uncontrolled)
        .unwrap_or_else(|error| panic!("{}: {error:?}", case.source));
    assert!(sink.is_clean());
    sink.files().clone()
}

/// Tensors of a file: type, shape and bytes by name.
fn tensors(bytes: &[u8]) -> BTreeMap<String, (String, Vec<u64>, Vec<u8>)> {
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let header = ShardHeader::parse(&bytes[8..8 + length], bytes.len() as u64, &Limits::default());
    assert!(header.is_sound(), "{:?}", header.defects);
    let span = |begin, end| bytes[usize::try_from(begin).unwrap()..usize::try_from(end).unwrap()].to_vec();
    header
        .tensors
        .into_iter()
        .map(|t| (t.name, (t.dtype.tag().to_owned(), t.shape, span(t.begin, t.end))))
        .collect()
}

/// What differs between a file of ours and one of the reference, tensor by tensor.
fn differences(ours: &[u8], theirs: &[u8]) -> Vec<String> {
    let (ours, theirs) = (tensors(ours), tensors(theirs));
    let mut differences: Vec<String> =
        ours.keys().filter(|n| !theirs.contains_key(*n)).map(|n| format!("{n} is ours alone")).collect();
    for (name, (dtype, shape, bytes)) in &theirs {
        match ours.get(name) {
            None => differences.push(format!("{name} is missing")),
            Some((d, s, _)) if (d, s) != (dtype, shape) => {
                differences.push(format!("{name}: {d} {s:?} instead of {dtype} {shape:?}"));
            }
            Some((_, _, found)) => {
                if let Some(at) = bytes.iter().zip(found).position(|(a, b)| a != b) {
                    differences.push(format!(
                        "{name}: byte {at} is {:#04x} instead of {:#04x}",
                        found[at], bytes[at]
                    ));
                }
            }
        }
    }
    differences
}

#[test]
fn conversions_give_the_bytes_of_the_reference() {
    let mut wrong = Vec::new();
    for case in CASES {
        let expected = data(case.result).join("expected");
        let files = converted(case, None, Limits::default());
        let weights = "diffusion_pytorch_model.safetensors";
        let found = differences(&files[weights], &std::fs::read(expected.join(weights)).unwrap());
        wrong.extend(found.iter().map(|difference| format!("{}: {difference}", case.source)));

        let mut ours: Value = serde_json::from_slice(&files["config.json"]).unwrap();
        let mut theirs = parsed(&expected.join("config.json"));
        for config in [&mut ours, &mut theirs] {
            // The producer names the tool that wrote the file.
            let producer = config["quantization_config"].as_object_mut().and_then(|c| c.remove("producer"));
            assert!(producer.is_some(), "{}: the config names no producer", case.source);
        }
        if ours != theirs {
            wrong.push(format!("{}: config.json is\n{ours:#}\ninstead of\n{theirs:#}", case.source));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_changed_byte_is_noticed() {
    let file = data("golden/e2e_wan_vae_nvfp4_conv3d/expected/diffusion_pytorch_model.safetensors");
    let right = std::fs::read(file).unwrap();
    let mut changed = right.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(differences(&right, &right), Vec::<String>::new());
    assert_eq!(differences(&changed, &right).len(), 1);
}

#[test]
fn the_size_of_tiles_changes_nothing() {
    let whole = converted(&CASES[0], None, Limits::default());
    for tile_bytes in [1, 1000, 4096, 65_536] {
        let limits = Limits { tile_bytes, ..Limits::default() };
        let tiled = converted(&CASES[0], None, limits);
        assert!(tiled == whole, "tiles of {tile_bytes} bytes give other files");
    }
}

#[test]
fn the_engine_changes_nothing() {
    let Some(engine) = gpu() else { return };
    for case in CASES {
        let mut sink = MemorySink::default();
        let used = convert(case, Some(&engine), Limits::default(), &mut sink, &Uncontrolled).unwrap();
        assert_eq!(used, engine.description(), "{}: another engine did the work", case.source);
        let by_cpu = converted(case, None, Limits::default());
        let weights = "diffusion_pytorch_model.safetensors";
        assert_eq!(
            differences(&sink.files()[weights], &by_cpu[weights]),
            Vec::<String>::new(),
            "{}",
            case.source
        );
    }
}

/// Stops a job at its `after`-th question.
struct Stop {
    after: Cell<u32>,
}

impl Control for Stop {
    fn progress(&self, _: &Progress) {}

    fn is_cancelled(&self) -> bool {
        let left = self.after.get();
        self.after.set(left.saturating_sub(1));
        left == 0
    }
}

#[test]
fn a_cancelled_conversion_leaves_nothing() {
    for after in [0, 1, 5, 30] {
        let mut sink = MemorySink::default();
        let control = Stop { after: Cell::new(after) };
        let error = convert(&CASES[0], None, Limits::default(), &mut sink, &control).unwrap_err();
        assert_eq!(error.kind, "cancelled", "{error:?}");
        assert!(sink.files().is_empty() && sink.is_clean(), "after {after} questions");
    }
}

#[test]
fn a_conversion_whose_disk_fails_leaves_nothing() {
    for writes in [0, 1, 10, 100] {
        let mut sink = MemorySink::failing_after(writes);
        let error = convert(&CASES[0], None, Limits::default(), &mut sink, &Uncontrolled).unwrap_err();
        assert_eq!(error.kind, "sink", "{error:?}");
        assert!(sink.files().is_empty() && sink.is_clean(), "after {writes} writes");
    }
}
