//! The Preview view: schemes tried on one layer, all layers by what they lose, the recipe that fits a budget.

use super::convert::{Growing, ROWS};
use super::form::Form;
use super::job::JobKind;
use super::load::{Load, Shared};
use super::{Command, Notice, Route, Slot, State, View};
use crate::protocol::{LabReply, LabRequest, ProposalDigest, Reply, Request, RequestId, SweepDigest};
use quantscope_session::api::{Candidate, LayerTrial, SessionError, SweepRow};

/// Schemes that are tried if nobody chooses.
const FIRST: [&str; 4] = ["nvfp4", "nvfp4-four-over-six", "fp8", "int8-wo"];

/// What the user does in the view.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Lab {
    /// A scheme more, or less.
    Toggle(String),
    /// A text to find layers by.
    Find(String),
    /// The layer to try.
    Pick(String),
    /// Try all layers.
    Sweep,
    /// More rows of the sweep.
    MoreRows,
    /// Bytes that the output may take.
    Budget(u64),
    /// Take the proposal to the Convert view.
    Use,
}

/// What an answer is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LabSlot {
    Find,
    Try,
    Sweep,
    Rows,
    Propose,
}

/// The part of the state that belongs to the view.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LabState {
    /// Schemes that are tried.
    pub(crate) schemes: Vec<String>,
    /// What is searched for.
    pub(crate) text: String,
    /// What was found.
    pub(crate) found: Load<Vec<Candidate>>,
    /// The layer that is tried.
    pub(crate) layer: String,
    /// What became of it.
    pub(crate) trial: Load<LayerTrial>,
    /// The last sweep.
    pub(crate) sweep: Option<Shared<SweepDigest>>,
    /// Its rows.
    pub(crate) rows: Option<Growing<SweepRow>>,
    /// Why the last one did not go on.
    pub(crate) failed: Option<SessionError>,
    /// Bytes of all tensors that are allowed.
    pub(crate) budget: u64,
    /// The recipe that fits.
    pub(crate) proposal: Load<ProposalDigest>,
}

impl Default for LabState {
    fn default() -> Self {
        Self {
            schemes: FIRST.map(str::to_string).to_vec(),
            text: String::new(),
            found: Load::default(),
            layer: String::new(),
            trial: Load::default(),
            sweep: None,
            rows: None,
            failed: None,
            budget: 0,
            proposal: Load::default(),
        }
    }
}

impl LabState {
    /// Whether the last sweep is of the schemes that are chosen now, and whole.
    pub(crate) fn is_swept(&self) -> bool {
        self.sweep.as_ref().is_some_and(|s| s.schemes == self.schemes && s.done == s.layers)
    }

    /// Asks again for everything that failed.
    pub(super) fn retry(&mut self) {
        self.found.outdate();
        self.trial.outdate();
        self.proposal.outdate();
    }
}

impl State {
    pub(super) fn act_in_lab(&mut self, action: Lab, now_ms: f64, commands: &mut Vec<Command>) {
        match action {
            Lab::Toggle(id) => {
                let schemes = &mut self.lab.schemes;
                match schemes.iter().position(|scheme| *scheme == id) {
                    Some(at) if schemes.len() > 1 => drop(schemes.remove(at)),
                    Some(_) => return,
                    None => schemes.push(id),
                }
                self.stop_trial(commands);
                self.lab.trial.outdate();
            }
            Lab::Find(text) => {
                self.lab.text = text;
                self.lab.found.outdate();
            }
            Lab::Pick(layer) => {
                self.go(Route { layer: Some(layer), ..self.route.clone() }, false, commands);
            }
            Lab::Sweep => {
                let schemes = self.lab.schemes.clone();
                self.lab.failed = None;
                let request = Request::Lab(LabRequest::Sweep { schemes });
                self.begin(Slot::Lab(LabSlot::Sweep), JobKind::Sweep, request, now_ms, commands);
            }
            Lab::MoreRows => self.ask_sweep_rows(commands),
            Lab::Budget(bytes) => {
                if self.lab.budget != bytes {
                    self.lab.budget = bytes;
                    self.lab.proposal.outdate();
                }
            }
            Lab::Use => {
                let Some(proposal) = self.lab.proposal.value.clone() else { return };
                let calibration = self.convert.form.calibration.take();
                self.convert.form = Form { calibration, ..Form::of(proposal.request.clone()) };
                self.convert.plan.outdate();
                self.go(Route { view: View::Convert, ..self.route.clone() }, false, commands);
            }
        }
    }

