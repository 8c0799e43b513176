//! What crosses the boundary: plain data with public fields, the same for the page and the terminal.
//!
//! The page never holds a whole report. It asks for windows of it, so that 100,000 layers cost the main
//! thread no more than 30 do.

use serde::{Deserialize, Serialize};

pub use crate::block::Block;
pub use crate::census::Census;
pub use crate::compare::DifferenceQuery;
pub use crate::conversion::{ConvertRequest, ConvertSummary, LayerError, PlanLayer, PlanRefusal, PlanView};
pub use crate::findings::FindingQuery;
pub use crate::heat::{HeatQuery, HeatTile};
pub use crate::outliers::Outlier;
pub use crate::plan::PlanDocument;
pub use crate::preview::{Candidate, PreviewRequest};
pub use crate::proof::ProofView;
pub use crate::repair::{Change, RepairSummary, RepairView, Unmended};
pub use crate::scope::AuditChoice;
pub use crate::sweep::{Budget, Proposal};
pub use crate::tree::{SchemeBytes, TreePage, TreeQuery, TreeRow};
pub use quantscope_audit::report::{Finding, Report, Severity, Summary};
pub use quantscope_convert::Problem as ProofProblem;
pub use quantscope_convert::diff::{Comparison, Difference, Picture};
pub use quantscope_convert::trial::{
    ErrorMap, LayerTrial, Mix, MixChoice, SchemeTrial, SweepOption, SweepRow, Uniform,
};
pub use quantscope_format::Progress;

/// A checkpoint at a glance: the band at the top of the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// Name of the file or folder.
    pub name: String,
    /// Weight files with their state.
    pub shards: Vec<ShardView>,
    /// Other files seen: configs, tokenizers.
    pub other_files: Vec<String>,
    /// Number of layers.
    pub layer_count: u64,
    /// Number of tensors.
    pub tensor_count: u64,
    /// Logical weights.
    pub parameters: u64,
    /// Bytes of all weight files.
    pub bytes: u64,
    /// Bytes that were read to learn this.
    pub bytes_read: u64,
    /// Weights and block scales, in bits, per logical weight.
    pub bits_per_weight: f64,
    /// Schemes, the largest first.
    pub schemes: Vec<SchemeShare>,
    /// Where the bytes are: modules at one depth, split by scheme, the largest first.
    pub size_map: Vec<SizeCell>,
    /// What the configs declare, in one line, such as `NVFP4 (modelopt)`; empty if they declare nothing.
    pub declared: String,
    /// The verdict in words.
    pub verdict: Verdict,
    /// Findings by severity.
    pub errors: u64,
    /// Warnings.
    pub warnings: u64,
    /// Notes.
    pub infos: u64,
    /// Whether the tensor bytes were verified, and by which engine.
    pub verified_by: Option<String>,
    /// Whether the scales were checked, with the codes or without them.
    pub scales_checked: bool,
    /// What a conversion can write, as id and title: schemes first, then the types it can dequantize to.
    #[serde(default)]
    pub writable: Vec<(String, String)>,
}

/// The verdict and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// `sound`, `warnings`, `broken`, `plain`: for colour and icon; `reading` until the headers are judged.
    pub state: String,
    /// One line, such as `Sound NVFP4 export` or `Will not load: 2 errors`.
    pub title: String,
    /// What to do next, one short sentence each.
    pub next: Vec<String>,
}

/// A weight file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardView {
    /// File name within the checkpoint.
    pub file: String,
    /// Length in bytes.
    pub bytes: u64,
    /// Tensors listed.
    pub tensors: u64,
    /// `sound`, or what is wrong in a few words.
    pub state: String,
}

/// What one scheme takes of the whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SchemeShare {
    /// Scheme id.
    pub scheme: String,
    /// Family, for colour: `fp4`, `fp8`, `mx`, `int`, `plain`.
    pub family: String,
    /// Layers (norms and bare parameters not counted).
    pub layers: u64,
    /// Stored bytes, companions included.
    pub bytes: u64,
    /// Logical weights.
    pub parameters: u64,
}

/// Layers below one module that share a scheme.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeCell {
    /// Module path; a layer's own where it stands alone.
    pub name: String,
    /// Scheme id.
    pub scheme: String,
    /// Family, for colour.
    pub family: String,
    /// Layers.
    pub layers: u64,
    /// Stored bytes.
    pub bytes: u64,
}

/// Where the bytes of one module are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeView {
    /// Path of the module; empty for the whole checkpoint.
    pub path: String,
    /// Modules below it, split by scheme, the largest first. What is too small for a picture is one cell without a
    /// name.
    pub cells: Vec<SizeCell>,
    /// Layers.
    pub layers: u64,
    /// Stored bytes.
    pub bytes: u64,
    /// Logical weights.
    pub parameters: u64,
}

/// Which layers the list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerQuery {
    /// Part of a name, or a glob if it holds `*`, `?` or `[`.
    pub text: String,
    /// Only this scheme.
    pub scheme: Option<String>,
    /// Only this kind.
    pub kind: Option<String>,
    /// Only layers with findings.
    pub with_findings: bool,
    /// Only layers with findings of this severity.
    #[serde(default)]
    pub severity: Option<Severity>,
    /// Only layers that store this many bytes or more.
    #[serde(default)]
    pub at_least_bytes: u64,
    /// Only layers that this rule touches.
    pub rule: Option<String>,
    /// `name` (default), `size`, `weights`, `bits`, `scheme`, `kind`, `findings`, with a leading `-` for descending.
    pub sort: String,
    /// First row wanted.
    pub start: u64,
    /// Rows wanted, 500 at most.
    pub count: u64,
}

