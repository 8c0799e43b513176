//! The boundary: open, audit, inspect, verify, plan, convert, cancel.
//!
//! Knows: requests and replies as plain data. Does not know: yew, clap, wgpu.
#![forbid(unsafe_code)]

pub mod api;
mod block;
mod census;
mod compare;
mod conversion;
mod error;
mod findings;
mod heat;
mod histogram;
mod judging;
mod layers;
mod outliers;
mod overview;
mod plan;
mod preview;
mod proof;
mod python;
mod recipe;
pub mod render;
mod repair;
mod report;
mod sampler;
mod scales;
mod scope;
mod size_map;
mod sweep;
mod tree;
mod values;

pub use api::EngineChoice;
pub use quantscope_audit::{Engines, Example, InputFile, Rule, rule, rules};
pub use quantscope_convert::rename_presets;
pub use quantscope_convert::trial::Sweep;
pub use quantscope_format::{
    Arrange, Control, Gather, Hashing, Limits, MemorySource, Progress, Sink, SinkError, Source, SourceError,
    Uncontrolled, natural_cmp,
};
#[cfg(not(target_arch = "wasm32"))]
pub use quantscope_kernels::join_threads;
pub use quantscope_kernels::{CpuEngine, DividedEngine, Engine, EngineError, EngineKind, Helpers, call};
pub use report::{AuditView, ReportLayer};
pub use sweep::parse_size;

use api::{
    AuditChoice, ConvertRequest, ConvertSummary, FindingGroup, LayerDetail, LayerValues, Overview, Report,
    SessionError, TieReport, TieView, VerifySummary,
};
use quantscope_audit::bytes::audit_bytes;
use quantscope_audit::report::Tie;
use quantscope_audit::{Checkpoint, Findings, Model, ties};
use quantscope_convert::{Calibration, Plan, Recipe, Ties};
use std::rc::Rc;

/// One open checkpoint. A clone shares what was read of the files, so that one can be verified while the other
/// is looked at.
#[derive(Clone)]
pub struct Session {
    checkpoint: Rc<Checkpoint>,
    model: Rc<Model>,
    limits: Limits,
    /// Findings of headers and, once verified, of bytes, as far as they are in scope.
    findings: Findings,
    /// Findings of bytes, in scope or not.
    byte_findings: Findings,
    scope: scope::Scope,
    ties: Vec<Tie>,
    /// The engine that verified the bytes, once they are.
    verified_by: Option<String>,
    /// Whether the scales were checked alone.
    scales_checked: bool,
    /// Maxima from files, for conversions.
    calibration: Calibration,
    /// For each layer of the model, by index: its findings, by index.
    by_layer: judging::ByLayer,
    /// Whether the headers were judged.
    is_judged: bool,
    explorer: tree::Explorer,
}

impl Session {
    /// Opens a checkpoint: reads headers, indexes and configs, and audits what they say.
    ///
    /// # Errors
    /// If there is nothing to read, or a source fails. Damaged files are findings, not errors.
    pub async fn open(
        name: &str,
        files: Vec<InputFile>,
        limits: Limits,
        control: &dyn Control,
    ) -> Result<Self, SessionError> {
        let mut session = Self::read(name, files, limits, control).await?;
        session.gather();
        Ok(session)
    }

