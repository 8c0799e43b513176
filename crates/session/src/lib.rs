//! The boundary: open, audit, inspect, verify, plan, convert, cancel.
//!
//! Knows: requests and replies as plain data. Does not know: yew, clap, wgpu.
#![forbid(unsafe_code)]

pub mod api;

use api::{
    ConvertRequest, ConvertSummary, FindingGroup, LayerDetail, LayerPage, LayerQuery, LayerValues, Overview,
    PlanView, Report, SessionError, TieReport, VerifySummary,
};
use quantscope_format::{Control, Limits, Sink, Source};
use quantscope_kernels::Engine;
use std::rc::Rc;

/// A file of the checkpoint: its path within the folder that was opened, and its bytes.
#[derive(Clone)]
pub struct InputFile {
    /// Path relative to the folder, with `/`; a plain name for a single file.
    pub path: String,
    /// Its bytes.
    pub source: Rc<dyn Source>,
}

/// The engines a job may use: a GPU if there is one, and the CPU twin, which goes on where the GPU fails.
pub struct Engines<'a> {
    /// The GPU engine, if one is wanted and there.
    pub gpu: Option<&'a dyn Engine>,
    /// The CPU engine.
    pub cpu: &'a dyn Engine,
}

/// One open checkpoint.
pub struct Session {}

fn unbuilt() -> SessionError {
    SessionError { kind: "refused".into(), message: "not built yet".into() }
}

impl Session {
    /// Opens a checkpoint: reads headers, indexes and configs, and audits what they say.
    ///
    /// # Errors
    /// If there is nothing to read, or a source fails. Damaged files are findings, not errors.
    pub async fn open(_name: &str, _files: Vec<InputFile>, _limits: Limits, _control: &dyn Control) -> Result<Self, SessionError> {
        Err(unbuilt())
    }
    /// The band at the top of the page.
    #[must_use]
    pub fn overview(&self) -> Overview { unimplemented!() }
    /// A window of the layer list.
    #[must_use]
    pub fn layers(&self, _query: &LayerQuery) -> LayerPage { unimplemented!() }
    /// Findings grouped by rule, the gravest first.
    #[must_use]
    pub fn findings(&self) -> Vec<FindingGroup> { unimplemented!() }
    /// One layer, from headers only.
    #[must_use]
    pub fn layer(&self, _name: &str) -> Option<LayerDetail> { unimplemented!() }
    /// One layer's values, read from its bytes (a bounded sample of a large layer).
    ///
    /// # Errors
    /// If the source fails or the job is cancelled.
    pub async fn layer_values(&self, _name: &str, _control: &dyn Control) -> Result<LayerValues, SessionError> { Err(unbuilt()) }
    /// Tie groups as far as known.
    #[must_use]
    pub fn ties(&self) -> TieReport { unimplemented!() }
    /// Reads every byte that a rule needs: scales, codes, identical tensors. Findings and ties are updated.
    ///
    /// # Errors
    /// If a source fails or the job is cancelled; findings stay as they were.
    pub async fn verify(&mut self, _engines: Engines<'_>, _control: &dyn Control) -> Result<VerifySummary, SessionError> { Err(unbuilt()) }
    /// The whole report.
    #[must_use]
    pub fn report(&self) -> Report { unimplemented!() }
    /// What a conversion would write. Reads no tensor bytes.
    ///
    /// # Errors
    /// If the conversion is refused, naming tensor and remedy.
    pub fn plan(&self, _request: &ConvertRequest) -> Result<PlanView, SessionError> { Err(unbuilt()) }
    /// Converts into the sink, reads the result back, compares it with the plan, and commits.
    ///
    /// # Errors
    /// If refused, cancelled, or a source or the sink fails; nothing is left under a final name.
    pub async fn convert(
        &self, _request: &ConvertRequest, _engines: Engines<'_>, _sink: &mut dyn Sink, _control: &dyn Control,
    ) -> Result<ConvertSummary, SessionError> { Err(unbuilt()) }
}
