//! How jobs begin and stop: one at a time, and one that would fetch tensors only with the user's word.

use super::job::{Job, JobKind};
use super::remote::Held;
use super::{Command, Slot, State};
use crate::protocol::Request;

impl State {
    /// Begins a job. One that would fetch tensors waits until the user agrees.
    pub(super) fn begin(
        &mut self,
        slot: Slot,
        kind: JobKind,
        request: Request,
        now_ms: f64,
        commands: &mut Vec<Command>,
    ) {
        let fetches = self.remote.is_open || (kind == JobKind::Compare && self.compare.is_remote);
        if fetches && kind != JobKind::Open {
            self.remote.held = Some(Held { kind, slot, request });
            self.ask_scale_bytes(commands);
        } else {
            self.begin_now(slot, kind, request, now_ms, commands);
        }
    }

    /// Begins a job, whatever it reads.
    pub(super) fn begin_now(
        &mut self,
        slot: Slot,
        kind: JobKind,
        request: Request,
        now_ms: f64,
        commands: &mut Vec<Command>,
    ) {
        if self.job.is_some() {
            return;
        }
        self.notice = None;
        let id = self.send(slot, request, commands);
        self.job = Some(Job::new(id, kind, now_ms));
    }

    /// Asks the job that runs to stop.
    pub(super) fn cancel_job(&mut self, commands: &mut Vec<Command>) {
        let Some(job) = &mut self.job else { return };
        if !job.cancelling {
            job.cancelling = true;
            let job = job.id;
            self.send(Slot::Quiet, Request::Cancel { job }, commands);
        }
    }
}
