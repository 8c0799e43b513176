//! Running jobs: progress to the page, cancelling from it.

use super::tell;
use crate::protocol::{Event, RequestId};
use quantscope_session::Control;
use quantscope_session::api::Progress;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Least time between two reports of one job, in milliseconds: 20 a second.
const REPORT_EVERY_MS: f64 = 50.0;

/// The jobs that can be cancelled.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    running: RefCell<BTreeMap<RequestId, Rc<Cell<bool>>>>,
}

impl Jobs {
    /// Begins a job, or goes on with one that only waits. It can be cancelled until its control is dropped.
    pub(super) fn begin(self: &Rc<Self>, id: RequestId) -> JobControl {
        let cancelled = Rc::clone(self.running.borrow_mut().entry(id).or_default());
        JobControl {
            jobs: Rc::clone(self),
            id,
            cancelled,
            last: RefCell::new((f64::NEG_INFINITY, String::new())),
        }
    }

    /// Asks a job to stop. One that has ended already does not mind.
    pub(super) fn cancel(&self, id: RequestId) {
        if let Some(cancelled) = self.running.borrow().get(&id) {
            cancelled.set(true);
        }
    }
}

/// One job's side.
#[derive(Debug)]
pub(super) struct JobControl {
    jobs: Rc<Jobs>,
    id: RequestId,
    cancelled: Rc<Cell<bool>>,
    last: RefCell<(f64, String)>,
}

impl Control for JobControl {
    fn progress(&self, progress: &Progress) {
        let now = now_ms();
        let mut last = self.last.borrow_mut();
        // A new phase is told at once.
        if progress.phase == last.1 && now - last.0 < REPORT_EVERY_MS {
            return;
        }
        *last = (now, progress.phase.clone());
        tell(Event::Progress { job: self.id, progress: progress.clone() });
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }
}

impl Drop for JobControl {
    fn drop(&mut self) {
        self.jobs.running.borrow_mut().remove(&self.id);
    }
}

fn now_ms() -> f64 {
    super::scope().performance().map_or(0.0, |clock| clock.now())
}
