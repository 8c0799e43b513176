//! Every call of every door fails once, in every way: see `faults/visit.rs`. What was visited is printed.

#![allow(clippy::panic, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use quantscope_format::Limits;
use quantscope_session::api::{AuditChoice, ConvertRequest, HeatQuery, PreviewRequest};
use quantscope_session::{CpuEngine, Engines, Session, Uncontrolled};
use quantscope_tests::data;
use quantscope_tests::faults::Door;
use quantscope_tests::faults::visit::{Job, Place, Result, visit};
use quantscope_tests::jobs::{Files, files_of};
use quantscope_tests::sink::MemorySink;
use quantscope_tests::specimen::file;
use quantscope_tests::tensors::{Stored, Tensors, file_of, parse};
use std::collections::BTreeMap;

/// Small tiles, so that each tensor is several calls.
fn limits() -> Limits {
    Limits { tile_bytes: 1024, ..Limits::default() }
}

/// Opens the files, unless a run before has opened them and is still there.
async fn open(place: &mut Place, files: &Files) -> Result<Session> {
    if let Some(session) = &place.session {
        return Ok(session.clone());
    }
    let control = place.control();
    let session = Session::open("checkpoint", place.inputs(files), limits(), &control).await?;
    place.session = Some(session.clone());
    Ok(session)
}

/// A reply as a result that can be compared.
fn reply(of: &impl serde::Serialize) -> Result {
    let bytes = serde_json::to_vec(of).expect("a reply is JSON");
    Ok(BTreeMap::from([("reply".into(), bytes)]))
}

/// A checkpoint of the data with no more than the tensors whose names have one of these parts.
fn part_of(folder: &str, parts: &[&str]) -> Files {
    let mut files = files_of(&data(folder));
    let mut kept = Tensors::new();
    for bytes in files.iter().filter(|(name, _)| name.ends_with(".safetensors")).map(|(_, bytes)| bytes) {
        kept.extend(parse(bytes).0);
    }
    kept.retain(|name, _| parts.iter().any(|part| name.contains(part)));
    assert!(kept.len() >= parts.len(), "{folder} has no tensors of these names");
    files.retain(|name, _| name.ends_with("config.json"));
    files.insert("model.safetensors".into(), file_of(&kept, &[("format".into(), "pt".into())]));
    files
}

/// Two convolutions that are packed, and two tensors that are kept.
fn source() -> Files {
    let parts =
        ["decoder.conv_out", "decoder.mid_block.resnets.0.conv1", "decoder.norm_out", "attentions.0.norm"];
    part_of("golden/_src/wan_vae", &parts)
}

const LLAMA: [&str; 2] = ["layers.0.self_attn.k_proj", "layers.0.input_layernorm"];

fn packed() -> Files {
    part_of("golden/e2e_llama_nvfp4_sharded/expected", &LLAMA)
}

/// An export with one quantizer's state left in it.
fn leaking() -> Files {
    let mut files =
        part_of("golden/e2e_wan_vae_nvfp4_conv3d/expected", &["decoder.conv_out", "decoder.norm_out"]);
    let (mut tensors, metadata) = parse(&files["model.safetensors"]);
    let leaked = Stored { dtype: "F32".into(), shape: Vec::new(), bytes: vec![0, 0, 0, 0x3e] };
    tensors.insert("decoder.conv_out.weight_quantizer._amax".into(), leaked);
    files.insert("model.safetensors".into(), file_of(&tensors, &metadata));
    files
}

/// The files that a conversion has left under their final names.
async fn converted(place: &mut Place, files: &Files, request: &ConvertRequest) -> Result {
    let session = open(place, files).await?;
    let (gpu, cpu, control) = (place.engine(Door::Gpu), place.engine(Door::Cpu), place.control());
    let engines = Engines { gpu: Some(&gpu), cpu: &cpu };
    session.convert(request, engines, &mut place.sink(), &control).await?;
    Ok(place.sink.finished.clone())
}

fn request(to: &str) -> ConvertRequest {
    ConvertRequest { to: to.into(), shard_size: Some("1KB".into()), ..ConvertRequest::default() }
}

