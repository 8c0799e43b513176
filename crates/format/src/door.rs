//! The doors of the core: where bytes come from, where they go, and who may stop the work.
//!
//! Nothing in the core opens a file or a socket. The command line implements these traits with
//! positioned reads and files, the page with `Blob.slice` and the origin's private file system,
//! tests with byte vectors that count and fail.

use crate::buffer::Buffer;
use futures_util::future::LocalBoxFuture;
use std::ops::Range;
use std::sync::Arc;

/// Why a [`Source`] could not give bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Bytes past the end were asked for: the file is shorter than it was when it was opened.
    #[error("{name} ends at byte {len}, bytes {start}..{end} were asked for; was it replaced while open?")]
    PastEnd {
        /// Name of the file.
        name: String,
        /// Length of the file now.
        len: u64,
        /// First byte asked for.
        start: u64,
        /// One past the last byte asked for.
        end: u64,
    },
    /// The system refused.
    #[error("cannot read {name}: {reason}")]
    Io {
        /// Name of the file.
        name: String,
        /// The system's own words.
        reason: String,
    },
    /// It is not the file any more that was opened.
    #[error("{name} {change} while it was read; start again with a source that stays as it is")]
    Changed {
        /// Name of the file.
        name: String,
        /// What became of it, such as `was replaced`.
        change: String,
    },
}

/// Random access to one file, a range at a time.
pub trait Source {
    /// Length in bytes, fixed when the source was opened.
    fn len(&self) -> u64;

    /// Whether there is nothing to read.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` with the bytes from `offset` on. Short reads are errors.
    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> LocalBoxFuture<'a, Result<(), SourceError>>;

    /// The next `len` bytes from `offset` on, for whoever wants to keep them: sources that have them in a buffer of
    /// their own hand it over. Short reads are errors.
    fn take(&self, offset: u64, len: usize) -> LocalBoxFuture<'_, Result<Buffer, SourceError>> {
        Box::pin(async move {
            let mut bytes = Buffer::of(len);
            self.read(offset, &mut bytes).await?;
            Ok(bytes)
        })
    }

    /// Whether the file is still the one that was opened, as far as this can be told without reading it again.
    /// Sources that cannot change answer that it is.
    fn check_unchanged(&self) -> LocalBoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Why a [`Sink`] could not take bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// Something of that name stands there already.
    #[error("{name} exists already; choose another place or remove it first")]
    Exists {
        /// Name of the file or folder.
        name: String,
    },
    /// The medium is full, or the browser's quota is.
    #[error("no room for {name}: {needed} bytes are needed, {available} are free")]
    Full {
        /// Name of the file.
        name: String,
        /// Bytes the file takes.
        needed: u64,
        /// Bytes that were free, as far as the system says.
        available: u64,
    },
    /// The system refused.
    #[error("cannot write {name}: {reason}")]
    Io {
        /// Name of the file.
        name: String,
        /// The system's own words.
        reason: String,
    },
}

