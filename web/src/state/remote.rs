//! Checkpoints at an address: what the user typed, what went over the network, and what waits for the user's word
//! because it would fetch more than headers.

use super::job::JobKind;
use super::route::Route;
use super::{Command, Notice, Phase, Slot, State};
use crate::protocol::Request;
use crate::protocol::remote::{RemoteRequest, Secret, Traffic};

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
    /// The values of the layer in the panel may be fetched.
    Values,
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

    /// Forgets what belongs to the open checkpoint.
    pub(super) fn forget(&mut self) {
        self.is_open = false;
        self.traffic = Traffic::default();
        self.held = None;
        self.values_of = None;
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
            Visit::Values => self.remote.values_of = self.route.layer.clone(),
        }
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
