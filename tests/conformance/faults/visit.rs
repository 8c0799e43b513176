//! Visits every call that a job makes, in every way in which it can fail.
//!
//! The job runs once undisturbed, which counts its calls and gives the right result. Then it runs once for each call
//! and way. It must give the same result, or a typed error that names the place, with nothing under a final name;
//! and run once more where the failure has left things, it must give the right result.

use super::{Door, Trap, TrappedControl, TrappedEngine, TrappedSink, TrappedSource, Way};
use crate::jobs::Files;
use crate::sink::MemorySink;
use futures_util::future::LocalBoxFuture;
use quantscope_format::MemorySource;
use quantscope_session::api::SessionError;
use quantscope_session::{InputFile, Session};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

/// What a job works with. All of it but the trap outlives a failure.
pub struct Place {
    /// The trap behind every door.
    pub trap: Rc<Trap>,
    /// What was opened.
    pub session: Option<Session>,
    /// Where a conversion writes, with a journal.
    pub sink: MemorySink,
}

impl Place {
    fn new() -> Self {
        let sink = MemorySink { journal: Some(Vec::new()), ..MemorySink::default() };
        Self { trap: Rc::default(), session: None, sink }
    }

    /// Files as a session opens them, behind the trap.
    #[must_use]
    pub fn inputs(&self, files: &Files) -> Vec<InputFile> {
        let input = |(name, bytes): (&String, &Vec<u8>)| InputFile {
            path: name.clone(),
            source: Rc::new(TrappedSource {
                trap: Rc::clone(&self.trap),
                door: Door::Read,
                name: name.clone(),
                inner: Rc::new(MemorySource::new(name.clone(), bytes.clone())),
            }),
        };
        files.iter().map(input).collect()
    }

    /// A control behind the trap.
    #[must_use]
    pub fn control(&self) -> TrappedControl {
        TrappedControl { trap: Rc::clone(&self.trap) }
    }

    /// An engine behind the trap.
    #[must_use]
    pub fn engine(&self, door: Door) -> TrappedEngine {
        TrappedEngine::new(Rc::clone(&self.trap), door)
    }

    /// The sink behind the trap.
    pub fn sink(&mut self) -> TrappedSink<'_> {
        TrappedSink { trap: Rc::clone(&self.trap), inner: &mut self.sink }
    }

    /// As a process leaves things that was killed: files under temporary names stay as they are.
    fn after_the_end(&mut self) {
        self.session = None;
        let begun = std::mem::take(&mut self.sink.begun);
        self.sink.left.extend(begun);
        self.sink.taken.clear();
    }
}

/// What a job gives: files by name, or a report under a name of its own.
pub type Result<T = Files, E = SessionError> = std::result::Result<T, E>;

/// Something a session does.
pub type Job = for<'a> fn(&'a mut Place) -> LocalBoxFuture<'a, Result>;

/// What was visited, by door.
#[derive(Debug, Default)]
pub struct Tally {
    /// Calls, and how many visits of them gave the right result and how many an error.
    pub doors: BTreeMap<Door, (u64, u64, u64)>,
}

impl Tally {
    /// All visits: each call once for each way.
    #[must_use]
    pub fn visits(&self) -> u64 {
        self.doors.values().map(|(_, right, errors)| right + errors).sum()
    }

    /// All calls.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.doors.values().map(|(calls, ..)| calls).sum()
    }
}

/// Runs a job. `None` if it was stopped in the middle.
fn run(job: Job, place: &mut Place) -> Option<Result> {
    let trap = Rc::clone(&place.trap);
    let mut work = job(place);
    futures_executor::block_on(poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if trap.has_stopped() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    }))
}

/// Visits every call of a job.
///
/// # Errors
/// The first call and way after which things are not as they should be.
pub fn visit(job: Job) -> std::result::Result<Tally, String> {
    let mut place = Place::new();
    let right = match run(job, &mut place) {
        Some(Ok(right)) => right,
        other => return Err(format!("undisturbed, it gives {other:?}")),
    };
    let calls = place.trap.calls();
    let mut tally = Tally::default();
    for (at, call) in calls.iter().enumerate() {
        let row = tally.doors.entry(call.door).or_default();
        row.0 += 1;
        for &way in call.door.ways() {
            let told = |what: String| format!("call {at}, {call:?}, {way:?}: {what}");
            let mut place = Place::new();
            place.trap.set(Some((at, way)));
            let result = run(job, &mut place);
            let made = place.trap.calls();
            if made.get(at) != Some(call) {
                return Err(told(format!("it was not reached: there is {:?}", made.get(at))));
            }
            match result {
                Some(Ok(found)) if found == right => {
                    row.1 += 1;
                    continue;
                }
                Some(Ok(_)) => return Err(told("the result is another one".into())),
                Some(Err(error)) => {
                    check(&error, call.door, &call.place).map_err(told)?;
                    row.2 += 1;
                }
                None if way == Way::Stopped => {
                    place.after_the_end();
                    row.2 += 1;
                }
                None => return Err(told("it does not come to an end".into())),
            }
            if !place.sink.finished.is_empty() {
                return Err(told(format!("files have their final names: {:?}", place.sink.finished.keys())));
            }
            place.trap.set(None);
            match run(job, &mut place) {
                Some(Ok(found)) if found == right => {}
                Some(Ok(_)) => return Err(told("run again, the result is another one".into())),
                other => return Err(told(format!("run again, it gives {other:?}"))),
            }
        }
    }
    Ok(tally)
}

/// Whether an error says what has failed.
fn check(error: &SessionError, door: Door, place: &str) -> std::result::Result<(), String> {
    if !door.kinds().contains(&error.kind.as_str()) {
        return Err(format!("the error is of the kind {:?}: {error}", error.kind));
    }
    let names_it = matches!(door, Door::Cpu | Door::Ask) || error.message.contains(place);
    if names_it { Ok(()) } else { Err(format!("the error does not name {place}: {error}")) }
}
