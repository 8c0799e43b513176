//! A file at an address as a [`Source`] of ranges.

use crate::connection::{Connection, Known};
use crate::error::RemoteError;
use futures_util::future::LocalBoxFuture;
use quantscope_format::{Source, SourceError};
use std::cell::RefCell;
use std::rc::Rc;

/// A file at an address. What opening has fetched of it is kept until it has been read once.
pub struct RemoteSource {
    connection: Rc<Connection>,
    url: String,
    name: String,
    known: RefCell<Known>,
    len: u64,
    /// The first bytes.
    head: RefCell<Vec<u8>>,
}

impl RemoteSource {
    pub(crate) fn new(
        connection: Rc<Connection>,
        url: String,
        name: String,
        known: Known,
        head: Vec<u8>,
    ) -> Self {
        let len = known.len;
        Self { connection, url, name, known: RefCell::new(known), len, head: RefCell::new(head) }
    }

    /// What opening has fetched and nobody has read yet.
    pub(crate) fn head(&self) -> Vec<u8> {
        self.head.borrow().clone()
    }

    /// Fills `buf` from the bytes that opening has fetched; `false` if they do not reach. Whoever reads the last
    /// of them was the reader that they were fetched for.
    fn read_head(&self, offset: u64, buf: &mut [u8]) -> bool {
        let mut head = self.head.borrow_mut();
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(buf.len())?));
        let Some(bytes) = range.clone().and_then(|range| head.get(range)) else { return false };
        buf.copy_from_slice(bytes);
        if range.is_some_and(|range| range.end == head.len()) {
            *head = Vec::new();
        }
        true
    }

    async fn read_range(&self, offset: u64, buf: &mut [u8]) -> Result<(), SourceError> {
        let end = offset.saturating_add(buf.len() as u64);
        let past_end = |len| SourceError::PastEnd { name: self.name.clone(), len, start: offset, end };
        if end > self.len {
            return Err(past_end(self.len));
        }
        if buf.is_empty() || self.read_head(offset, buf) {
            return Ok(());
        }
        let known = self.known.borrow().clone();
        let io = |error: RemoteError| SourceError::Io { name: self.name.clone(), reason: error.to_string() };
        let (bytes, known) = self.connection.fetch(&self.url, offset..end, Some(known)).await.map_err(io)?;
        *self.known.borrow_mut() = known;
        if bytes.len() != buf.len() {
            return Err(past_end(offset.saturating_add(bytes.len() as u64)));
        }
        buf.copy_from_slice(&bytes);
        Ok(())
    }
}

impl Source for RemoteSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> LocalBoxFuture<'a, Result<(), SourceError>> {
        Box::pin(self.read_range(offset, buf))
    }
}