/// The doors that every conversion passes.
const CONVERSION: &[Door] = &[
    Door::Read,
    Door::CheckUnchanged,
    Door::Reserve,
    Door::StoppedRun,
    Door::BeginJournal,
    Door::Create,
    Door::Write,
    Door::ReadBack,
    Door::ReadWritten,
    Door::Commit,
    Door::Ask,
];

/// Visits a job; prints and holds how much there was to visit.
fn visited(name: &str, job: Job, at_least: u64, doors: &[Door]) {
    let tally = visit(job).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    println!("{name}: {} calls, {} visits", tally.calls(), tally.visits());
    for (door, (calls, right, errors)) in &tally.doors {
        println!("  {door:?}: {calls} calls, {right} with the right result, {errors} with an error");
    }
    for door in doors {
        assert!(tally.doors.contains_key(door), "{name}: {door:?} was not passed");
    }
    assert!(tally.visits() >= at_least, "{name}: only {} visits, {at_least} before", tally.visits());
}

#[test]
fn opening_and_verifying() {
    visited(
        "verifying",
        |place| {
            Box::pin(async move {
                let mut session = open(place, &packed()).await?;
                let (gpu, cpu, control) = (place.engine(Door::Gpu), place.engine(Door::Cpu), place.control());
                session.choose(&AuditChoice::default())?;
                let verified = session.verify(Engines { gpu: Some(&gpu), cpu: &cpu }, &control).await;
                // Findings stay as they were where it fails: the same session is verified again afterwards.
                place.session = Some(session.clone());
                verified?;
                reply(&session.report()?)
            })
        },
        50,
        &[Door::Read, Door::Gpu, Door::Ask],
    );
}

#[test]
fn verifying_without_a_gpu() {
    visited(
        "verifying on the CPU",
        |place| {
            Box::pin(async move {
                let mut session = open(place, &packed()).await?;
                let (cpu, control) = (place.engine(Door::Cpu), place.control());
                session.verify(Engines { gpu: None, cpu: &cpu }, &control).await?;
                reply(&session.report()?)
            })
        },
        47,
        &[Door::Read, Door::Cpu, Door::Ask],
    );
}

#[test]
fn converting() {
    visited(
        "converting",
        |place| Box::pin(async move { converted(place, &source(), &request("nvfp4")).await }),
        306,
        CONVERSION,
    );
}

/// Leaves in a sink what a run leaves that was stopped when all but the final names was there.
async fn stop_at_the_end(sink: &mut MemorySink, calls: u64) -> Result<()> {
    let inputs = source().into_iter().map(|(name, bytes)| file(&name, bytes)).collect();
    let session = Session::open("checkpoint", inputs, limits(), &Uncontrolled).await?;
    let cpu = CpuEngine::new();
    sink.fail_at = Some(calls);
    let engines = Engines { gpu: None, cpu: &cpu };
    let stopped = session.convert(&request("nvfp4"), engines, sink, &Uncontrolled).await;
    sink.fail_at = None;
    stopped.map(|_| ())
}

#[test]
fn continuing() {
    visited(
        "continuing",
        |place| {
            Box::pin(async move {
                if place.sink.calls == 0 {
                    let mut whole = MemorySink { journal: Some(Vec::new()), ..MemorySink::default() };
                    stop_at_the_end(&mut whole, u64::MAX).await?;
                    let stopped = stop_at_the_end(&mut place.sink, whole.calls).await;
                    assert!(stopped.is_err_and(|error| error.kind == "sink"));
                }
                converted(place, &source(), &request("nvfp4")).await
            })
        },
        198,
        &[Door::Read, Door::KeepOnly, Door::TakeUp, Door::ReadWritten, Door::Commit],
    );
}

#[test]
fn dequantizing() {
    visited(
        "dequantizing",
        |place| Box::pin(async move { converted(place, &packed(), &request("bf16")).await }),
        401,
        CONVERSION,
    );
}