/// Where a conversion writes. Files grow under temporary names; [`Sink::commit`] gives all of them
/// their final names, [`Sink::abandon`] removes them.
///
/// A sink that keeps a journal lets a later run go on where one was stopped: [`Sink::stopped_run`] tells what the
/// journal says, [`Sink::keep_only`] removes what it does not name, [`Sink::take_up`] opens a file that it names, [`Sink::begin_journal`] and [`Sink::finish`] write it.
/// Without them every run begins at the beginning.
pub trait Sink {
    /// Makes sure, as far as that can be told, that so many bytes find room.
    fn reserve(&mut self, _bytes: u64) -> LocalBoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async { Ok(()) })
    }

    /// The journal of a run that was stopped and shall be continued, if there is one.
    fn stopped_run(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, SinkError>> {
        Box::pin(async { Ok(None) })
    }

    /// Removes what a stopped run has left but for these files, which it finished: what will be made again must not
    /// take the room for it. Comes before [`Sink::reserve`].
    fn keep_only<'a>(&'a mut self, _finished: &'a [String]) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async { Ok(()) })
    }

    /// Takes up a file that a stopped run has finished, as if it had been written in this one; gives its bytes so
    /// that they can be compared. `None` if it is not there.
    fn take_up<'a>(
        &'a mut self,
        _name: &'a str,
    ) -> LocalBoxFuture<'a, Result<Option<Box<dyn Source>>, SinkError>> {
        Box::pin(async { Ok(None) })
    }

    /// Begins the journal anew with these bytes.
    fn begin_journal<'a>(&'a mut self, _bytes: &'a [u8]) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async { Ok(()) })
    }

    /// A file is complete and compared. Its bytes outlast a crash from here on, and only then does the journal
    /// grow by `entry`.
    fn finish<'a>(
        &'a mut self,
        _name: &'a str,
        _entry: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async { Ok(()) })
    }

    /// Begins a file of exactly `len` bytes. File names are plain names without a folder.
    fn create<'a>(&'a mut self, name: &'a str, len: u64) -> LocalBoxFuture<'a, Result<(), SinkError>>;

    /// Writes `bytes` at `offset` of a file begun by [`Sink::create`].
    fn write_at<'a>(
        &'a mut self,
        name: &'a str,
        offset: u64,
        bytes: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<(), SinkError>>;

    /// Writes bytes that may be kept until they are written, for those sinks that do so later. Others need not know.
    fn write_shared<'a>(
        &'a mut self,
        name: &'a str,
        offset: u64,
        bytes: &'a Arc<Buffer>,
    ) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        self.write_at(name, offset, bytes)
    }

    /// Whether ranges of this source file can be put into place by [`Sink::splice`].
    fn splices(&self, _source_path: &str) -> bool {
        false
    }

    /// Puts a range of a source file at `offset` without handing the bytes through the core.
    /// Answers `false` if this sink cannot, in which case the caller copies.
    /// `source_path` is the path under which the session opened the source.
    fn splice<'a>(
        &'a mut self,
        _name: &'a str,
        _offset: u64,
        _source_path: &'a str,
        _range: Range<u64>,
    ) -> LocalBoxFuture<'a, Result<bool, SinkError>> {
        Box::pin(async { Ok(false) })
    }

    /// Opens what was written so far, so that it can be read back and compared with the plan.
    fn read_back<'a>(&'a mut self, name: &'a str) -> LocalBoxFuture<'a, Result<Box<dyn Source>, SinkError>>;

    /// Every file is complete and compared: syncs them and gives them their final names.
    fn commit<'a>(&'a mut self) -> LocalBoxFuture<'a, Result<(), SinkError>>;

    /// Removes everything begun; nothing stays under a final name. What the journal calls finished may stay under
    /// its temporary name, for a later run to continue.
    fn abandon<'a>(&'a mut self) -> LocalBoxFuture<'a, ()>;
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// What is being done, such as `Verifying bytes`.
    pub phase: String,
    /// The tensor or file in hand.
    pub item: String,
    /// Bytes done of this phase.
    pub done_bytes: u64,
    /// Bytes this phase will do.
    pub total_bytes: u64,
}

/// The caller's side of a running job: told of progress, asked whether to stop, and who hashes beside the work.
pub trait Control {
    /// Called once a tile.
    fn progress(&self, progress: &Progress);
    /// Asked once a tile; `true` ends the job with a cancelled error.
    fn is_cancelled(&self) -> bool;
    /// Someone who hashes so many bytes elsewhere while the job goes on. Without one the job hashes by itself.
    fn hashing(&self, _bytes: u64) -> Option<Box<dyn Hashing>> {
        None
    }
}

/// SHA-256 of bytes that come one after another, taken elsewhere.
pub trait Hashing {
    /// Hands the next bytes over; waits while too many of them wait to be hashed.
    fn update<'a>(&'a mut self, bytes: &'a [u8]) -> LocalBoxFuture<'a, ()>;

    /// All bytes have come: what is left is hashed whether or not anyone waits for the answer. `None` if whoever
    /// hashed is lost; the bytes must then be hashed anew.
    fn finish(self: Box<Self>) -> LocalBoxFuture<'static, Option<[u8; 32]>>;
}

/// A control that is told nothing and never stops: for jobs that are over in a moment, and tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Uncontrolled;

impl Control for Uncontrolled {
    fn progress(&self, _: &Progress) {}
    fn is_cancelled(&self) -> bool {
        false
    }
}
