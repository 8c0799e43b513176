//! `--calibration`: JSON is handed on as it is; safetensors are opened, and the session reads them.
//!
//! In safetensors the maxima stand under ModelOpt's state names, `<module>.input_quantizer._amax`, in a
//! file of their own or, leaked, among the weights of a checkpoint. What they mean is not known here.

use crate::exit::Failure;
use crate::source::FileSource;
use quantscope_format::Limits;
use quantscope_session::{InputFile, Session};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Gives the session the maxima of safetensors, or answers the JSON text for the request.
pub(crate) async fn give(
    session: &mut Session,
    path: &Path,
    limits: &Limits,
) -> Result<Option<String>, Failure> {
    let fail = |what: String| Failure::new("refused", format!("the calibration {}: {what}", path.display()));
    let is_shard = |path: &Path| path.extension().is_some_and(|e| e == "safetensors");
    let shards: Vec<PathBuf> = if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(|error| fail(error.to_string()))?;
        let mut shards: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| is_shard(p)).collect();
        shards.sort();
        shards
    } else if is_shard(path) {
        vec![path.to_path_buf()]
    } else {
        let len = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
        if len > limits.json_bytes {
            return Err(fail(format!(
                "{len} bytes of JSON are over the limit `json` of {}",
                limits.json_bytes
            )));
        }
        return std::fs::read_to_string(path).map(Some).map_err(|error| fail(error.to_string()));
    };
    let mut files = Vec::new();
    for shard in shards {
        let name = shard.display().to_string();
        let source = FileSource::new(shard).map_err(|error| fail(error.to_string()))?;
        files.push(InputFile { path: name, source: Rc::new(source) });
    }
    session.calibrate(&files).await.map_err(|error| fail(error.message))?;
    Ok(None)
}
