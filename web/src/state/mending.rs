//! The Findings view: what it shows, for which runtimes the audit is, and the repair that it offers.

use super::job::JobKind;
use super::load::{Load, Shared};
use super::{Command, Notice, Phase, Route, Slot, State};
use crate::protocol::{RepairDigest, Reply, Request, RequestId, ResultSummary};
use quantscope_session::api::{AuditChoice, FindingQuery, SessionError};

/// Runtimes to choose from, and what people call them.
pub(crate) const RUNTIMES: [(&str, &str); 6] = [
    ("vllm", "vLLM"),
    ("sglang", "SGLang"),
    ("trtllm", "TensorRT-LLM"),
    ("transformers", "transformers"),
    ("diffusers", "diffusers"),
    ("comfyui", "ComfyUI"),
];

/// What the user does in the view.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Mend {
    /// Another filter.
    Filter(FindingQuery),
    /// A runtime more, or less.
    Toggle(&'static str),
    /// The repair of these rules' findings is wanted; of all that can be mended, if there are none.
    Plan(Vec<String>),
    /// The plan was looked at.
    ClosePlan,
    /// Repair as planned.
    Run,
}

/// The part of the state that belongs to the view.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Mending {
    /// Runtimes that the audit is for.
    pub(crate) targets: Vec<&'static str>,
    /// Rules whose repair is looked at; `None` while none is.
    pub(crate) rules: Option<Vec<String>>,
    /// The plan of it.
    pub(crate) plan: Load<RepairDigest>,
    /// Why the last repair did not finish.
    pub(crate) failed: Option<SessionError>,
    /// The last repair.
    pub(crate) result: Option<Shared<ResultSummary>>,
}

impl State {
    pub(super) fn mend(&mut self, action: Mend, now_ms: f64, commands: &mut Vec<Command>) {
        match action {
            Mend::Filter(findings) => {
                if self.route.findings != findings {
                    self.findings.outdate();
                    self.go(Route { findings, ..self.route.clone() }, true, commands);
                }
            }
            Mend::Toggle(id) if self.job.is_none() => {
                let targets = &mut self.mending.targets;
                match targets.iter().position(|target| *target == id) {
                    Some(at) => drop(targets.remove(at)),
                    None => targets.push(id),
                }
                let targets = targets.iter().map(ToString::to_string).collect();
                self.send(
                    Slot::Audit,
                    Request::Audit(AuditChoice { targets, disabled: Vec::new() }),
                    commands,
                );
            }
            Mend::Toggle(_) => {}
            Mend::Plan(rules) => {
                self.mending.rules = Some(rules);
                self.mending.plan = Load::default();
            }
            Mend::ClosePlan => self.mending.rules = None,
            Mend::Run => {
                let rules = self.mending.rules.clone().filter(|_| self.mending.plan.value.is_some());
                if let Some(rules) = rules {
                    self.forget_result(commands);
                    self.begin(Slot::Repair, JobKind::Repair, Request::Repair { rules }, now_ms, commands);
                }
            }
        }
    }

    /// Asks for findings and plan, where they are shown and not there.
    pub(super) fn ask_mending(&mut self, commands: &mut Vec<Command>) {
        if self.findings.is_wanted() {
            let request = Request::Findings(self.route.findings.clone());
            let id = self.send(Slot::Findings, request, commands);
            self.findings.ask(id);
        }
        if let Some(rules) = self.mending.rules.clone().filter(|_| self.mending.plan.is_wanted()) {
            let id = self.send(Slot::RepairPlan, Request::RepairPlan { rules }, commands);
            self.mending.plan.ask(id);
        }
    }

    /// Takes the answers that belong to the view; gives back what does not.
    pub(super) fn settle_mending(
        &mut self,
        id: RequestId,
        slot: Slot,
        result: Result<Reply, SessionError>,
    ) -> Option<(Slot, Result<Reply, SessionError>)> {
        match (slot, result) {
            (Slot::Audit, Ok(Reply::Audited(overview))) => {
                self.phase = Phase::Open(Shared::new(overview));
                self.outdate();
                self.mending.plan.outdate();
            }
            (Slot::Audit, Err(error)) => {
                self.notice =
                    Some(Notice { title: "Not audited".into(), text: error.message, is_error: true });
            }
            (Slot::RepairPlan, Ok(Reply::RepairPlanned(plan))) => self.mending.plan.settle(id, Ok(plan)),
            (Slot::RepairPlan, Err(error)) => self.mending.plan.settle(id, Err(error)),
            (Slot::Repair, Ok(Reply::Repaired(summary))) => {
                self.mending.result = Some(Shared::new(summary));
                self.mending.failed = None;
                self.mending.rules = None;
            }
            (Slot::Repair, Err(error)) if error.kind == "cancelled" => {
                let text = "The repair was stopped. Nothing of it was kept.";
                self.notice = Some(Notice { title: "Cancelled".into(), text: text.into(), is_error: false });
            }
            (Slot::Repair, Err(error)) => self.mending.failed = Some(error),
            other => return Some(other),
        }
        None
    }
}

#[cfg(test)]
mod tests;
