//! Sources, sinks and controls behind a trap.

use super::{Door, Trap, Way};
use futures_util::future::LocalBoxFuture;
use quantscope_format::{Buffer, Control, Progress, Sink, SinkError, Source, SourceError};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// A source behind a trap: of the input, or of what was written.
pub struct TrappedSource {
    /// The trap.
    pub trap: Rc<Trap>,
    /// [`Door::Read`] or [`Door::ReadWritten`].
    pub door: Door,
    /// Name of the file.
    pub name: String,
    /// The source itself.
    pub inner: Rc<dyn Source>,
}

impl TrappedSource {
    fn error(&self, way: Way, offset: u64, len: usize) -> SourceError {
        let name = self.name.clone();
        let end = offset.saturating_add(len as u64);
        match way {
            Way::Short => SourceError::PastEnd { name, len: offset + len as u64 / 2, start: offset, end },
            Way::Changed => SourceError::Changed { name, change: "was replaced".into() },
            _ => SourceError::Io { name, reason: "the medium does not answer".into() },
        }
    }
}

impl Source for TrappedSource {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> LocalBoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let Some(way) = self.trap.pass(self.door, &self.name) else {
                return self.inner.read(offset, buf).await;
            };
            let asked = buf.len();
            match way {
                Way::Stopped => return self.trap.stop().await,
                Way::Flipped => {
                    self.inner.read(offset, &mut *buf).await?;
                    buf.iter_mut().rev().take(1).for_each(|last| *last ^= 1);
                    return Ok(());
                }
                Way::Short => {
                    let (there, _) = buf.split_at_mut(asked / 2);
                    self.inner.read(offset, there).await?;
                }
                _ => {}
            }
            Err(self.error(way, offset, asked))
        })
    }

    fn take(&self, offset: u64, len: usize) -> LocalBoxFuture<'_, Result<Buffer, SourceError>> {
        Box::pin(async move {
            let Some(way) = self.trap.pass(self.door, &self.name) else {
                return self.inner.take(offset, len).await;
            };
            match way {
                Way::Stopped => return self.trap.stop().await,
                Way::Flipped => {
                    let mut bytes = self.inner.take(offset, len).await?;
                    bytes.iter_mut().rev().take(1).for_each(|last| *last ^= 1);
                    return Ok(bytes);
                }
                Way::Short => {
                    self.inner.take(offset, len / 2).await?;
                }
                _ => {}
            }
            Err(self.error(way, offset, len))
        })
    }

    fn check_unchanged(&self) -> LocalBoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async move {
            match self.trap.pass(Door::CheckUnchanged, &self.name) {
                None => self.inner.check_unchanged().await,
                Some(Way::Stopped) => self.trap.stop().await,
                Some(way) => Err(self.error(way, 0, 0)),
            }
        })
    }
}

/// A sink behind a trap.
pub struct TrappedSink<'s> {
    /// The trap.
    pub trap: Rc<Trap>,
    /// The sink itself.
    pub inner: &'s mut dyn Sink,
}

impl TrappedSink<'_> {
    /// Counts a call. `Ok(true)` if half of it is to be done before it fails.
    async fn pass(&self, door: Door, name: &str) -> Result<bool, SinkError> {
        match self.trap.pass(door, name) {
            None => Ok(false),
            Some(Way::Stopped) => self.trap.stop().await,
            Some(Way::Full) => Ok(true),
            Some(Way::Exists) => Err(SinkError::Exists { name: name.into() }),
            Some(_) => {
                Err(SinkError::Io { name: name.into(), reason: "the permission was taken back".into() })
            }
        }
    }

    fn full(name: &str) -> SinkError {
        SinkError::Full { name: name.into(), needed: 1, available: 0 }
    }

    fn read_of(&self, name: &str, inner: Box<dyn Source>) -> Box<dyn Source> {
        Box::new(TrappedSource {
            trap: Rc::clone(&self.trap),
            door: Door::ReadWritten,
            name: name.into(),
            inner: inner.into(),
        })
    }
}

/// The first half of some bytes.
fn half(bytes: &[u8]) -> &[u8] {
    bytes.get(..bytes.len() / 2).unwrap_or_default()
}

