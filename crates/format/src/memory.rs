//! A [`Source`] over bytes in memory that counts what is read of it: for tests, samples and tools.

use crate::door::{Source, SourceError};
use futures_util::future::LocalBoxFuture;
use std::cell::Cell;
use std::fmt;

/// A file that lives in memory.
///
/// ```
/// use quantscope_format::{MemorySource, Source};
/// let source = MemorySource::new("a.bin", vec![1, 2, 3, 4]);
/// let mut two = [0; 2];
/// futures_executor::block_on(source.read(1, &mut two)).unwrap();
/// assert_eq!(two, [2, 3]);
/// assert_eq!(source.bytes_read(), 2);
/// ```
#[derive(Clone)]
pub struct MemorySource {
    name: String,
    bytes: Vec<u8>,
    bytes_read: Cell<u64>,
}

impl MemorySource {
    /// A file of that name, for messages, and those bytes.
    #[must_use]
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into(), bytes_read: Cell::new(0) }
    }

    /// Bytes that all reads so far have asked for and got.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.get()
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySource")
            .field("name", &self.name)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl Source for MemorySource {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> LocalBoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let wanted = buf.len() as u64;
            let start = usize::try_from(offset).ok();
            let range = start.and_then(|start| Some(start..start.checked_add(buf.len())?));
            match range.and_then(|range| self.bytes.get(range)) {
                Some(bytes) => {
                    buf.copy_from_slice(bytes);
                    self.bytes_read.set(self.bytes_read.get().saturating_add(wanted));
                    Ok(())
                }
                None => Err(SourceError::PastEnd {
                    name: self.name.clone(),
                    len: self.len(),
                    start: offset,
                    end: offset.saturating_add(wanted),
                }),
            }
        })
    }
}
