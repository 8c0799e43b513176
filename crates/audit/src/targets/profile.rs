//! The form of a runtime's profile: plain data, the same for the TOML files and for what is built into the tool.

use serde::{Deserialize, Serialize};

/// What a runtime loads, and under which names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Stable id: the word after `--target`.
    pub id: String,
    /// What people call it.
    pub title: String,
    /// Release that the facts hold for.
    pub version: String,
    /// Kinds of layers it builds in quantized form.
    pub kinds: Vec<String>,
    /// Where the facts come from.
    pub source: Vec<Source>,
    /// Algorithms it takes by the name that a config gives, for some methods.
    #[serde(default)]
    pub algos: Vec<Algos>,
    /// Schemes it loads. The first entry that fits a layer counts; what fits none is not loaded.
    pub scheme: Vec<Load>,
    /// Modules that must stand in the file although another has their weight.
    #[serde(default)]
    pub physical: Vec<Physical>,
    /// How it cuts weights over devices, if it does.
    #[serde(default)]
    pub parallel: Option<Parallel>,
}

/// A place in a project's sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Owner and repository.
    pub project: String,
    /// Path of the file.
    pub file: String,
    /// Release, commit or issue.
    pub release: String,
    /// What it shows.
    pub says: String,
}

/// Algorithms by the name of `quant_algo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Algos {
    /// Values of `quant_method` that this holds for.
    pub methods: Vec<String>,
    /// Algorithms that are taken, in any case.
    pub names: Vec<String>,
}

/// A scheme that is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Id of the scheme, or a pattern such as `torchao-*`.
    pub id: String,
    /// Values of `quant_method` that this holds for; every one if empty.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Scales it reads; not looked at if empty.
    #[serde(default)]
    pub scales: Vec<Scale>,
    /// Rows and columns that must not be cut apart.
    #[serde(default)]
    pub block: Option<[u64; 2]>,
    /// Whether the weight itself must be whole blocks, uncut.
    #[serde(default)]
    pub whole: bool,
}

/// A scale as a runtime reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Leaf name.
    pub leaf: String,
    /// Another name it takes.
    #[serde(default)]
    pub or: Option<String>,
    /// Numbers of dimensions it takes.
    pub ranks: Vec<usize>,
    /// Whether it is left uninitialised where the file lacks it.
    #[serde(default)]
    pub needed: bool,
}

/// A module that must stand in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Physical {
    /// Model types that this holds for; every one if empty.
    #[serde(default)]
    pub model_types: Vec<String>,
    /// A field of the config that must be true.
    #[serde(default)]
    pub flag: Option<String>,
    /// Whether it holds only where `tie_word_embeddings` is false.
    #[serde(default)]
    pub untied: bool,
    /// The module; a leading `*` stands for the same text as in `twin`.
    pub module: String,
    /// The module that has its weight.
    pub twin: String,
    /// What happens without it.
    pub why: String,
}

/// How weights are cut over devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parallel {
    /// Numbers of devices that are checked.
    pub sizes: Vec<u64>,
    /// Last path segments of modules that are cut by rows of the weight.
    pub column: Vec<String>,
    /// Of modules that are cut by its columns.
    pub row: Vec<String>,
    /// Of those that are copied rather than cut below one head of the KV cache.
    pub kv_heads: Vec<String>,
    /// Modules that become one weight; all parts but the last must be whole blocks even uncut.
    pub merged: Vec<Vec<String>>,
}
