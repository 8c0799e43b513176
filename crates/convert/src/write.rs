//! Writing with a memory: every byte that goes to the sink also goes into the mark by which it is known again when it
//! is read back.
//!
//! The mark is XXH3 in 128 bits, a twentieth of the work of SHA-256. It has to tell a medium's faults, not a forger's
//! work: the hash that stands in the manifest is taken of the bytes that were read back.

use crate::error::ConvertError;
use quantscope_format::{Buffer, Sink};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3Default;

/// What bytes are known by.
pub(crate) type Mark = u128;

/// A mark that grows.
#[derive(Default)]
pub(crate) struct Marker(Box<Xxh3Default>);

impl Marker {
    /// Takes in bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The mark of all of them.
    pub(crate) fn finish(&self) -> Mark {
        self.0.digest128()
    }
}

/// A tensor being written from its first byte to its last.
pub(crate) struct TensorWriter<'a> {
    file: &'a str,
    offset: u64,
    marker: Marker,
}

impl<'a> TensorWriter<'a> {
    /// Begins a tensor at `offset` of `file`.
    pub(crate) fn new(file: &'a str, offset: u64) -> Self {
        Self { file, offset, marker: Marker::default() }
    }

    /// Writes the next bytes.
    pub(crate) async fn write(&mut self, sink: &mut dyn Sink, bytes: &[u8]) -> Result<(), ConvertError> {
        sink.write_at(self.file, self.offset, bytes).await?;
        self.skip(bytes);
        Ok(())
    }

    /// Writes the next bytes, which the sink may keep for a while.
    pub(crate) async fn write_shared(
        &mut self,
        sink: &mut dyn Sink,
        bytes: &Arc<Buffer>,
    ) -> Result<(), ConvertError> {
        sink.write_shared(self.file, self.offset, bytes).await?;
        self.skip(bytes);
        Ok(())
    }

    /// Takes bytes into the mark that reach the sink another way.
    pub(crate) fn skip(&mut self, bytes: &[u8]) {
        self.marker.update(bytes);
        self.offset = self.offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }

    /// The mark of all that was written.
    pub(crate) fn finish(self) -> Mark {
        self.marker.finish()
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
