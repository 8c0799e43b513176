//! Manifests: one that is found right says of every file and tensor what the right one says.

use crate::checkpoint::open;
use crate::limits;
use crate::sink::Memory;
use quantscope_audit::{Checkpoint, InputFile};
use quantscope_convert::Problem;
use quantscope_format::{MemorySource, Uncontrolled};
use quantscope_session::api::ConvertRequest;
use quantscope_session::{CpuEngine, Engines};
use serde_json::Value;
use std::cell::RefCell;
use std::rc::Rc;

const NAME: &str = "quantscope.manifest.json";

/// A conversion's output, opened once, and what its manifest says.
struct Output {
    checkpoint: Checkpoint,
    right: Value,
}

fn output() -> Output {
    let weights = include_bytes!("../../data/golden/nvfp4_linear_bf16_7x32/source.safetensors");
    let files = vec![("config.json".into(), b"{}".to_vec()), ("model.safetensors".into(), weights.to_vec())];
    let session = open(&files).expect("a sound checkpoint");
    let request = ConvertRequest { to: "nvfp4".into(), ..ConvertRequest::default() };
    let mut sink = Memory::default();
    let cpu = CpuEngine::new();
    let engines = Engines { gpu: None, cpu: &cpu };
    futures_executor::block_on(session.convert(&request, engines, &mut sink, &Uncontrolled))
        .expect("it converts");
    let right = serde_json::from_slice(&sink.finished[NAME]).expect("a manifest is JSON");
    let files = sink
        .finished
        .into_iter()
        .map(|(path, bytes)| InputFile { source: Rc::new(MemorySource::new(path.clone(), bytes)), path });
    let opened =
        futures_executor::block_on(Checkpoint::open("output", files.collect(), &limits(), &Uncontrolled));
    Output { checkpoint: opened.expect("a source in memory does not fail"), right }
}

/// The manifest of the output that [`manifest`] checks, for seeds.
#[must_use]
pub fn right_manifest() -> Vec<u8> {
    serde_json::to_vec_pretty(&output().right).expect("JSON")
}

thread_local! {
    static OUTPUT: RefCell<Output> = RefCell::new(output());
}

/// What checking the output against those bytes as its manifest finds wrong; `None` if they are no manifest.
fn found(output: &mut Output, bytes: &[u8]) -> Option<Vec<Problem>> {
    let own = output.checkpoint.other_files.iter_mut().find(|f| f.path == NAME).expect("a manifest");
    own.source = Rc::new(MemorySource::new(NAME, bytes));
    let limits = limits();
    let found = quantscope_convert::verify(&output.checkpoint, None, &limits, &Uncontrolled);
    futures_executor::block_on(found).ok().map(|found| found.problems)
}

/// How many things are found wrong.
#[must_use]
pub fn problems(bytes: &[u8]) -> Option<usize> {
    OUTPUT.with_borrow_mut(|output| found(output, bytes).map(|problems| problems.len()))
}

/// Puts the bytes in place of the manifest of a conversion's output.
pub fn manifest(bytes: &[u8]) {
    OUTPUT.with_borrow_mut(|output| {
        let Some(problems) = found(output, bytes) else { return };
        for problem in &problems {
            assert!(!problem.message.is_empty() && !problem.about.is_empty(), "{problem:?}");
        }
        if problems.is_empty() {
            // What nobody reads of it need not be JSON.
            let Ok(said) = serde_json::from_slice(bytes) else { return };
            for (list, key) in [("files", "file"), ("other_files", "file"), ("tensors", "name")] {
                same_entries(&output.right, &said, list, key);
            }
        }
    });
}

/// Every entry of the right list is in the other, once, with the same facts.
fn same_entries(right: &Value, said: &Value, list: &str, key: &str) {
    let entries = |of: &Value| of[list].as_array().cloned().unwrap_or_default();
    for own in entries(right) {
        let others = entries(said);
        let alike: Vec<&Value> = others.iter().filter(|other| other[key] == own[key]).collect();
        // Weight files and tensors that it does not list are told; of other files there may be more than it has made.
        assert!(list == "other_files" || !alike.is_empty(), "{} is not proven", own[key]);
        for other in alike {
            for fact in ["file", "dtype", "shape"] {
                assert_eq!(other[fact], own[fact], "{} has another {fact}", own[key]);
            }
            for hash in ["sha256", "header_sha256"] {
                let lower = |of: &Value| of[hash].as_str().map(str::to_ascii_lowercase);
                assert_eq!(lower(other), lower(&own), "{} has another {hash}", own[key]);
            }
        }
    }
}
