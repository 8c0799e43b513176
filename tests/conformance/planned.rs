//! Plans as scripts read them: from their JSON.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_session::Session;
use quantscope_session::api::{ConvertRequest, PlanView};
use serde::Deserialize;

/// A plan in full.
#[derive(Deserialize)]
pub struct Planned {
    /// Layers, files, sizes.
    #[serde(flatten)]
    pub view: PlanView,
    /// Every output tensor.
    pub tensors: Vec<PlanTensor>,
}

/// An output tensor of a plan.
#[derive(Deserialize)]
#[allow(missing_docs, reason = "they are called as in the JSON, which `docs/cli.md` tells of")]
pub struct PlanTensor {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<u64>,
    pub file: String,
    pub begin: u64,
    pub end: u64,
    pub inputs: Vec<String>,
    pub step: String,
    pub scheme: Option<String>,
    pub lossless: Option<bool>,
}

impl Planned {
    /// What a session plans.
    #[must_use]
    pub fn of(session: &Session, request: &ConvertRequest) -> Self {
        let document = session.plan_document(request).unwrap();
        serde_json::from_str(&serde_json::to_string(&document).unwrap()).unwrap()
    }
}