    /// Opens a checkpoint without judging it, so that its layers can be looked at before the rules have run over all
    /// of them: [`Self::judge`] makes up for that, and until then there are no findings.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn read(
        name: &str,
        files: Vec<InputFile>,
        limits: Limits,
        control: &dyn Control,
    ) -> Result<Self, SessionError> {
        let checkpoint = Checkpoint::open(name, without_common_folder(files), &limits, control).await?;
        if checkpoint.shards.is_empty() {
            return Err(SessionError {
                kind: "nothing".into(),
                message: format!(
                    "{name} holds no .safetensors file; choose the folder or the files of a checkpoint"
                ),
            });
        }
        let model = Model::of(&checkpoint);
        let ties = ties::declared_groups(&checkpoint, &model);
        Ok(Self {
            checkpoint: Rc::new(checkpoint),
            model: Rc::new(model),
            limits,
            findings: Findings::default(),
            byte_findings: Findings::default(),
            scope: scope::Scope::default(),
            ties,
            verified_by: None,
            scales_checked: false,
            calibration: Calibration::default(),
            by_layer: judging::ByLayer::default(),
            is_judged: false,
            explorer: tree::Explorer::default(),
        })
    }

    /// The band at the top of the page.
    #[must_use]
    pub fn overview(&self) -> Overview {
        overview::overview(self)
    }

    /// Findings grouped by rule, the gravest first.
    #[must_use]
    pub fn findings(&self) -> Vec<FindingGroup> {
        overview::finding_groups(self.findings.iter(), overview::SHOWN)
    }

    /// One layer, from headers only.
    #[must_use]
    pub fn layer(&self, name: &str) -> Option<LayerDetail> {
        layers::detail(self, name)
    }

    /// One layer's values, read from its bytes (a bounded sample of a large layer).
    ///
    /// # Errors
    /// If there is no such layer, the source fails or the job is cancelled.
    pub async fn layer_values(&self, name: &str, control: &dyn Control) -> Result<LayerValues, SessionError> {
        values::read(self, name, control).await
    }

    /// Tie groups as far as known.
    #[must_use]
    pub fn ties(&self) -> TieReport {
        let view = |t: &Tie| TieView {
            canonical: t.canonical.clone(),
            aliases: t.aliases.iter().take(20).cloned().collect(),
            alias_count: count(t.aliases.len()),
            bytes_saved: t.bytes_saved,
            evidence: t.evidence.clone(),
            input_scale: t.input_scale.clone(),
        };
        TieReport {
            bytes_compared: self.verified_by.is_some(),
            groups: self.ties.iter().take(200).map(view).collect(),
            group_count: count(self.ties.len()),
            bytes_saved: self.ties.iter().map(|t| t.bytes_saved).fold(0, u64::saturating_add),
        }
    }

    /// Reads every byte that a rule needs: scales, codes, identical tensors. Findings and ties are updated.
    ///
    /// # Errors
    /// If a source fails or the job is cancelled; findings stay as they were.
    pub async fn verify(
        &mut self,
        engines: Engines<'_>,
        control: &dyn Control,
    ) -> Result<VerifySummary, SessionError> {
        let audit = audit_bytes(&self.checkpoint, &self.model, engines, &self.limits, control).await?;
        let before = self.findings.len();
        // A second run replaces what the first one found.
        self.byte_findings = audit.findings;
        self.gather();
        let summary = VerifySummary {
            engine: audit.engine.clone(),
            engine_note: audit.engine_note,
            layers_checked: audit.layers_checked,
            bytes_read: audit.bytes_read,
            findings_before: count(before),
            findings_after: count(self.findings.len()),
        };
        self.ties = audit.ties;
        self.verified_by = Some(audit.engine);
        Ok(summary)
    }

    /// What the renderings of the report are made of.
    #[must_use]
    pub fn audit_view(&self) -> AuditView<'_> {
        AuditView { overview: self.overview(), session: self }
    }

    /// The report as the JSON contract has it, read from its JSON: for programs that look into one.
    ///
    /// # Errors
    /// If a number of it cannot be written as JSON.
    pub fn report(&self) -> Result<Report, SessionError> {
        let text = render::render(render::Form::Json, &[self.audit_view()])?;
        serde_json::from_str(&text).map_err(|error| render::unwritable(&error))
    }

    /// Which runtimes the audit is for, and which rules it leaves out; every reply follows it from now on.
    ///
    /// # Errors
    /// If a target or a rule is not known. Nothing changes then.
    pub fn choose(&mut self, choice: &AuditChoice) -> Result<(), SessionError> {
        self.scope = scope::Scope::new(choice)?;
        self.gather();
        Ok(())
    }

    /// Takes the maxima of safetensors files for conversions to come: those of a calibration, or state that leaked
    /// into a checkpoint. Lists of block maxima stay in the files.
    ///
    /// # Errors
    /// If a file cannot be read, or holds no maxima that can be used; those taken before stay.
    pub async fn calibrate(&mut self, files: &[InputFile]) -> Result<(), SessionError> {
        self.calibration = Calibration::from_files(files, &self.limits).await?;
        Ok(())
    }

    fn recipe(&self, request: &ConvertRequest) -> Result<Recipe, SessionError> {
        Ok(Recipe::new(&request.into(), self.calibration.clone())?)
    }

    /// Converts into the sink, reads the result back, compares it with the plan, and commits.
    ///
    /// # Errors
    /// If refused, cancelled, or a source or the sink fails; nothing is left under a final name.
    pub async fn convert(
        &self,
        request: &ConvertRequest,
        engines: Engines<'_>,
        sink: &mut dyn Sink,
        control: &dyn Control,
    ) -> Result<ConvertSummary, SessionError> {
        let recipe = self.recipe(request)?;
        let (checkpoint, model, limits) = (&self.checkpoint, &self.model, &self.limits);
        let ties = Ties::compared(checkpoint, model, &recipe, limits, control).await?;
        let plan = Plan::new(checkpoint, model, &recipe, &ties)?;
        let outcome =
            quantscope_convert::run(checkpoint, model, &plan, &recipe, engines, limits, sink, control)
                .await?;
        let error = |e: quantscope_convert::LayerError| api::LayerError {
            name: e.name,
            sqnr_db: e.sqnr_db,
            max_abs: e.max_abs,
        };
        let mut warnings = plan.warnings;
        warnings.extend(outcome.engine_note);
        warnings.extend(outcome.notes);
        Ok(ConvertSummary {
            files: outcome.files,
            packed: count(plan.packed.len().saturating_add(plan.changed.len())),
            copied: outcome.copied,
            bytes_written: outcome.bytes_written,
            engine: outcome.engine,
            read_back_equal: true,
            errors: outcome.errors.into_iter().map(error).collect(),
            warnings,
        })
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Takes the folder off paths that all lie in one, as a picked or dropped folder gives them.
fn without_common_folder(mut files: Vec<InputFile>) -> Vec<InputFile> {
    while let Some((folder, _)) = files.first().and_then(|f| f.path.split_once('/')) {
        let prefix = format!("{folder}/");
        if !files.iter().all(|f| f.path.starts_with(&prefix)) {
            break;
        }
        for file in &mut files {
            file.path.drain(..prefix.len());
        }
    }
    files
}
