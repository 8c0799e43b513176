//! Asks for ranges until they are whole: checks every answer, asks again for what a connection left out, counts.

use crate::address::host_of;
use crate::error::{RemoteError, shown};
use crate::range::{Failure, Part, take};
use crate::transport::{RangeRequest, Token, Transport};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

/// Pauses before asking again, in milliseconds. Bytes that come begin the list anew.
const PAUSES: [u32; 3] = [250, 1000, 3000];

/// What went over the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests that were sent.
    pub requests: u64,
    /// Bytes of bodies that came, those of broken answers included.
    pub bytes: u64,
}

/// What is known of a file after its first answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// Length in bytes.
    pub(crate) len: u64,
    /// The tag of its bytes, if the server gives one.
    pub(crate) etag: Option<String>,
}

/// Everything that is asked of servers for one checkpoint.
pub struct Connection {
    transport: Rc<dyn Transport>,
    /// A token, and the only host that it is sent to.
    token: Option<(String, Token)>,
    traffic: Cell<Traffic>,
    /// Hosts that have answered once.
    reached: RefCell<BTreeSet<String>>,
}

impl Connection {
    /// Nothing is asked yet. The token goes to the host of `home` alone.
    #[must_use]
    pub fn new(transport: Rc<dyn Transport>, token: Option<Token>, home: &str) -> Self {
        let token = token.and_then(|token| Some((host_of(home)?.to_owned(), token)));
        Self { transport, token, traffic: Cell::default(), reached: RefCell::default() }
    }

    /// What went over the network so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic.get()
    }

    pub(crate) fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    /// Fetches a range of a file, and what is known of it afterwards. Fewer bytes come only where the file ends.
    ///
    /// # Errors
    /// If the server cannot be reached, refuses, or answers with something else.
    pub(crate) async fn fetch(
        &self,
        url: &str,
        range: Range<u64>,
        known: Option<Known>,
    ) -> Result<(Vec<u8>, Known), RemoteError> {
        let mut known = known;
        let mut bytes: Vec<u8> = Vec::new();
        let mut failures = 0;
        loop {
            let from = range.start.saturating_add(bytes.len() as u64);
            let end = known.as_ref().map_or(range.end, |known| range.end.min(known.len));
            if let Some(known) = known.as_ref().filter(|_| from >= end) {
                return Ok((bytes, known.clone()));
            }
            let failure = match self.ask(url, from..end).await {
                Ok(part) => {
                    let now = Known { len: part.len, etag: part.etag };
                    agree(url, known.as_ref(), &now)?;
                    known = Some(now);
                    failures = if part.bytes.is_empty() { failures } else { 0 };
                    let wanted = range.end.min(part.len).saturating_sub(range.start);
                    bytes.extend_from_slice(&part.bytes);
                    let got = bytes.len() as u64;
                    match part.cut {
                        Some(reason) => RemoteError::BrokeOff { url: shown(url), got, wanted, reason },
                        None if part.bytes.is_empty() && got < wanted => {
                            let reason = "an empty answer".into();
                            RemoteError::BrokeOff { url: shown(url), got, wanted, reason }
                        }
                        None => continue,
                    }
                }
                Err(Failure::Passing(error)) => error,
                Err(Failure::Final(error)) => return Err(error),
            };
            // A host that never answered is rather a wrong address than a bad moment: it is asked once more.
            let is_new = host_of(url).is_some_and(|host| !self.reached.borrow().contains(host));
            let pauses = if is_new { PAUSES.get(..1).unwrap_or_default() } else { &PAUSES };
            let Some(pause) = pauses.get(failures) else { return Err(failure) };
            self.transport.pause(*pause).await;
            failures += 1;
        }
    }

    async fn ask(&self, url: &str, range: Range<u64>) -> Result<Part, Failure> {
        let host = host_of(url).unwrap_or_default();
        let token = self.token.as_ref().filter(|(home, _)| home == host && !url.starts_with("http://"));
        let request = RangeRequest { url: url.into(), range, token: token.map(|(_, token)| token.clone()) };
        let mut traffic = self.traffic.get();
        traffic.requests = traffic.requests.saturating_add(1);
        self.traffic.set(traffic);
        let answer = self.transport.get(request.clone()).await.map_err(|error| {
            Failure::Passing(RemoteError::Unreachable { url: shown(url), reason: error.reason })
        })?;
        self.reached.borrow_mut().insert(host.to_owned());
        let mut traffic = self.traffic.get();
        traffic.bytes = traffic.bytes.saturating_add(answer.body.len() as u64);
        self.traffic.set(traffic);
        take(&request, answer)
    }
}

/// Whether an answer is of the file that was opened.
fn agree(url: &str, before: Option<&Known>, now: &Known) -> Result<(), RemoteError> {
    let changed =
        |expected: String, found: String| Err(RemoteError::Changed { url: shown(url), expected, found });
    match before {
        Some(before) if before.len != now.len => {
            changed(format!("{} bytes", before.len), format!("{} bytes", now.len))
        }
        Some(Known { etag: Some(before), .. }) => match &now.etag {
            Some(now) if now != before => changed(format!("tag {before}"), format!("tag {now}")),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
