//! What page and worker say of the lab: schemes tried on layers, sweeps, mixed recipes.

use quantscope_session::api::{Candidate, ConvertRequest, LayerTrial, SweepRow, Uniform};
use serde::{Deserialize, Serialize};

/// What the lab asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum LabRequest {
    /// Layers whose names hold a text, the largest first.
    Find {
        /// The text.
        text: String,
    },
    /// Try schemes on a layer.
    Try {
        /// Module path.
        layer: String,
        /// Scheme ids.
        schemes: Vec<String>,
    },
    /// Try schemes on all layers; goes on with the last sweep if that was of the same schemes.
    Sweep {
        /// Scheme ids.
        schemes: Vec<String>,
    },
    /// A window of the sweep's layers, those that lose most first.
    Rows {
        /// First row.
        start: u64,
        /// Rows wanted.
        count: u64,
    },
    /// The mixed recipe under a budget.
    Propose {
        /// Bytes of all tensors.
        total_bytes: u64,
    },
}

/// What the worker answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum LabReply {
    /// To [`LabRequest::Find`].
    Found(Vec<Candidate>),
    /// To [`LabRequest::Try`].
    Tried(LayerTrial),
    /// To [`LabRequest::Sweep`], finished or stopped.
    Swept(SweepDigest),
    /// To [`LabRequest::Rows`].
    Rows(Vec<SweepRow>),
    /// To [`LabRequest::Propose`].
    Proposed(Box<ProposalDigest>),
}

/// A sweep without its rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SweepDigest {
    /// Schemes that were tried.
    pub(crate) schemes: Vec<String>,
    /// Layers that are done.
    pub(crate) done: u64,
    /// Layers there are.
    pub(crate) layers: u64,
    /// Bytes of tensors that no scheme changes.
    pub(crate) other_bytes: u64,
    /// Least and most bytes that the layers done can take.
    pub(crate) least_bytes: u64,
    /// Without any quantization.
    pub(crate) most_bytes: u64,
    /// Single schemes everywhere.
    pub(crate) uniform: Vec<Uniform>,
    /// Bytes and squared errors of mixed recipes from the smallest to the largest.
    pub(crate) curve: Vec<(u64, f64)>,
}

/// A proposal, its choices summed up by scheme.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProposalDigest {
    /// Bytes of all tensors.
    pub(crate) total_bytes: u64,
    /// Bytes of the layers tried.
    pub(crate) bytes: u64,
    /// Bits per weight of the layers tried.
    pub(crate) bits_per_weight: f64,
    /// Their squared error.
    pub(crate) squared_error: f64,
    /// Whether anything fits the budget.
    pub(crate) fits: bool,
    /// Scheme, its family, layers, bytes.
    pub(crate) schemes: Vec<(String, String, u64, u64)>,
    /// The conversion.
    pub(crate) request: ConvertRequest,
}
