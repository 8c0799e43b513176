//! A sink in memory that behaves like the real ones: temporary until committed, empty once abandoned, and
//! able to fail at the n-th call. With a journal it keeps what a stopped run has left, as a folder does.

use futures_util::future::LocalBoxFuture;
use quantscope_format::{MemorySource, Sink, SinkError, Source};
use std::collections::{BTreeMap, BTreeSet};

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
    /// Finished files of a run that was stopped; `None` if nothing is to be kept.
    pub journal: Option<Vec<u8>>,
    /// What a stopped run has left, finished or torn.
    pub left: BTreeMap<String, Vec<u8>>,
    /// Files that were taken up from it.
    pub taken: BTreeSet<String>,
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
    fn stopped_run(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, SinkError>> {
        Box::pin(async move {
            self.call("journal")?;
            Ok(self.journal.clone().filter(|journal| !journal.is_empty()))
        })
    }

    fn take_up<'a>(
        &'a mut self,
        name: &'a str,
    ) -> LocalBoxFuture<'a, Result<Option<Box<dyn Source>>, SinkError>> {
        Box::pin(async move {
            self.call(name)?;
            let Some(bytes) = self.left.remove(name) else { return Ok(None) };
            self.taken.insert(name.into());
            self.begun.insert(name.into(), bytes.clone());
            Ok(Some(Box::new(MemorySource::new(name, bytes)) as Box<dyn Source>))
        })
    }

    fn begin_journal<'a>(&'a mut self, bytes: &'a [u8]) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.call("journal")?;
            if let Some(journal) = &mut self.journal {
                *journal = bytes.to_vec();
            }
            Ok(())
        })
    }

    fn finish<'a>(&'a mut self, name: &'a str, entry: &'a [u8]) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let called = self.call(name);
            // A failure tears the line.
            let len = if called.is_ok() { entry.len() } else { entry.len() / 2 };
            if let Some(journal) = &mut self.journal {
                journal.extend_from_slice(entry.get(..len).unwrap_or_default());
            }
            called
        })
    }

    fn create<'a>(&'a mut self, name: &'a str, len: u64) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.call(name)?;
            self.left.remove(name);
            if self.taken.remove(name) {
                self.begun.remove(name);
            }
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
            self.journal = self.journal.take().map(|_| Vec::new());
            Ok(())
        })
    }

    fn abandon<'a>(&'a mut self) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let begun = std::mem::take(&mut self.begun);
            if self.journal.is_some() {
                self.left.extend(begun);
            }
            self.taken.clear();
        })
    }
}
