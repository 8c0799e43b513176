//! A server in memory that answers ranges, and misbehaves as a test tells it.

use crate::transport::{Answer, RangeRequest, Transport, TransportError};
use futures_util::future::LocalBoxFuture;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

/// How an answer goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// No answer.
    Silence,
    /// The body ends after so many bytes.
    Cut(usize),
    /// A status without a body.
    Status(u16),
    /// Another `Content-Range`.
    Label(Option<&'static str>),
    /// Another tag.
    Tag(&'static str),
    /// So many bytes more than announced.
    Longer(usize),
    /// The whole file, whatever was asked.
    Whole,
    /// Never.
    Hangs,
}

/// The server.
#[derive(Default)]
pub(crate) struct Server {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) faults: RefCell<VecDeque<Fault>>,
    pub(crate) log: RefCell<Vec<RangeRequest>>,
    pub(crate) paused: Cell<u64>,
    pub(crate) at_once: Cell<usize>,
    pub(crate) most_at_once: Cell<usize>,
}

impl Server {
    pub(crate) fn with(files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|(url, bytes)| ((*url).to_owned(), bytes.to_vec())).collect();
        Self { files, ..Self::default() }
    }

    pub(crate) fn will(self, faults: &[Fault]) -> Self {
        self.faults.borrow_mut().extend(faults.iter().cloned());
        self
    }

    /// Bytes of bodies that were sent for an address.
    pub(crate) fn asked(&self, url: &str) -> Vec<(u64, u64)> {
        let log = self.log.borrow();
        log.iter().filter(|r| r.url == url).map(|r| (r.range.start, r.range.end)).collect()
    }

    fn answer(&self, request: &RangeRequest) -> Result<Answer, TransportError> {
        self.log.borrow_mut().push(request.clone());
        let fault = self.faults.borrow_mut().pop_front();
        let Some(bytes) = self.files.get(&request.url) else {
            return Ok(Answer { status: 404, ..Answer::default() });
        };
        let len = bytes.len() as u64;
        let etag = Some("\"1\"".to_owned());
        let (start, end) = (request.range.start.min(len), request.range.end.min(len));
        let part = bytes[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()].to_vec();
        let mut answer = if start == end {
            let content_range = Some(format!("bytes */{len}"));
            Answer { status: 416, content_range, etag, ..Answer::default() }
        } else {
            let content_range = Some(format!("bytes {start}-{}/{len}", end - 1));
            let content_length = Some(end - start);
            Answer { status: 206, content_range, content_length, etag, body: part, cut: None }
        };
        match fault {
            None => {}
            Some(Fault::Silence | Fault::Hangs) => {
                return Err(TransportError { reason: "no answer".into() });
            }
            Some(Fault::Cut(at)) => {
                answer.body.truncate(at);
                answer.cut = Some("reset".into());
            }
            Some(Fault::Status(status)) => answer = Answer { status, ..Answer::default() },
            Some(Fault::Label(label)) => answer.content_range = label.map(str::to_owned),
            Some(Fault::Tag(tag)) => answer.etag = Some(tag.into()),
            Some(Fault::Longer(by)) => answer.body.extend(vec![0; by]),
            Some(Fault::Whole) => {
                let most = usize::try_from(request.most_bytes()).unwrap().min(bytes.len());
                answer = Answer {
                    status: 200,
                    content_length: Some(len),
                    body: bytes[..most].to_vec(),
                    ..Answer::default()
                };
            }
        }
        Ok(answer)
    }
}

impl Transport for Server {
    fn get(&self, request: RangeRequest) -> LocalBoxFuture<'_, Result<Answer, TransportError>> {
        Box::pin(async move {
            self.at_once.set(self.at_once.get() + 1);
            self.most_at_once.set(self.most_at_once.get().max(self.at_once.get()));
            if matches!(self.faults.borrow().front(), Some(Fault::Hangs)) {
                std::future::pending::<()>().await;
            }
            yield_once().await;
            self.at_once.set(self.at_once.get() - 1);
            self.answer(&request)
        })
    }

    fn pause(&self, milliseconds: u32) -> LocalBoxFuture<'_, ()> {
        self.paused.set(self.paused.get() + u64::from(milliseconds));
        Box::pin(yield_once())
    }
}

/// Lets the others go on first.
async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