    /// Asks for what the view shows and is not there.
    pub(super) fn ask_lab(&mut self, commands: &mut Vec<Command>) {
        if self.lab.found.is_wanted() {
            let request = LabRequest::Find { text: self.lab.text.clone() };
            let id = self.send(Slot::Lab(LabSlot::Find), Request::Lab(request), commands);
            self.lab.found.ask(id);
        }
        if let Some(layer) = self.route.layer.clone() {
            if self.lab.layer != layer {
                self.stop_trial(commands);
                self.lab.trial = Load::default();
                self.lab.layer = layer.clone();
            }
            // A sweep has the worker to itself; the layer waits for it.
            if self.lab.trial.is_wanted() && self.job.is_none() {
                let schemes = self.lab.schemes.clone();
                let request = LabRequest::Try { layer, schemes };
                let id = self.send(Slot::Lab(LabSlot::Try), Request::Lab(request), commands);
                self.lab.trial.ask(id);
            }
        }
        if self.lab.sweep.is_some() && self.lab.proposal.is_wanted() && self.job.is_none() {
            let request = LabRequest::Propose { total_bytes: self.lab.budget };
            let id = self.send(Slot::Lab(LabSlot::Propose), Request::Lab(request), commands);
            self.lab.proposal.ask(id);
        }
    }

    fn stop_trial(&mut self, commands: &mut Vec<Command>) {
        if let Some(job) = self.lab.trial.asked() {
            self.send(Slot::Quiet, Request::Cancel { job }, commands);
        }
    }

    fn ask_sweep_rows(&mut self, commands: &mut Vec<Command>) {
        let Some(rows) = &mut self.lab.rows else { return };
        if rows.asked || rows.len() >= rows.total {
            return;
        }
        rows.asked = true;
        let request = LabRequest::Rows { start: rows.len(), count: ROWS };
        self.send(Slot::Lab(LabSlot::Rows), Request::Lab(request), commands);
    }

    fn show_sweep(&mut self, sweep: SweepDigest, commands: &mut Vec<Command>) {
        if sweep.done < sweep.layers {
            self.notice = Some(Notice {
                title: "Stopped".into(),
                text: format!(
                    "{} of {} layers are done. They stay; go on when you like.",
                    sweep.done, sweep.layers
                ),
                is_error: false,
            });
        }
        // In the middle between the smallest and the largest single scheme, where mixing shows.
        let sizes = sweep.uniform.iter().map(|uniform| uniform.bytes);
        let (low, high) = (sizes.clone().min().unwrap_or(0), sizes.max().unwrap_or(0));
        self.lab.budget = sweep.other_bytes.saturating_add(low).saturating_add(high.saturating_sub(low) / 2);
        self.lab.rows = Some(Growing::new(sweep.done));
        self.lab.sweep = Some(Shared::new(sweep));
        self.lab.proposal = Load::default();
        self.ask_sweep_rows(commands);
    }

    /// Takes the answers that belong to the view; gives back what does not.
    pub(super) fn settle_lab(
        &mut self,
        id: RequestId,
        slot: Slot,
        result: Result<Reply, SessionError>,
        commands: &mut Vec<Command>,
    ) -> Option<(Slot, Result<Reply, SessionError>)> {
        let lab = &mut self.lab;
        match (slot, result) {
            (Slot::Lab(_), Ok(Reply::Lab(reply))) => match reply {
                LabReply::Found(found) => lab.found.settle(id, Ok(found)),
                LabReply::Tried(trial) => lab.trial.settle(id, Ok(trial)),
                LabReply::Swept(sweep) => self.show_sweep(sweep, commands),
                LabReply::Rows(more) => {
                    if let Some(rows) = &mut lab.rows {
                        rows.extend(more);
                    }
                }
                LabReply::Proposed(proposal) => lab.proposal.settle(id, Ok(*proposal)),
            },
            (Slot::Lab(LabSlot::Find), Err(error)) => lab.found.settle(id, Err(error)),
            (Slot::Lab(LabSlot::Try), Err(error)) => lab.trial.settle(id, Err(error)),
            (Slot::Lab(LabSlot::Propose), Err(error)) => lab.proposal.settle(id, Err(error)),
            (Slot::Lab(LabSlot::Sweep), Err(error)) if error.kind != "cancelled" => lab.failed = Some(error),
            (Slot::Lab(_), _) => {}
            other => return Some(other),
        }
        None
    }
}

#[cfg(test)]
mod tests;
