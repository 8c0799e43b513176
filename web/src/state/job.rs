//! The one long job that runs at a time: how far, how fast, how long.

use crate::protocol::RequestId;
use quantscope_session::api::Progress;

/// What the job is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobKind {
    /// Reading headers.
    Open,
    /// Verifying bytes.
    Verify,
    /// Checking scales alone.
    Scales,
    /// Converting.
    Convert,
    /// Repairing.
    Repair,
    /// Trying schemes on all layers.
    Sweep,
    /// Comparing two checkpoints.
    Compare,
}

/// A running job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Job {
    /// Request that began it.
    pub(crate) id: RequestId,
    /// What it is for.
    pub(crate) kind: JobKind,
    /// Whether the user asked to stop it.
    pub(crate) cancelling: bool,
    progress: Option<Progress>,
    began_ms: f64,
    phase_began_ms: f64,
    now_ms: f64,
}

impl Job {
    /// A job that has just been asked for.
    pub(crate) fn new(id: RequestId, kind: JobKind, now_ms: f64) -> Self {
        Self { id, kind, cancelling: false, progress: None, began_ms: now_ms, phase_began_ms: now_ms, now_ms }
    }

    /// Takes a report of progress. A new phase starts the clock anew: its rate is its own.
    pub(crate) fn advance(&mut self, progress: Progress, now_ms: f64) {
        if self.progress.as_ref().is_none_or(|last| last.phase != progress.phase) {
            self.phase_began_ms = now_ms;
        }
        self.now_ms = now_ms;
        self.progress = Some(progress);
    }

    /// How long it has lasted, in milliseconds.
    pub(crate) fn lasted(&self, now_ms: f64) -> f64 {
        now_ms - self.began_ms
    }

    /// What is being done.
    pub(crate) fn phase(&self) -> &str {
        match (&self.progress, self.kind) {
            (Some(progress), _) => &progress.phase,
            (None, JobKind::Open) => "Reading headers",
            (None, JobKind::Verify) => "Verifying bytes",
            (None, JobKind::Scales) => "Checking scales",
            (None, JobKind::Convert) => "Converting",
            (None, JobKind::Repair) => "Repairing",
            (None, JobKind::Sweep) => "Trying schemes on all layers",
            (None, JobKind::Compare) => "Comparing",
        }
    }

    /// The tensor or file in hand.
    pub(crate) fn item(&self) -> &str {
        self.progress.as_ref().map_or("", |progress| &progress.item)
    }

    /// Bytes done and bytes to do of this phase.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        self.progress.as_ref().map_or((0, 0), |progress| (progress.done_bytes, progress.total_bytes))
    }

    /// Part done, from 0 to 1; `None` while the total is unknown.
    #[expect(clippy::cast_precision_loss, reason = "a bar of some hundred pixels")]
    pub(crate) fn fraction(&self) -> Option<f64> {
        let (done, total) = self.bytes();
        (total > 0).then(|| (done as f64 / total as f64).clamp(0.0, 1.0))
    }

    /// Bytes a second over this phase; `None` until a quarter of a second has been measured.
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    pub(crate) fn rate(&self) -> Option<f64> {
        let seconds = (self.now_ms - self.phase_began_ms) / 1000.0;
        let (done, _) = self.bytes();
        (seconds >= 0.25 && done > 0).then(|| done as f64 / seconds)
    }

    /// Seconds left of this phase at the rate so far.
    #[expect(clippy::cast_precision_loss, reason = "whole seconds are shown")]
    pub(crate) fn seconds_left(&self) -> Option<f64> {
        let (done, total) = self.bytes();
        self.rate().map(|rate| total.saturating_sub(done) as f64 / rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(phase: &str, done_bytes: u64) -> Progress {
        Progress { phase: phase.into(), item: "w".into(), done_bytes, total_bytes: 1000 }
    }

    #[test]
    fn rate_and_time_left_are_of_the_phase() {
        let mut job = Job::new(1, JobKind::Verify, 0.0);
        assert_eq!(job.fraction(), None);
        job.advance(at("a", 0), 100.0);
        assert_eq!(job.rate(), None);
        job.advance(at("a", 500), 1100.0);
        assert_eq!(job.fraction(), Some(0.5));
        assert_eq!(job.rate(), Some(500.0));
        assert_eq!(job.seconds_left(), Some(1.0));
        job.advance(at("b", 10), 1200.0);
        assert_eq!(job.rate(), None, "a new phase starts anew");
    }
}
