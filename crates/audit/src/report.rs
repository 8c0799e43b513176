//! The JSON report: the contract with scripts, shared by the page and the command line.
//!
//! Field names and order are those of the published schema, version 1.

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// How grave a finding is. Ordered, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The checkpoint does not load, or loads and computes garbage.
    Error,
    /// It may.
    Warning,
    /// Worth knowing.
    Info,
}

/// One thing a rule found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Rule id, such as `SC002`.
    pub rule: String,
    /// Severity.
    pub severity: Severity,
    /// Layer, tensor, file or config field that it is about.
    pub subject: String,
    /// File, if one can be named.
    pub file: Option<String>,
    /// What is wrong, in a sentence.
    pub message: String,
    /// What would be right.
    pub expected: Option<String>,
    /// What is there.
    pub found: Option<String>,
    /// What to do.
    pub fix: Cow<'static, str>,
    /// Whether it can be mended without re-quantizing.
    pub repairable: bool,
    /// The runtime that it is about, where one was asked for; the others hold for every runtime.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<String>,
    /// Layers it touches, for jumping to them. Not part of the JSON contract.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub layers: Vec<String>,
}

/// The whole report, as it is read. A session writes it a layer and a finding at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this form: 1.
    pub schema: u32,
    /// The tool.
    pub tool: Tool,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Layers in natural order.
    pub layers: Vec<Layer>,
    /// Tie groups.
    pub ties: Vec<Tie>,
    /// Findings by severity, then rule, then subject.
    pub findings: Vec<Finding>,
    /// Totals.
    pub summary: Summary,
}

/// Name and version of the tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `quantscope`.
    pub name: String,
    /// Version.
    pub version: String,
}

/// The checkpoint as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Path as given.
    pub path: String,
    /// Weight files.
    pub shards: Vec<Shard>,
    /// Number of tensors.
    pub tensors: u64,
    /// Logical weights.
    pub parameters: u64,
    /// Bytes of all weight files.
    pub bytes: u64,
    /// Weights and block scales, in bits, per logical weight.
    pub bits_per_weight: f64,
    /// What the configs declare.
    pub declared: Option<Declared>,
}

/// One weight file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// File name.
    pub file: String,
    /// Length.
    pub bytes: u64,
    /// Tensors listed.
    pub tensors: u64,
}

/// What the configs declare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// `quant_method`, such as `modelopt` or `fp8`.
    pub quant_method: Option<String>,
    /// `quant_algo`, such as `NVFP4` or `MIXED_PRECISION`.
    pub quant_algo: Option<String>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Module path.
    pub name: String,
    /// `linear`, `conv3d`, `conv2d`, `conv1d`, `embedding`, `expert`, `expert-stack`, `norm`, `router`, `other`.
    pub kind: String,
    /// Scheme id.
    pub scheme: String,
    /// Logical shape.
    pub shape: Vec<u64>,
    /// Bits per weight; 0-d scalars not counted.
    pub bits_per_weight: f64,
    /// Tensors by leaf name, in header order.
    pub tensors: LayerTensors,
}

/// The tensors of a layer. A map in the JSON, a plain list here, which keeps their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LayerTensors(pub Vec<(String, LayerTensor)>);

/// One tensor of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerTensor {
    /// Tag of its type, such as `BF16`.
    pub dtype: String,
    /// Stored shape.
    pub shape: Vec<u64>,
    /// Weight file.
    pub file: String,
}

impl Serialize for LayerTensors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(leaf, tensor)| (leaf, tensor)))
    }
}

impl<'de> Deserialize<'de> for LayerTensors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = LayerTensors;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LayerTensors, A::Error> {
                let mut tensors = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    tensors.push(entry);
                }
                Ok(LayerTensors(tensors))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// One tie group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tie {
    /// The side that would be kept.
    pub canonical: String,
    /// The others.
    pub aliases: Vec<String>,
    /// Bytes that dropping the others saves.
    pub bytes_saved: u64,
    /// `declared`, `identical` or `both`.
    pub evidence: String,
    /// `equal`, `differs` or `absent`.
    pub input_scale: String,
}

/// Totals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Findings of severity error.
    pub errors: u64,
    /// Of severity warning.
    pub warnings: u64,
    /// Of severity info.
    pub infos: u64,
    /// Layers by scheme; norms and bare parameters not counted.
    pub by_scheme: std::collections::BTreeMap<String, u64>,
    /// Bytes that dropping tied copies saves.
    pub bytes_saved_by_ties: u64,
}
