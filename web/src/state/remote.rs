//! Checkpoints at an address: what the user typed, what went over the network, and what waits for the user's word
//! because it would fetch more than headers.

use super::job::JobKind;
use super::route::Route;
use super::{Command, Notice, Phase, Slot, State};
use crate::protocol::remote::{RemoteRequest, Secret, Traffic};
use crate::protocol::{Reply, Request};
use quantscope_session::api::SessionError;

/// What the user does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Visit {
    /// Typed into the field for the address.
    Address(String),
    /// Typed into the field for the token.
    Token(Secret),
    /// Open what stands in the field.
    Open,
    /// The page began: open what its address names.
    Begin,
    /// What waits may be fetched.
    Allow,
    /// It may not.
    Refuse,
    /// The scales alone may be fetched.
    Scales,
    /// The values of the layer in the panel may be fetched.
    Values,
}

/// Where an answer about an address goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RemoteSlot {
    /// How large the scales are.
    ScaleBytes,
    /// Their check.
    Scales,
}

/// A job that waits for the user's word.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Held {
    /// What it is for.
    pub(crate) kind: JobKind,
    /// Where its answer goes.
    pub(super) slot: Slot,
    /// What it asks.
    pub(super) request: Request,
}

/// The part of the state that belongs to addresses.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Remote {
    /// Whether this page may connect to other places.
    pub(crate) connects: bool,
    /// What stands in the field.
    pub(crate) address: String,
    /// The token; in memory only.
    pub(crate) token: Secret,
    /// Whether the open checkpoint is at an address.
    pub(crate) is_open: bool,
    /// What went over the network for it.
    pub(crate) traffic: Traffic,
    /// What waits for the user's word.
    pub(crate) held: Option<Held>,
    /// The layer whose values may be fetched.
    values_of: Option<String>,
    /// Bytes of the scales of what is open, once they were asked.
    scale_bytes: Option<u64>,
}

impl Remote {
    /// Where the bytes of the open checkpoint come from.
    pub(crate) fn host(&self) -> &str {
        host_of(&self.address)
    }

    /// Whether values of a layer may be read without asking.
    pub(crate) fn may_read(&self, layer: &str) -> bool {
        !self.is_open || self.values_of.as_deref() == Some(layer)
    }

    /// Bytes of the scales, where a job waits that may as well be done on them alone.
    pub(crate) fn scale_bytes_for(&self, kind: JobKind) -> Option<u64> {
        self.scale_bytes.filter(|bytes| kind == JobKind::Verify && *bytes > 0)
    }

    /// Forgets what belongs to the open checkpoint.
    pub(super) fn forget(&mut self) {
        self.is_open = false;
        self.traffic = Traffic::default();
        self.held = None;
        self.values_of = None;
        self.scale_bytes = None;
    }
}

/// The server that an address names.
pub(super) fn host_of(address: &str) -> &str {
    if address.starts_with("hf://") {
        return "huggingface.co";
    }
    let rest = address.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

impl State {
    pub(super) fn visit(&mut self, action: Visit, now_ms: f64, commands: &mut Vec<Command>) {
        match action {
            Visit::Address(text) => self.remote.address = text,
            Visit::Token(token) => self.remote.token = token,
            Visit::Open => self.open_address(now_ms, commands),
            Visit::Begin => {
                if let Some(address) = self.route.address.clone().filter(|_| self.remote.connects) {
                    self.remote.address = address;
                    self.open_address(now_ms, commands);
                }
            }
            Visit::Allow => {
                if let Some(Held { kind, slot, request }) = self.remote.held.take() {
                    self.begin_now(slot, kind, request, now_ms, commands);
                }
            }
            Visit::Refuse => self.remote.held = None,
            Visit::Scales => {
                self.remote.held = None;
                let (slot, request) = (Slot::Remote(RemoteSlot::Scales), RemoteRequest::Scales);
                self.begin_now(slot, JobKind::Scales, Request::Remote(request), now_ms, commands);
            }
            Visit::Values => self.remote.values_of = self.route.layer.clone(),
        }
    }

    /// Asks how large the scales are, if that is of use to who is asked.
    pub(super) fn ask_scale_bytes(&mut self, commands: &mut Vec<Command>) {
        let is_verifying = self.remote.held.as_ref().is_some_and(|held| held.kind == JobKind::Verify);
        if is_verifying && self.remote.scale_bytes.is_none() {
            let request = Request::Remote(RemoteRequest::ScaleBytes);
            self.send(Slot::Remote(RemoteSlot::ScaleBytes), request, commands);
        }
    }

    /// Takes the answers about an address; gives back all others.
    pub(super) fn settle_remote(
        &mut self,
        slot: Slot,
        result: Result<Reply, SessionError>,
    ) -> Option<(Slot, Result<Reply, SessionError>)> {
        let Slot::Remote(of) = slot else { return Some((slot, result)) };
        match (of, result) {
            (RemoteSlot::ScaleBytes, Ok(Reply::ScaleBytes(bytes))) => self.remote.scale_bytes = Some(bytes),
            (RemoteSlot::Scales, Ok(Reply::Verified { summary, overview })) => {
                self.take_verified("Scales checked", &summary, overview);
            }
            (RemoteSlot::Scales, Err(error)) => self.tell_error("Scales not checked", error),
            // Without their size the scales are not offered alone; answers of another form are of no use.
            _ => {}
        }
        None
    }

    /// Opens the address of another entry of the history, if that is where it leads.
    pub(super) fn follow(&mut self, route: &Route, now_ms: f64, commands: &mut Vec<Command>) {
        let other = route.address.clone().filter(|_| route.address != self.route.address);
        if let Some(address) = other.filter(|_| self.remote.connects) {
            self.remote.address = address;
            self.open_address(now_ms, commands);
        }
    }

    fn open_address(&mut self, now_ms: f64, commands: &mut Vec<Command>) {
        let address = self.remote.address.trim().to_owned();
        if address.is_empty() || !self.remote.connects {
            self.notice = Some(Notice {
                title: "No address".into(),
                text: "Write https://… or hf://organization/repository.".into(),
                is_error: true,
            });
            return;
        }
        let request = RemoteRequest::Open { address: address.clone(), token: self.remote.token.clone() };
        // Where the user is stays in the address of a page that opens with one.
        let route = matches!(self.phase, Phase::Arrival).then(|| self.route.clone());
        let name = address.split(['?', '#']).next().unwrap_or_default().to_owned();
        self.open(name, Request::Remote(request), now_ms, commands);
        self.remote.is_open = true;
        self.route = Route { address: Some(address), ..route.unwrap_or_default() };
    }
}

#[cfg(test)]
mod tests;
