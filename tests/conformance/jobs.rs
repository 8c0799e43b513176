//! Conversions in memory, through the requests that the command line makes.

use crate::sink::MemorySink;
use crate::tensors::{Tensors, parse};
use futures_executor::block_on;
use quantscope_format::{Limits, MemorySource, Uncontrolled};
use quantscope_kernels::Engine;
use quantscope_session::api::{ConvertRequest, SessionError};
use quantscope_session::{CpuEngine, Engines, InputFile, Session};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

/// Files of a checkpoint by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The files of a folder.
///
/// # Panics
/// If they cannot be read.
#[must_use]
#[allow(clippy::expect_used, reason = "without its data a test cannot run")]
pub fn files_of(folder: &Path) -> Files {
    let entries = std::fs::read_dir(folder).expect("a folder of the data").flatten();
    let files = entries.filter(|entry| entry.path().is_file()).map(|entry| {
        (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("a file"))
    });
    files.collect()
}

/// Converts; answers the files that are then there. `gpu` is used where it can be.
///
/// # Errors
/// What the session answers.
pub fn convert(
    files: &Files,
    request: &ConvertRequest,
    gpu: Option<&dyn Engine>,
    limits: &Limits,
) -> Result<Files, SessionError> {
    block_on(converted(files, request, gpu, limits))
}

/// The same within a job.
///
/// # Errors
/// What the session answers.
pub async fn converted(
    files: &Files,
    request: &ConvertRequest,
    gpu: Option<&dyn Engine>,
    limits: &Limits,
) -> Result<Files, SessionError> {
    let inputs = files.iter().map(|(name, bytes)| InputFile {
        path: name.clone(),
        source: Rc::new(MemorySource::new(name.clone(), bytes.clone())),
    });
    let cpu = CpuEngine::new();
    let mut sink = MemorySink::default();
    let session = Session::open("checkpoint", inputs.collect(), *limits, &Uncontrolled).await?;
    let ended = session.convert(request, Engines { gpu, cpu: &cpu }, &mut sink, &Uncontrolled).await;
    ended.inspect_err(|_| assert!(sink.finished.is_empty(), "a failed conversion left files"))?;
    Ok(sink.finished)
}

/// The tensors of all weight files.
#[must_use]
pub fn weights(files: &Files) -> Tensors {
    let shards = files.iter().filter(|(name, _)| name.ends_with(".safetensors"));
    shards.flat_map(|(_, bytes)| parse(bytes).0).collect()
}
