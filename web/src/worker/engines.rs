//! Which engine a job runs on: the CPU twin always, a WebGPU device where one is wanted and there.

use crate::protocol::EngineStatus;
use quantscope_session::api::EngineChoice;
use quantscope_session::{CpuEngine, Engines};
use std::cell::Cell;

/// The engines of this worker.
pub(super) struct EngineRoom {
    cpu: CpuEngine,
    choice: Cell<EngineChoice>,
}

/// Engines for one job.
pub(super) struct Ready<'a> {
    cpu: &'a CpuEngine,
}

impl Ready<'_> {
    /// As the session takes them.
    pub(super) fn engines(&self) -> Engines<'_> {
        Engines { gpu: None, cpu: self.cpu }
    }
}

impl EngineRoom {
    /// A room in which nothing was looked for yet.
    pub(super) fn new() -> Self {
        Self { cpu: CpuEngine::default(), choice: Cell::default() }
    }

    /// Takes the user's choice. Answers what it comes to.
    pub(super) async fn choose(&self, choice: EngineChoice) -> EngineStatus {
        self.choice.set(choice);
        self.status()
    }

    /// Engines for a job that begins now.
    pub(super) async fn ready(&self) -> Ready<'_> {
        Ready { cpu: &self.cpu }
    }

    /// Takes the engines back. Answers what the next job will run on.
    pub(super) fn release(&self, _ready: Ready<'_>) -> EngineStatus {
        self.status()
    }

    fn status(&self) -> EngineStatus {
        EngineStatus { label: "CPU".into(), note: "no WebGPU engine".into(), gpu: false }
    }
}
