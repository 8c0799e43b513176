//! Checkpoints by address: HTTP over blocking sockets, each request on a thread of its own.
//!
//! `HF_TOKEN` opens what is not open to everybody; it goes to the hub's host and is never printed.
//! `HF_ENDPOINT` names another hub.

use crate::control::Bars;
use crate::exit::Failure;
use crate::files::CheckpointFiles;
use crate::text;
use futures_channel::oneshot;
use futures_util::future::LocalBoxFuture;
use quantscope_format::Limits;
use quantscope_remote::{
    Address, Answer, Connection, HUB, RangeRequest, RemoteError, Token, Transport, TransportError, open,
};
use quantscope_session::InputFile;
use std::io::{ErrorKind, Read as _};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use ureq::Agent;
use ureq::config::RedirectAuthHeaders;

/// Bytes and requests of this run, for the line at its end.
static BYTES: AtomicU64 = AtomicU64::new(0);
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);
const REDIRECTS: u32 = 8;

/// The files of the checkpoint at an address.
pub(crate) async fn checkpoint(text: &str, limits: &Limits) -> Result<CheckpointFiles, Failure> {
    let hub = std::env::var("HF_ENDPOINT").ok().filter(|hub| !hub.is_empty());
    let hub = hub.as_deref().unwrap_or(HUB).trim_end_matches('/');
    let token = std::env::var("HF_TOKEN").ok().and_then(|token| Token::new(&token));
    let address = Address::parse(text, hub)?;
    let connection = Rc::new(Connection::new(Rc::new(Http::new()), token, hub));
    let bars = Bars::new();
    let opened = open(&connection, &address, limits, &bars).await;
    bars.clear();
    let files = opened?.into_iter();
    let files = files.map(|file| InputFile { path: file.path, source: file.source }).collect();
    // What stands behind a question mark may be a signature.
    let name = text.split(['?', '#']).next().unwrap_or_default().to_owned();
    Ok(CheckpointFiles { name, files })
}

/// What went over the network, where something did.
pub(crate) fn note_traffic() {
    let (requests, bytes) = (REQUESTS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
    if requests > 0 {
        text::note(&format!("fetched {} in {requests} requests", text::bytes(bytes)));
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        let said = error.to_string();
        let hint = match error {
            RemoteError::Denied { .. } => "; the token is taken from HF_TOKEN and goes to the hub alone",
            _ => "",
        };
        Self::new(error.kind(), text::printable(&format!("{said}{hint}")))
    }
}

/// Blocking HTTP.
struct Http {
    /// Never leaves `https`.
    safe: Agent,
    /// For servers on this machine.
    local: Agent,
}

impl Http {
    fn new() -> Self {
        let agent = |https_only: bool| -> Agent {
            Agent::config_builder()
                .https_only(https_only)
                .http_status_as_error(false)
                .max_redirects(REDIRECTS)
                .redirect_auth_headers(RedirectAuthHeaders::SameHost)
                .timeout_connect(Some(SILENCE))
                .timeout_recv_response(Some(SILENCE))
                .timeout_per_read(Some(SILENCE))
                .user_agent(concat!("quantscope/", env!("CARGO_PKG_VERSION")))
                .build()
                .into()
        };
        Self { safe: agent(true), local: agent(false) }
    }
}

impl Transport for Http {
    fn get(&self, request: RangeRequest) -> LocalBoxFuture<'_, Result<Answer, TransportError>> {
        let is_local = request.url.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("http://"));
        let agent = if is_local { self.local.clone() } else { self.safe.clone() };
        let (give, take) = oneshot::channel();
        let started = thread::Builder::new().spawn(move || {
            // Nobody waits any more if the user stopped it.
            let _ = give.send(fetch(&agent, &request));
        });
        Box::pin(async move {
            started.map_err(|error| TransportError { reason: format!("no thread could be had: {error}") })?;
            take.await.unwrap_or_else(|_| Err(TransportError { reason: "its thread ended early".into() }))
        })
    }

    fn pause(&self, milliseconds: u32) -> LocalBoxFuture<'_, ()> {
        let (give, take) = oneshot::channel();
        let started = thread::Builder::new().spawn(move || {
            thread::sleep(Duration::from_millis(milliseconds.into()));
            // As above.
            let _: Result<(), ()> = give.send(());
        });
        Box::pin(async move {
            if started.is_ok() {
                // Without its thread the pause is over at once.
                let _ = take.await;
            }
        })
    }
}

fn fetch(agent: &Agent, request: &RangeRequest) -> Result<Answer, TransportError> {
    REQUESTS.fetch_add(1, Ordering::Relaxed);
    let mut asked =
        agent.get(&request.url).header("Range", request.header()).header("Accept-Encoding", "identity");
    if let Some(token) = &request.token {
        asked = asked.header("Authorization", token.header());
    }
    let answer = asked.call().map_err(|error| TransportError { reason: reason(&error) })?;
    let header =
        |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let content_length: Option<u64> = header("content-length").and_then(|length| length.parse().ok());
    let (content_range, etag) = (header("content-range"), header("etag"));
    let status = answer.status().as_u16();
    let most = request.most_bytes();
    let is_wanted = match status {
        206 => true,
        200 => content_length.is_none_or(|length| length < most),
        _ => false,
    };
    let (mut body, mut cut) = (Vec::new(), None);
    if is_wanted {
        let mut reader = answer.into_body().into_reader().take(most);
        // What came before an error stays: the rest is asked for again.
        if let Err(error) = reader.read_to_end(&mut body) {
            cut = Some(match error.kind() {
                ErrorKind::TimedOut => "nothing came for half a minute".to_owned(),
                _ => error.to_string(),
            });
        }
        BYTES.fetch_add(body.len() as u64, Ordering::Relaxed);
    }
    Ok(Answer { status, content_range, content_length, etag, body, cut })
}

/// What went wrong, without the address, which may be signed.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "there is no such host".into(),
        ureq::Error::ConnectionFailed => "no connection could be made".into(),
        ureq::Error::RequireHttpsOnly(_) => "it leads to an address without encryption".into(),
        ureq::Error::TooManyRedirects => format!("it leads on more than {REDIRECTS} times"),
        ureq::Error::BadUri(_) => "the address cannot be read".into(),
        ureq::Error::Timeout(_) => "no answer came in half a minute".into(),
        ureq::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}
