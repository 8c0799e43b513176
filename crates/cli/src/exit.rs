//! Exit statuses, a contract with scripts, and the failures that lead to them.

use quantscope_session::api::SessionError;
use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Done, nothing to complain about.
    Fine,
    /// Findings at or above `--fail-on`.
    Findings,
    /// The request cannot be done; nothing was written.
    Refused,
    /// The user stopped it; nothing is left under a final name.
    Cancelled,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Fine => 0_u8,
            Status::Findings => 1,
            Status::Refused => 2,
            Status::Cancelled => 130,
        })
    }
}

/// Why a request was not carried out.
#[derive(Debug)]
pub(crate) struct Failure {
    /// As [`SessionError::kind`], or `usage`.
    pub(crate) kind: String,
    /// What happened, to what, and the next step.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(kind: &str, message: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), message: message.into() }
    }

    /// The same, with what stays of the work.
    pub(crate) fn with(mut self, kept: Option<&str>) -> Self {
        if let Some(kept) = kept {
            self.message = format!("{}; {kept}", self.message);
        }
        self
    }

    pub(crate) fn status(&self) -> Status {
        if self.kind == "cancelled" { Status::Cancelled } else { Status::Refused }
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        Self { kind: error.kind, message: error.message }
    }
}