impl LayerQuery {
    /// Whether findings decide which layers these are, or their order.
    #[must_use]
    pub fn needs_findings(&self) -> bool {
        let by_findings = self.sort.trim_start_matches('-') == "findings";
        self.with_findings || self.severity.is_some() || self.rule.is_some() || by_findings
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerRow {
    /// Module path.
    pub name: String,
    /// `linear`, `conv3d` and so on.
    pub kind: String,
    /// Scheme id.
    pub scheme: String,
    /// Family, for colour.
    pub family: String,
    /// Logical shape, as far as the file tells.
    pub shape: Vec<u64>,
    /// Bits per weight.
    pub bits_per_weight: f64,
    /// Stored bytes.
    pub bytes: u64,
    /// Worst finding, if any.
    pub worst: Option<Severity>,
    /// Number of findings.
    pub findings: u64,
}

/// A layer in full, from headers only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerDetail {
    /// The row.
    pub row: LayerRow,
    /// How the stored form relates to the logical one, such as `packed as [384, 5184], K 5184`.
    pub stored_as: String,
    /// Its tensors.
    pub tensors: Vec<TensorView>,
    /// Its findings.
    pub findings: Vec<Finding>,
    /// Lines of Python that load its tensors, by what they use.
    pub python: Vec<(String, String)>,
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorView {
    /// Leaf name, such as `weight_scale`.
    pub leaf: String,
    /// Full name.
    pub name: String,
    /// What it is for, such as `block scale (E4M3, one per 16 weights)`.
    pub role: String,
    /// Element type.
    pub dtype: String,
    /// Dimensions.
    pub shape: Vec<u64>,
    /// Bytes.
    pub bytes: u64,
    /// File.
    pub file: String,
    /// First byte within the file.
    pub begin: u64,
    /// One past the last byte.
    pub end: u64,
}

/// What a layer's bytes show: decoded values, codes, the first block.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerValues {
    /// Layer.
    pub name: String,
    /// Histogram of decoded values.
    pub histogram: Histogram,
    /// Values of scalar companions by leaf, such as `weight_scale_2`, with their exact decimal form.
    pub scalars: Vec<(String, String)>,
    /// How often each code occurs; `None` where codes are of a kind that is not counted.
    pub census: Option<Census>,
    /// The largest values, the largest first.
    pub outliers: Vec<Outlier>,
    /// Whether there are block scales that can be drawn.
    pub has_scales: bool,
    /// The first block; `None` where nothing decodes.
    pub block: Option<Block>,
    /// Values decoded for this.
    pub values_read: u64,
    /// Values the layer has.
    pub values_total: u64,
}

/// Counts of decoded values in equal steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Lower edge of the first bin.
    pub low: f64,
    /// Upper edge of the last bin.
    pub high: f64,
    /// Counts.
    pub bins: Vec<u64>,
    /// Values exactly zero.
    pub zeros: u64,
    /// Values that are NaN or infinite.
    pub not_finite: u64,
    /// Mean of the finite values.
    pub mean: f64,
    /// Standard deviation of the finite values.
    pub std: f64,
}

/// Findings of one rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindingGroup {
    /// Rule id.
    pub rule: String,
    /// Severity.
    pub severity: Severity,
    /// The runtime that they are about, where they are about one.
    pub target: Option<String>,
    /// What the rule is about, a few words.
    pub title: String,
    /// Why it matters.
    pub why: String,
    /// How many findings.
    pub count: u64,
    /// The first of them, 50 at most.
    pub findings: Vec<Finding>,
}

/// Tensors with equal bytes, or declared tied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TieView {
    /// The side that would be kept.
    pub canonical: String,
    /// The others, 20 at most.
    pub aliases: Vec<String>,
    /// How many others there are.
    pub alias_count: u64,
    /// Bytes that dropping the others saves.
    pub bytes_saved: u64,
    /// `declared`, `identical` or `both`.
    pub evidence: String,
    /// `equal`, `differs` or `absent`.
    pub input_scale: String,
}

/// All ties.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TieReport {
    /// Whether the bytes were compared; before that only declared ties are known.
    pub bytes_compared: bool,
    /// Groups, the largest saving first, 200 at most.
    pub groups: Vec<TieView>,
    /// Groups there are.
    pub group_count: u64,
    /// Bytes saved by all.
    pub bytes_saved: u64,
}

/// What verifying bytes did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifySummary {
    /// Engine at the end.
    pub engine: String,
    /// If the engine changed on the way: why.
    pub engine_note: Option<String>,
    /// Layers whose scales and codes were checked.
    pub layers_checked: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Findings before.
    pub findings_before: u64,
    /// Findings after.
    pub findings_after: u64,
}

/// Which engine a job shall use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// A hardware GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU twin.
    Cpu,
    /// WebGPU, even a software adapter.
    Gpu,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct SessionError {
    /// `cancelled`, `source`, `sink`, `refused`, `nothing`, `engine`: for exit codes and icons.
    pub kind: String,
    /// What happened, to what, and the next step.
    pub message: String,
}
