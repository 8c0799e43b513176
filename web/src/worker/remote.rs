//! Opens checkpoints at an address, and tells the page what went over the network.

use super::desk::Desk;
use super::fetch::Fetch;
use super::{js, tell};
use crate::protocol::remote::{RemoteRequest, Secret, Traffic};
use crate::protocol::{Event, Reply, RequestId};
use quantscope_remote::{Address, Connection, HUB, RemoteError, Token, open};
use quantscope_session::api::SessionError;
use quantscope_session::{InputFile, Limits, Session};
use std::rc::Rc;

impl Desk {
    /// Answers a request about an address.
    pub(super) async fn remote(&self, id: RequestId, request: RemoteRequest) -> Result<Reply, SessionError> {
        match request {
            RemoteRequest::Open { address, token } => {
                self.traffic.set(Traffic::default());
                let session = self.session_at(id, &address, &token).await?;
                Ok(self.take(session, Rc::default()))
            }
            RemoteRequest::ScaleBytes => Ok(Reply::ScaleBytes(self.session()?.scale_bytes())),
            RemoteRequest::Scales => self.verify(id, true).await,
        }
    }

    /// Opens an address: headers, index and configs. What that takes is counted with what was fetched before.
    pub(super) async fn session_at(
        &self,
        id: RequestId,
        address: &str,
        token: &Secret,
    ) -> Result<Session, SessionError> {
        let control = self.jobs.begin(id);
        let limits = Limits::default();
        let parsed = Address::parse(address, HUB).map_err(|error| session_error(&error))?;
        let traffic = Rc::clone(&self.traffic);
        let told = move |bytes: u64| {
            let Traffic { requests, bytes: before } = traffic.get();
            let now = Traffic { requests: requests.saturating_add(1), bytes: before.saturating_add(bytes) };
            traffic.set(now);
            tell(Event::Traffic(now));
        };
        let connection = Rc::new(Connection::new(Rc::new(Fetch { told }), Token::new(&token.0), HUB));
        let files =
            open(&connection, &parsed, &limits, &control).await.map_err(|error| session_error(&error))?;
        let inputs =
            files.into_iter().map(|file| InputFile { path: file.path, source: file.source }).collect();
        // What stands behind a question mark may be a signature.
        let name = address.split(['?', '#']).next().unwrap_or_default();
        Session::read(name, inputs, limits, &control).await
    }
}

fn session_error(error: &RemoteError) -> SessionError {
    js::error(error.kind(), error.to_string())
}
