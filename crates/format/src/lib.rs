//! Bytes to facts and back: safetensors headers, indexes, configs, and the doors bytes come through.
//!
//! Knows: safetensors, `model.safetensors.index.json`, `config.json`, `hf_quant_config.json`, globs and the order of module paths.
//! Does not know: quantization, what a tensor's name means, files on disk.
#![forbid(unsafe_code)]

mod buffer;
mod config;
mod declaration;
mod door;
mod faults;
mod fields;
mod glob;
mod hash;
mod header;
mod index;
mod json;
mod layout;
mod limits;
mod memory;
mod natural;
mod order;
mod parse;
mod place;
mod plain_text;
mod quick;
mod read;
mod spans;
mod tensor_value;
mod tensors;

pub use buffer::Buffer;
pub use config::{ConfigError, ModelConfig};
pub use declaration::{
    DeclarationHome, ElementForm, KvCache, Producer, QuantDeclaration, QuantGroup, QuantizedLayer,
};
pub use door::{Control, Hashing, Progress, Sink, SinkError, Source, SourceError, Uncontrolled};
pub use glob::{Glob, GlobError, GlobSet};
pub use hash::{HashMap, HashMapExt, HashSet, HashSetExt, Places};
pub use header::{Defect, HeaderLayout, Note, ShardHeader, TensorSpec};
pub use index::{IndexEntry, IndexError, ShardIndex, leaves_folder};
pub use layout::LayoutError;
pub use limits::{Limit, Limits};
pub use memory::MemorySource;
pub use natural::natural_cmp;
pub use order::{Arrange, Gather};
pub use read::{read_header, read_small};
pub use tensors::{TensorInfo, Tensors};
