//! A sink in memory that behaves like the real ones: temporary until committed, empty once abandoned, and
//! able to fail at the n-th call.

use futures_util::future::LocalBoxFuture;
use quantscope_format::{MemorySource, Sink, SinkError, Source};
use std::collections::BTreeMap;

/// Files in memory.
#[derive(Default)]
pub struct MemorySink {
    /// Files under temporary names.
    pub begun: BTreeMap<String, Vec<u8>>,
    /// Files under their final names.
    pub finished: BTreeMap<String, Vec<u8>>,
    /// Calls so far.
    pub calls: u64,
    /// The call that fails, counted from 1.
    pub fail_at: Option<u64>,
    /// Flips a bit of every byte range read back, as a failing medium does.
    pub corrupt: bool,
}

impl MemorySink {
    fn call(&mut self, name: &str) -> Result<(), SinkError> {
        self.calls += 1;
        if Some(self.calls) == self.fail_at {
            return Err(SinkError::Full { name: name.into(), needed: 1, available: 0 });
        }
        Ok(())
    }
}

impl Sink for MemorySink {
    fn create<'a>(&'a mut self, name: &'a str, len: u64) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.call(name)?;
            let twice =
                self.begun.insert(name.into(), vec![0xAA; usize::try_from(len).unwrap_or(0)]).is_some();
            if twice { Err(SinkError::Exists { name: name.into() }) } else { Ok(()) }
        })
    }

    fn write_at<'a>(
        &'a mut self,
        name: &'a str,
        offset: u64,
        bytes: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.call(name)?;
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let place = self.begun.get_mut(name).and_then(|f| f.get_mut(from..)?.get_mut(..bytes.len()));
            let outside =
                || SinkError::Io { name: name.into(), reason: "written outside the promised length".into() };
            place.ok_or_else(outside)?.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn read_back<'a>(&'a mut self, name: &'a str) -> LocalBoxFuture<'a, Result<Box<dyn Source>, SinkError>> {
        Box::pin(async move {
            self.call(name)?;
            let mut bytes = self.begun.get(name).cloned().unwrap_or_default();
            if let Some(last) = bytes.last_mut().filter(|_| self.corrupt) {
                *last ^= 1;
            }
            Ok(Box::new(MemorySource::new(name, bytes)) as Box<dyn Source>)
        })
    }

    fn commit<'a>(&'a mut self) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.call("commit")?;
            self.finished = std::mem::take(&mut self.begun);
            Ok(())
        })
    }

    fn abandon<'a>(&'a mut self) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move { self.begun.clear() })
    }
}
