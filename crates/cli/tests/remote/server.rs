//! A small HTTP server on this machine: ranges, redirects, and whatever else a test wants of it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// As it should be.
    Right,
    /// So many bytes of it, then nothing.
    Cut(usize),
    /// A status alone.
    Status(u16),
    /// The same file is elsewhere.
    Moved,
    /// It is always elsewhere.
    Loop,
    /// The whole file with status 200.
    Whole,
    /// A part without `Content-Range`.
    Unlabelled,
    /// Another range.
    Elsewhere,
    /// The connection is closed.
    Silent,
}

type Behaviour = dyn Fn(&str, u64) -> Answer + Send + Sync;

struct Shared {
    files: BTreeMap<String, Vec<u8>>,
    behaviour: Box<Behaviour>,
    counts: Mutex<BTreeMap<String, u64>>,
    log: Mutex<Vec<String>>,
    sent: AtomicU64,
}

/// A server that lives as long as the test.
pub(crate) struct Server {
    port: u16,
    shared: Arc<Shared>,
}

impl Server {
    /// Serves files; `behaviour` is told the path and how often it was asked for before.
    pub(crate) fn start(
        files: BTreeMap<String, Vec<u8>>,
        behaviour: impl Fn(&str, u64) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            files,
            behaviour: Box::new(behaviour),
            counts: Mutex::default(),
            log: Mutex::default(),
            sent: AtomicU64::new(0),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&of_thread);
                // A client that goes away ends its own thread.
                thread::spawn(move || while answer(&shared, &stream).is_some() {});
            }
        });
        Self { port, shared }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Bytes of bodies sent.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// Heads of requests.
    pub(crate) fn log(&self) -> Vec<String> {
        self.shared.log.lock().unwrap().clone()
    }
}

/// Answers one request; `None` when the connection is over.
fn answer(shared: &Shared, mut stream: &TcpStream) -> Option<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(stream);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    shared.log.lock().unwrap().push(head.clone());
    let target = head.split(' ').nth(1)?;
    let path = target.split('?').next()?.trim_start_matches("/moved").to_owned();
    let count = {
        let mut counts = shared.counts.lock().unwrap();
        let count = counts.entry(path.clone()).or_default();
        *count += 1;
        *count - 1
    };
    let range = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned))?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    let wanted = (shared.behaviour)(&path, count);
    let Some(bytes) = shared.files.get(&path) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").ok();
    };
    let end = (last + 1).min(bytes.len());
    let part = bytes.get(first..end)?;
    let (status, mut label, mut body) = (
        "206 Partial Content",
        format!("Content-Range: bytes {first}-{}/{}\r\n", end - 1, bytes.len()),
        part,
    );
    let mut announced = part.len();
    let status = match wanted {
        Answer::Right => status.to_owned(),
        Answer::Cut(at) => {
            body = &part[..at.min(part.len())];
            status.to_owned()
        }
        Answer::Silent => return None,
        Answer::Moved | Answer::Loop => {
            (body, announced) = (&[], 0);
            label = format!("Location: /moved{path}\r\n");
            "302 Found".to_owned()
        }
        Answer::Status(status) => {
            (body, announced, label) = (&[], 0, String::new());
            format!("{status} Said")
        }
        Answer::Whole => {
            (body, announced, label) = (bytes, bytes.len(), String::new());
            "200 OK".to_owned()
        }
        Answer::Unlabelled => {
            label = String::new();
            status.to_owned()
        }
        Answer::Elsewhere => {
            label = format!("Content-Range: bytes {}-{end}/{}\r\n", first + 1, bytes.len() + 1);
            status.to_owned()
        }
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {announced}\r\n{label}\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    shared.sent.fetch_add(body.len() as u64, Ordering::SeqCst);
    if body.len() < announced {
        stream.shutdown(Shutdown::Both).ok()?;
        return None;
    }
    Some(())
}
