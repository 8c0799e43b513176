//! Faults at the doors of the core: every call of a source, a sink, an engine or a control goes through a trap that
//! counts it and lets the one that it is set on fail, in each way in which that door can fail.

mod doors;
mod engine;
pub mod visit;

pub use doors::{TrappedControl, TrappedSink, TrappedSource};
pub use engine::TrappedEngine;

use std::cell::{Cell, RefCell};

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// A range of a source.
    Read,
    /// Whether a source is still what it was.
    CheckUnchanged,
    /// Room for the output.
    Reserve,
    /// The journal of a stopped run.
    StoppedRun,
    /// What a stopped run has left and not finished.
    KeepOnly,
    /// A file of a stopped run.
    TakeUp,
    /// The journal of this run.
    BeginJournal,
    /// A new file.
    Create,
    /// Bytes of a file.
    Write,
    /// A range of a source that goes to the sink by itself.
    Splice,
    /// What was written, to be compared.
    ReadBack,
    /// A range of what was written.
    ReadWritten,
    /// A finished file.
    Finish,
    /// All final names.
    Commit,
    /// A kernel on the GPU engine.
    Gpu,
    /// A kernel on the CPU engine.
    Cpu,
    /// Whether to go on.
    Ask,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// The system refuses: a read error, a permission that was taken back, a rename that is refused.
    Refused,
    /// The file ends in the middle of what was asked for, half of which was given.
    Short,
    /// The file is another one by now.
    Changed,
    /// One bit is not what was written.
    Flipped,
    /// No room is left; half of what was to be written is.
    Full,
    /// Something of that name is there.
    Exists,
    /// The device is lost.
    Lost,
    /// A buffer of the device cannot be read, or it refuses what is asked of it.
    Unmapped,
    /// The user cancels.
    Cancelled,
    /// The worker, the tab or the process ends in the middle of the call.
    Stopped,
}

impl Door {
    /// Every door.
    pub const ALL: [Self; 17] = [
        Self::Read,
        Self::CheckUnchanged,
        Self::Reserve,
        Self::StoppedRun,
        Self::KeepOnly,
        Self::TakeUp,
        Self::BeginJournal,
        Self::Create,
        Self::Write,
        Self::Splice,
        Self::ReadBack,
        Self::ReadWritten,
        Self::Finish,
        Self::Commit,
        Self::Gpu,
        Self::Cpu,
        Self::Ask,
    ];

    /// The ways in which this door can fail.
    #[must_use]
    pub fn ways(self) -> &'static [Way] {
        use Way::{Cancelled, Changed, Exists, Flipped, Full, Lost, Refused, Short, Stopped, Unmapped};
        match self {
            Self::Read => &[Refused, Short, Changed, Stopped],
            Self::CheckUnchanged => &[Refused, Changed, Stopped],
            Self::StoppedRun | Self::KeepOnly | Self::TakeUp | Self::ReadBack => &[Refused, Stopped],
            Self::Reserve | Self::BeginJournal | Self::Write | Self::Splice | Self::Finish | Self::Commit => {
                &[Refused, Full, Stopped]
            }
            Self::Create => &[Refused, Full, Exists, Stopped],
            Self::ReadWritten => &[Refused, Short, Changed, Flipped, Stopped],
            Self::Gpu => &[Lost, Unmapped, Stopped],
            Self::Cpu => &[Unmapped, Stopped],
            Self::Ask => &[Cancelled],
        }
    }

    /// What a session may call the error, if it tells of one.
    #[must_use]
    pub fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Read | Self::CheckUnchanged => &["source"],
            Self::ReadWritten => &["source", "sink"],
            Self::Gpu => &[],
            Self::Cpu => &["engine"],
            Self::Ask => &["cancelled"],
            _ => &["sink"],
        }
    }
}

/// One call of one door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The door.
    pub door: Door,
    /// The file, if the call is about one.
    pub place: String,
}

/// Counts calls, and springs at one of them.
#[derive(Debug, Default)]
pub struct Trap {
    calls: RefCell<Vec<Call>>,
    set: Cell<Option<(usize, Way)>>,
    stopped: Cell<bool>,
}

impl Trap {
    /// Sets it on a call, counted from 0, and forgets what was counted.
    pub fn set(&self, at: Option<(usize, Way)>) {
        self.calls.borrow_mut().clear();
        self.set.set(at);
        self.stopped.set(false);
    }

    /// Every call since it was set.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.calls.borrow().clone()
    }

    /// Whether the work has ended in the middle of a call.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Counts a call; tells how it fails, if it does.
    fn pass(&self, door: Door, place: &str) -> Option<Way> {
        let mut calls = self.calls.borrow_mut();
        let number = calls.len();
        calls.push(Call { door, place: place.into() });
        self.set.get().filter(|(at, _)| *at == number).map(|(_, way)| way)
    }

    /// A call that never comes back.
    async fn stop<T>(&self) -> T {
        self.stopped.set(true);
        std::future::pending().await
    }
}
