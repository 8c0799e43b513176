//! Bytes to facts and back: safetensors headers, indexes, configs, and the doors bytes come through.
//!
//! Knows: safetensors, `model.safetensors.index.json`, `config.json`, `hf_quant_config.json`.
//! Does not know: quantization, what a tensor's name means, files on disk.
#![forbid(unsafe_code)]

mod door;
mod header;
mod limits;

pub use door::{Control, Progress, Sink, SinkError, Source, SourceError, Uncontrolled};
pub use header::{Defect, HeaderLayout, Note, ShardHeader, TensorInfo, TensorSpec};
pub use limits::Limits;
