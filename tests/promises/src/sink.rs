//! A sink in memory: temporary until committed, empty once abandoned.

use futures_util::future::LocalBoxFuture;
use quantscope_format::{MemorySource, Sink, SinkError, Source};
use std::collections::BTreeMap;

/// Files in memory.
#[derive(Default)]
pub(crate) struct Memory {
    begun: BTreeMap<String, Vec<u8>>,
    /// Files under their final names.
    pub(crate) finished: BTreeMap<String, Vec<u8>>,
}

/// A fuzzed shape may ask for more than there is; the sink is full then, as a disk would be.
const MOST: u64 = 1 << 26;

impl Sink for Memory {
    fn create<'a>(&'a mut self, name: &'a str, len: u64) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            if len > MOST {
                return Err(SinkError::Full { name: name.into(), needed: len, available: MOST });
            }
            let zeros = vec![0; usize::try_from(len).unwrap_or(0)];
            let twice = self.begun.insert(name.into(), zeros).is_some();
            assert!(!twice, "{name} is created twice");
            Ok(())
        })
    }

    fn write_at<'a>(
        &'a mut self,
        name: &'a str,
        offset: u64,
        bytes: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let place = self.begun.get_mut(name).and_then(|f| f.get_mut(from..)?.get_mut(..bytes.len()));
            place.expect("writing stays within the promised length").copy_from_slice(bytes);
            Ok(())
        })
    }

    fn read_back<'a>(&'a mut self, name: &'a str) -> LocalBoxFuture<'a, Result<Box<dyn Source>, SinkError>> {
        Box::pin(async move {
            let bytes = self.begun.get(name).cloned().unwrap_or_default();
            Ok(Box::new(MemorySource::new(name, bytes)) as Box<dyn Source>)
        })
    }

    fn commit<'a>(&'a mut self) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.finished = std::mem::take(&mut self.begun);
            Ok(())
        })
    }

    fn abandon<'a>(&'a mut self) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move { self.begun.clear() })
    }
}