/// What calls that are about no single file name as their place.
const FOLDER: &str = "the folder";

impl Sink for TrappedSink<'_> {
    fn reserve(&mut self, bytes: u64) -> LocalBoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            if self.pass(Door::Reserve, FOLDER).await? {
                return Err(Self::full(FOLDER));
            }
            self.inner.reserve(bytes).await
        })
    }

    fn stopped_run(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, SinkError>> {
        Box::pin(async move {
            self.pass(Door::StoppedRun, FOLDER).await?;
            self.inner.stopped_run().await
        })
    }

    fn keep_only<'a>(&'a mut self, finished: &'a [String]) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.pass(Door::KeepOnly, FOLDER).await?;
            self.inner.keep_only(finished).await
        })
    }

    fn take_up<'a>(
        &'a mut self,
        name: &'a str,
    ) -> LocalBoxFuture<'a, Result<Option<Box<dyn Source>>, SinkError>> {
        Box::pin(async move {
            self.pass(Door::TakeUp, name).await?;
            let taken = self.inner.take_up(name).await?;
            Ok(taken.map(|source| self.read_of(name, source)))
        })
    }

    fn begin_journal<'a>(&'a mut self, bytes: &'a [u8]) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            if self.pass(Door::BeginJournal, FOLDER).await? {
                self.inner.begin_journal(half(bytes)).await?;
                return Err(Self::full(FOLDER));
            }
            self.inner.begin_journal(bytes).await
        })
    }

    fn finish<'a>(&'a mut self, name: &'a str, entry: &'a [u8]) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            if self.pass(Door::Finish, name).await? {
                self.inner.finish(name, half(entry)).await?;
                return Err(Self::full(name));
            }
            self.inner.finish(name, entry).await
        })
    }

    fn create<'a>(&'a mut self, name: &'a str, len: u64) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            if self.pass(Door::Create, name).await? {
                self.inner.create(name, len).await?;
                return Err(Self::full(name));
            }
            self.inner.create(name, len).await
        })
    }

    fn write_at<'a>(
        &'a mut self,
        name: &'a str,
        offset: u64,
        bytes: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            if self.pass(Door::Write, name).await? {
                self.inner.write_at(name, offset, half(bytes)).await?;
                return Err(Self::full(name));
            }
            self.inner.write_at(name, offset, bytes).await
        })
    }

    fn write_shared<'a>(
        &'a mut self,
        name: &'a str,
        offset: u64,
        bytes: &'a Arc<Buffer>,
    ) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            if self.pass(Door::Write, name).await? {
                self.inner.write_at(name, offset, half(bytes)).await?;
                return Err(Self::full(name));
            }
            self.inner.write_shared(name, offset, bytes).await
        })
    }

    fn splices(&self, source_path: &str) -> bool {
        self.inner.splices(source_path)
    }

    fn splice<'a>(
        &'a mut self,
        name: &'a str,
        offset: u64,
        source_path: &'a str,
        range: Range<u64>,
    ) -> LocalBoxFuture<'a, Result<bool, SinkError>> {
        Box::pin(async move {
            if self.pass(Door::Splice, name).await? {
                return Err(Self::full(name));
            }
            self.inner.splice(name, offset, source_path, range).await
        })
    }

    fn read_back<'a>(&'a mut self, name: &'a str) -> LocalBoxFuture<'a, Result<Box<dyn Source>, SinkError>> {
        Box::pin(async move {
            self.pass(Door::ReadBack, name).await?;
            let source = self.inner.read_back(name).await?;
            Ok(self.read_of(name, source))
        })
    }

    fn commit<'a>(&'a mut self) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            if self.pass(Door::Commit, FOLDER).await? {
                return Err(Self::full(FOLDER));
            }
            self.inner.commit().await
        })
    }

    fn abandon<'a>(&'a mut self) -> LocalBoxFuture<'a, ()> {
        self.inner.abandon()
    }
}

/// A control behind a trap.
pub struct TrappedControl {
    /// The trap.
    pub trap: Rc<Trap>,
}

impl Control for TrappedControl {
    fn progress(&self, _: &Progress) {}

    fn is_cancelled(&self) -> bool {
        self.trap.pass(Door::Ask, "").is_some()
    }
}
