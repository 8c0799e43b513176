//! How the worker's answers change the state.

use super::convert::{Growing, ResultShown};
use super::load::Shared;
use super::{Command, Notice, Phase, Slot, State};
use crate::protocol::{Reply, RequestId};
use quantscope_session::api::{Overview, SessionError, VerifySummary};

impl State {
    /// Puts an answer where it belongs.
    pub(super) fn settle(
        &mut self,
        id: RequestId,
        slot: Slot,
        result: Result<Reply, SessionError>,
        commands: &mut Vec<Command>,
    ) {
        if self.job.as_ref().is_some_and(|job| job.id == id) {
            self.job = None;
        }
        let Some((slot, result)) = self.settle_mending(id, slot, result) else { return };
        let Some((slot, result)) = self.settle_exploring(id, slot, result) else { return };
        let Some((slot, result)) = self.settle_lab(id, slot, result, commands) else { return };
        let Some((slot, result)) = self.settle_compare(id, slot, result) else { return };
        let Some((slot, result)) = self.settle_remote(slot, result) else { return };
        match (slot, result) {
            (Slot::Open, Ok(Reply::Opened(overview))) => {
                self.phase = Phase::Open(Shared::new(overview));
                commands.push(Command::SetAddress { fragment: self.route.fragment(), replace: true });
            }
            // A later open may have begun meanwhile; then this failure is of no interest.
            (Slot::Open, Err(error)) if self.job.is_none() => {
                self.phase = Phase::Arrival;
                self.tell_error("Not opened", error);
            }
            (Slot::Detail, result) => {
                if let Some(answer) =
                    expect(result, |reply| if let Reply::Layer(layer) = reply { Some(layer) } else { None })
                {
                    self.panel.detail.settle(id, answer);
                }
            }
            (Slot::Values, result) => {
                if let Some(answer) =
                    expect(
                        result,
                        |reply| if let Reply::Values(values) = reply { Some(values) } else { None },
                    )
                {
                    self.panel.values.settle(id, answer);
                }
            }
            (Slot::Findings, result) => {
                if let Some(answer) =
                    expect(
                        result,
                        |reply| if let Reply::Findings(groups) = reply { Some(groups) } else { None },
                    )
                {
                    self.findings.settle(id, answer);
                }
            }
            (Slot::Ties, result) => {
                if let Some(answer) =
                    expect(result, |reply| if let Reply::Ties(ties) = reply { Some(ties) } else { None })
                {
                    self.ties.settle(id, answer);
                }
            }
            (Slot::Verify, Ok(Reply::Verified { summary, overview })) => {
                self.take_verified("Bytes verified", &summary, overview);
                self.verified = Some(Shared::new(summary));
            }
            (Slot::Verify, Err(error)) if is_cancel(&error) => {
                self.tell_stopped("Verifying was stopped. Findings and ties are as they were before.");
            }
            (Slot::Verify, Err(error)) => self.tell_error("Bytes not verified", error),
            (Slot::Memory, Ok(Reply::Memory { bytes })) => self.take_memory(bytes, commands),
            (Slot::Report, Ok(Reply::Report { file })) => commands.push(Command::Save(file)),
            (Slot::Report, Err(error)) => self.tell_error("No report", error),
            (Slot::Calibration, Ok(Reply::Calibrated { entries })) => {
                if let Some(calibration) = &mut self.convert.form.calibration {
                    calibration.entries = Some(entries);
                }
                self.convert.plan.outdate();
            }
            (Slot::Calibration, Err(error)) => {
                self.convert.form.calibration = None;
                self.tell_error("Calibration not taken", error);
            }
            (Slot::Plan, result) => {
                let asked = self.convert.plan.asked() == Some(id);
                if let Some(answer) =
                    expect(result, |reply| if let Reply::Planned(plan) = reply { Some(plan) } else { None })
                {
                    self.convert.plan.settle(id, answer);
                    if asked {
                        self.show_plan(commands);
                    }
                }
            }
            (Slot::Recipe, result) => self.settle_recipe(result, commands),
            (Slot::Proof, result) => self.settle_proof(result),
            (Slot::PlanRows { packed }, Ok(Reply::PlanRows(rows))) => {
                // While another plan is on its way these rows may be of either.
                if self.convert.plan.asked().is_none()
                    && let Some(shown) = &mut self.convert.shown
                {
                    if packed { shown.packed.extend(rows) } else { shown.kept.extend(rows) }
                }
            }
            (Slot::Convert, Ok(Reply::Converted(summary))) => {
                let rows = Growing::new(summary.error_rows);
                self.convert.result = Some(ResultShown { summary: Shared::new(summary), rows, proof: None });
                (self.convert.failed, self.convert.stopped) = (None, None);
                self.ask_result_rows(commands);
            }
            (Slot::Convert, Err(error)) if is_cancel(&error) => {
                self.convert.stopped = None;
                self.tell_stopped("The conversion was stopped. Nothing of it was kept.");
            }
            (Slot::Convert, Err(error)) => self.settle_unconverted(error),
            (Slot::ResultRows, Ok(Reply::ResultRows(rows))) => {
                if let Some(result) = &mut self.convert.result {
                    result.rows.extend(rows);
                }
            }
            // Rows of a plan or result that is gone, and answers of another form: nothing waits for them.
            _ => {}
        }
    }

    /// Takes the verdict on the headers, and asks again for what shows findings.
    pub(super) fn take_verdict(&mut self, overview: Overview) {
        if matches!(self.phase, Phase::Open(_)) {
            self.phase = Phase::Open(Shared::new(overview));
            self.outdate();
        }
    }

    /// Takes what a look at bytes found.
    pub(super) fn take_verified(&mut self, title: &str, summary: &VerifySummary, overview: Overview) {
        self.notice = Some(verified_notice(title, summary));
        self.mending.plan.outdate();
        self.phase = Phase::Open(Shared::new(overview));
        self.outdate();
    }

    pub(super) fn tell_error(&mut self, title: &str, error: SessionError) {
        if is_cancel(&error) {
            return self.tell_stopped("Nothing was opened.");
        }
        self.notice = Some(Notice { title: title.into(), text: error.message, is_error: true });
    }

    fn tell_stopped(&mut self, text: &str) {
        self.notice = Some(Notice { title: "Cancelled".into(), text: text.into(), is_error: false });
    }
}

fn is_cancel(error: &SessionError) -> bool {
    error.kind == "cancelled"
}

/// The answer in the form that a slot takes; `None` if the worker answered something else.
fn expect<T>(
    result: Result<Reply, SessionError>,
    take: impl FnOnce(Reply) -> Option<T>,
) -> Option<Result<T, SessionError>> {
    match result {
        Ok(reply) => take(reply).map(Ok),
        Err(error) => Some(Err(error)),
    }
}

fn verified_notice(title: &str, summary: &VerifySummary) -> Notice {
    let new = summary.findings_after.saturating_sub(summary.findings_before);
    let found = match new {
        0 => "nothing new was found".to_owned(),
        1 => "1 new finding".to_owned(),
        new => format!("{new} new findings"),
    };
    let note = summary.engine_note.as_ref().map(|note| format!(" {note}")).unwrap_or_default();
    Notice {
        title: format!("{title} on {}", summary.engine),
        text: format!(
            "{} checked, {} read: {found}.{note}",
            super::text::counted(summary.layers_checked, "layer"),
            super::text::size(summary.bytes_read),
        ),
        is_error: false,
    }
}
