//! Manifests: one that is found right says of every file and tensor what the right one says.

use crate::checkpoint::open;
use crate::limits;
use crate::sink::Memory;
use quantscope_audit::{Checkpoint, InputFile};
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
    let session = open(&vec![("model.safetensors".into(), weights.to_vec())]).expect("a sound checkpoint");
    let request = ConvertRequest { to: "nvfp4".into(), ..ConvertRequest::default() };
    let mut sink = Memory::default();
    let cpu = CpuEngine::new();
    let engines = Engines { gpu: None, cpu: &cpu };
    pollster::block_on(session.convert(&request, engines, &mut sink, &Uncontrolled)).expect("it converts");
    let right = serde_json::from_slice(&sink.finished[NAME]).expect("a manifest is JSON");
    let files = sink
        .finished
        .into_iter()
        .map(|(path, bytes)| InputFile { source: Rc::new(MemorySource::new(path.clone(), bytes)), path });
    let opened = pollster::block_on(Checkpoint::open("output", files.collect(), &limits(), &Uncontrolled));
    Output { checkpoint: opened.expect("a source in memory does not fail"), right }
}

/// The manifest of the output that [`manifest`] checks, for seeds.
#[must_use]
pub fn right_manifest() -> Vec<u8> {
    serde_json::to_vec_pretty(&output().right).expect("JSON")
}

/// Puts the bytes in place of the manifest of a conversion's output.
pub fn manifest(bytes: &[u8]) {
    thread_local! {
        static OUTPUT: RefCell<Output> = RefCell::new(output());
    }
    OUTPUT.with_borrow_mut(|output| {
        let own = output.checkpoint.other_files.iter_mut().find(|f| f.path == NAME).expect("a manifest");
        own.source = Rc::new(MemorySource::new(NAME, bytes));
        let limits = limits();
        let found = quantscope_convert::verify(&output.checkpoint, None, &limits, &Uncontrolled);
        let Ok(found) = pollster::block_on(found) else { return };
        for problem in &found.problems {
            assert!(!problem.message.is_empty() && !problem.about.is_empty(), "{problem:?}");
        }
        if found.problems.is_empty() {
            let said: Value =
                serde_json::from_slice(bytes).expect("a manifest that is no JSON was found right");
            for (list, key) in [("files", "file"), ("tensors", "name")] {
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
        assert!(!alike.is_empty(), "{} is not proven", own[key]);
        for other in alike {
            for fact in ["file", "dtype", "shape", "bytes"] {
                assert_eq!(other[fact], own[fact], "{} has another {fact}", own[key]);
            }
            let hash = other["sha256"].as_str().unwrap_or_default();
            assert!(list == "files" || Some(hash.to_ascii_lowercase().as_str()) == own["sha256"].as_str());
        }
    }
}