#[test]
fn repairing() {
    visited(
        "repairing",
        |place| {
            Box::pin(async move {
                let session = open(place, &leaking()).await?;
                let control = place.control();
                session.repair(&["LK401".into()], &mut place.sink(), &control).await?;
                Ok(place.sink.finished.clone())
            })
        },
        236,
        &[Door::Read, Door::CheckUnchanged, Door::Create, Door::Write, Door::Splice, Door::Commit, Door::Ask],
    );
}

#[test]
fn previewing() {
    visited(
        "previewing",
        |place| {
            Box::pin(async move {
                let session = open(place, &source()).await?;
                let (gpu, cpu, control) = (place.engine(Door::Gpu), place.engine(Door::Cpu), place.control());
                let schemes = ["nvfp4", "fp8", "mxfp8", "int4"].map(String::from).to_vec();
                let layer = session.layers_to_try("", 1).first().map(|c| c.name.clone()).unwrap_or_default();
                let wanted = PreviewRequest { layer, schemes, ..PreviewRequest::default() };
                reply(&session.preview(&wanted, Engines { gpu: Some(&gpu), cpu: &cpu }, &control).await?)
            })
        },
        40,
        &[Door::Read, Door::Gpu, Door::Ask],
    );
}

#[test]
fn looking_at_values() {
    visited(
        "looking",
        |place| {
            Box::pin(async move {
                let session = open(place, &packed()).await?;
                let control = place.control();
                let name = "model.layers.0.self_attn.k_proj".to_string();
                let values = session.layer_values(&name, &control).await?;
                let query = HeatQuery { name, down: 8, across: 8, ..HeatQuery::default() };
                let heat = session.heat(&query, &control).await?.expect("a picture of a layer");
                reply(&(values, heat))
            })
        },
        464,
        &[Door::Read, Door::Ask],
    );
}

#[test]
fn comparing() {
    visited(
        "comparing",
        |place| {
            Box::pin(async move {
                let session = open(place, &packed()).await?;
                let (gpu, cpu, control) = (place.engine(Door::Gpu), place.engine(Door::Cpu), place.control());
                let other = part_of("golden/_src/llama", &LLAMA);
                let other = Session::open("other", place.inputs(&other), limits(), &control).await?;
                let engines = Engines { gpu: Some(&gpu), cpu: &cpu };
                reply(&other.compare(&session, None, engines, &control).await?)
            })
        },
        199,
        &[Door::Read, Door::Gpu, Door::Ask],
    );
}

#[test]
fn checking_a_manifest() {
    visited(
        "checking a manifest",
        |place| {
            Box::pin(async move {
                // Made on doors of its own, which do not fail.
                let output =
                    quantscope_tests::jobs::converted(&source(), &request("nvfp4"), None, &limits()).await?;
                let session = open(place, &output).await?;
                let control = place.control();
                let against = Session::open("source", place.inputs(&source()), limits(), &control).await?;
                let proof = session.check_manifest(Some(&against), &control).await?;
                assert!(proof.verified, "{proof:?}");
                reply(&proof)
            })
        },
        113,
        &[Door::Read, Door::Ask],
    );
}

/// The harness itself: jobs that are not as they should be, each of which it has to notice.
#[test]
fn a_job_that_breaks_its_word_is_noticed() {
    // An error is taken for an empty result.
    let fault = visit(|place| {
        Box::pin(
            async move { converted(place, &source(), &request("nvfp4")).await.or_else(|_| Ok(Files::new())) },
        )
    });
    assert!(fault.is_err_and(|fault| fault.contains("the result is another one")));
    // What was begun gets its final name whatever happens.
    let fault = visit(|place| {
        Box::pin(async move {
            let result = converted(place, &source(), &request("nvfp4")).await;
            let left = place.sink.left.clone();
            place.sink.finished.extend(left);
            result
        })
    });
    assert!(fault.is_err_and(|fault| fault.contains("final names")));
    // The error does not say which file cannot be read.
    let fault = visit(|place| {
        Box::pin(async move {
            let session = open(place, &source()).await;
            let vague = |mut error: quantscope_session::api::SessionError| {
                error.message = "something went wrong".into();
                error
            };
            reply(&session.map_err(vague)?.report()?)
        })
    });
    assert!(fault.is_err_and(|fault| fault.contains("does not name")));
}
