//! A sink that keeps files in memory, and can be told to fail.

use futures_util::future::LocalBoxFuture;
use quantscope_format::{MemorySource, Sink, SinkError, Source};
use std::collections::BTreeMap;

/// Files of a conversion, under temporary names until they are committed.
#[derive(Default)]
pub struct MemorySink {
    begun: BTreeMap<String, Vec<u8>>,
    committed: BTreeMap<String, Vec<u8>>,
    writes_left: Option<u32>,
}

impl MemorySink {
    /// A sink that refuses every write after the first `writes`.
    #[must_use]
    pub fn failing_after(writes: u32) -> Self {
        Self { writes_left: Some(writes), ..Self::default() }
    }

    /// Files under their final names.
    #[must_use]
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.committed
    }

    /// Whether nothing was left under a temporary name either.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.begun.is_empty()
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        let io = |reason: &str| SinkError::Io { name: name.to_owned(), reason: reason.to_owned() };
        if let Some(left) = &mut self.writes_left {
            *left = left.checked_sub(1).ok_or_else(|| io("the disk is gone"))?;
        }
        let file = self.begun.get_mut(name).ok_or_else(|| io("it was not begun"))?;
        let begin = usize::try_from(offset).map_err(|error| io(&error.to_string()))?;
        let place =
            file.get_mut(begin..begin + bytes.len()).ok_or_else(|| io("the bytes lie past its end"))?;
        place.copy_from_slice(bytes);
        Ok(())
    }
}

impl Sink for MemorySink {
    fn create<'a>(&'a mut self, name: &'a str, len: u64) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        let result = usize::try_from(len)
            .map_err(|error| SinkError::Io { name: name.to_owned(), reason: error.to_string() })
            .map(|len| drop(self.begun.insert(name.to_owned(), vec![0; len])));
        Box::pin(std::future::ready(result))
    }

    fn write_at<'a>(
        &'a mut self,
        name: &'a str,
        offset: u64,
        bytes: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        let result = self.write(name, offset, bytes);
        Box::pin(std::future::ready(result))
    }

    fn read_back<'a>(&'a mut self, name: &'a str) -> LocalBoxFuture<'a, Result<Box<dyn Source>, SinkError>> {
        let file = self.begun.get(name).cloned();
        let source = file.map(|bytes| Box::new(MemorySource::new(name, bytes)) as Box<dyn Source>);
        let missing = SinkError::Io { name: name.to_owned(), reason: "it was not begun".to_owned() };
        Box::pin(std::future::ready(source.ok_or(missing)))
    }

    fn commit<'a>(&'a mut self) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        self.committed = std::mem::take(&mut self.begun);
        Box::pin(std::future::ready(Ok(())))
    }

    fn abandon<'a>(&'a mut self) -> LocalBoxFuture<'a, ()> {
        self.begun.clear();
        Box::pin(std::future::ready(()))
    }
}
