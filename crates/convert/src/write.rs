//! Writing with a memory: every byte that goes to the sink also goes into the hash that later proves it.

use crate::digest::Digest;
use crate::error::ConvertError;
use quantscope_format::Sink;

/// A tensor being written from its first byte to its last.
pub(crate) struct TensorWriter<'a> {
    file: &'a str,
    offset: u64,
    hash: Digest,
}

impl<'a> TensorWriter<'a> {
    /// Begins a tensor at `offset` of `file`.
    pub(crate) fn new(file: &'a str, offset: u64) -> Self {
        Self { file, offset, hash: Digest::default() }
    }

    /// Writes the next bytes.
    pub(crate) async fn write(&mut self, sink: &mut dyn Sink, bytes: &[u8]) -> Result<(), ConvertError> {
        sink.write_at(self.file, self.offset, bytes).await?;
        self.skip(bytes);
        Ok(())
    }

    /// Takes bytes into the hash that reach the sink another way.
    pub(crate) fn skip(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.offset = self.offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }

    /// The hash as hex.
    pub(crate) fn finish(self) -> String {
        self.hash.finish()
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
