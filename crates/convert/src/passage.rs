//! What conversions and repairs have in common while bytes move: progress and cancelling, hashes, files that
//! are written whole or copied, and the reading back that proves the output.

use crate::digest::{Digest, Sha};
use crate::error::ConvertError;
use crate::hashing::{Ending, Growing};
use crate::survey::SourceFile;
use crate::write::{Mark, Marker};
use futures_util::future::LocalBoxFuture;
use quantscope_audit::Checkpoint;
use quantscope_format::{Buffer, Control, Limits, Progress, Sink, Source, SourceError};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// The passage of a checkpoint from its source to a sink.
pub(crate) struct Passage<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) limits: &'a Limits,
    control: &'a dyn Control,
    pace: Rc<Pace>,
    /// Marks of the tensors that were written since a file was last read back, by name.
    pub(crate) written: BTreeMap<&'a str, Mark>,
    /// SHA-256 of every output tensor by name, as it was read back.
    pub(crate) hashes: BTreeMap<&'a str, Sha>,
    /// Files beside the weights, in the order in which they were written.
    pub(crate) others: Vec<OtherFile>,
    /// Bytes written so far.
    pub(crate) bytes_written: u64,
}

/// How far everything is that goes on together.
#[derive(Default)]
struct Pace {
    phase: Cell<&'static str>,
    done: Cell<u64>,
    total: Cell<u64>,
}

/// A file of the output that holds no weights.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct OtherFile {
    pub(crate) file: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// A text in pieces.
pub(crate) type Pieces<'a> = Box<dyn Iterator<Item = Cow<'a, [u8]>> + 'a>;

/// A weight file as it was promised.
pub(crate) struct Promised<'a> {
    pub(crate) name: &'a str,
    pub(crate) header: &'a [u8],
    pub(crate) len: u64,
    /// Name and place of every tensor.
    pub(crate) tensors: Vec<(&'a str, Range<u64>)>,
}

/// Engines take tiles of fewer bytes than 2^31.
const LARGEST_TILE: u64 = 1 << 30;

/// Tensors that are read back by turns: where hashing has threads of its own, as many of those are busy.
const LANES: usize = if cfg!(target_arch = "wasm32") { 1 } else { 2 };

/// What tensors that were read to their end may have, in tiles, while they are still hashed.
const HASHED_TILES: u64 = if cfg!(target_arch = "wasm32") { 1 } else { 4 };

/// What such a tensor counts for at least, so that there are not too many of them.
const LEAST_HASHED: u64 = 1 << 16;

/// A tensor being read back.
struct Lane<'n> {
    name: &'n str,
    span: Range<u64>,
    /// What is still to be read.
    rest: Range<u64>,
    hash: Growing,
    marker: Marker,
}

/// A tensor that was read back to its end, and may still be hashed.
struct Hashed<'n> {
    name: &'n str,
    span: Range<u64>,
    hash: Ending,
    mark: Mark,
}

impl Hashed<'_> {
    /// Bytes that may still be on their way through the hash.
    fn bytes(&self) -> u64 {
        self.span.end.saturating_sub(self.span.start).max(LEAST_HASHED)
    }
}

/// A length as a size of a file.
pub(crate) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// A buffer of that many bytes, to be written over.
pub(crate) fn sized(len: u64) -> Buffer {
    Buffer::of(usize::try_from(len).unwrap_or(0))
}

/// The next bytes of a source, to be shared with whoever hashes or writes them.
pub(crate) async fn taken(source: &dyn Source, offset: u64, len: u64) -> Result<Arc<Buffer>, SourceError> {
    source.take(offset, usize::try_from(len).unwrap_or(0)).await.map(Arc::new)
}

/// Gives what was written its final names, or leaves nothing of it if anything failed.
pub(crate) async fn settle<T>(
    sink: &mut dyn Sink,
    written: Result<T, ConvertError>,
) -> Result<T, ConvertError> {
    let settled = match written {
        Ok(written) => sink.commit().await.map(|()| written).map_err(ConvertError::from),
        Err(error) => Err(error),
    };
    if settled.is_err() {
        sink.abandon().await;
    }
    settled
}

impl<'a> Passage<'a> {
    pub(crate) fn new(checkpoint: &'a Checkpoint, limits: &'a Limits, control: &'a dyn Control) -> Self {
        Self {
            checkpoint,
            limits,
            control,
            pace: Rc::default(),
            written: BTreeMap::new(),
            hashes: BTreeMap::new(),
            others: Vec::new(),
            bytes_written: 0,
        }
    }

    /// Begins a phase of so many bytes.
    pub(crate) fn begin(&mut self, phase: &'static str, total: u64) {
        self.pace.phase.set(phase);
        self.pace.done.set(0);
        self.pace.total.set(total);
    }

    /// Another passage of the same checkpoint, at the same time.
    pub(crate) fn beside(&self) -> Self {
        Self { pace: Rc::clone(&self.pace), ..Self::new(self.checkpoint, self.limits, self.control) }
    }

    /// Bytes that are taken at once, whatever was asked for.
    pub(crate) fn tile_bytes(&self) -> u64 {
        self.limits.tile_bytes.clamp(1, LARGEST_TILE)
    }

    /// Tells of progress, and stops if the user wants it.
    pub(crate) fn step(&self, item: &str, bytes: u64) -> Result<(), ConvertError> {
        let Pace { phase, done, total } = &*self.pace;
        done.set(done.get().saturating_add(bytes));
        self.control.progress(&Progress {
            phase: phase.get().into(),
            item: item.into(),
            done_bytes: done.get().min(total.get()),
            total_bytes: total.get(),
        });
        if self.control.is_cancelled() { Err(ConvertError::Cancelled) } else { Ok(()) }
    }

    /// A hash of so many bytes, by whoever takes it.
    pub(crate) fn growing(&self, bytes: u64) -> Growing {
        Growing::new(self.control, bytes)
    }

    /// SHA-256 of a part of a file.
    pub(crate) async fn hash_range(
        &mut self,
        source: &dyn Source,
        item: &str,
        range: Range<u64>,
    ) -> Result<Sha, ConvertError> {
        let mut hash = self.growing(range.end.saturating_sub(range.start));
        let mut offset = range.start;
        while offset < range.end {
            let bytes = taken(source, offset, self.tile_bytes().min(range.end - offset)).await?;
            hash.update(&bytes).await;
            offset += length(&bytes);
            self.step(item, length(&bytes))?;
        }
        match hash.end().hash().await {
            Some(hash) => Ok(hash),
            None => Ok(self.hash_anew(source, item, range).await?.0),
        }
    }

    /// SHA-256 and mark of a part of a file that was read before, when whoever hashed it is lost.
    pub(crate) fn hash_anew<'s>(
        &'s mut self,
        source: &'s dyn Source,
        item: &'s str,
        range: Range<u64>,
    ) -> LocalBoxFuture<'s, Result<(Sha, Mark), ConvertError>> {
        Box::pin(async move {
            let (mut hash, mut marker) = (Digest::default(), Marker::default());
            let mut offset = range.start;
            while offset < range.end {
                let bytes = taken(source, offset, self.tile_bytes().min(range.end - offset)).await?;
                hash.update(&bytes).await;
                marker.update(&bytes);
                offset += length(&bytes);
                self.step(item, 0)?;
            }
            Ok((hash.finish().await, marker.finish()))
        })
    }

    /// Length and SHA-256 of every source shard.
    pub(crate) async fn hash_sources(&mut self) -> Result<Vec<SourceFile>, ConvertError> {
        let checkpoint = self.checkpoint;
        self.begin("Hashing the source", checkpoint.byte_len());
        let mut sources = Vec::new();
        for shard in &checkpoint.shards {
            let bytes = shard.header.file_len;
            let sha256 = self.hash_range(shard.source.as_ref(), &shard.file, 0..bytes).await?;
            sources.push(SourceFile { file: shard.file.clone(), bytes, sha256: sha256.to_string() });
        }
        Ok(sources)
    }

    /// Makes sure that the source is still what was read.
    pub(crate) async fn check_sources(&self) -> Result<(), ConvertError> {
        for shard in &self.checkpoint.shards {
            shard.source.check_unchanged().await?;
        }
        for file in &self.checkpoint.other_files {
            file.source.check_unchanged().await?;
        }
        Ok(())
    }

    /// Writes a file whose bytes are at hand, and reads it back; answers its name and length.
    pub(crate) async fn write_text(
        &mut self,
        sink: &mut dyn Sink,
        name: &str,
        bytes: &[u8],
    ) -> Result<(String, u64), ConvertError> {
        let other = self.write_pieces(sink, name, &|| Box::new(std::iter::once(bytes.into()))).await?;
        Ok(self.keep_other(other))
    }

    /// Writes a file piece by piece, and reads it back. The pieces are asked for twice: first for their lengths.
    pub(crate) async fn write_pieces<'p>(
        &self,
        sink: &mut dyn Sink,
        name: &str,
        pieces: &dyn Fn() -> Pieces<'p>,
    ) -> Result<OtherFile, ConvertError> {
        let lengths = pieces().map(|piece| length(&piece));
        let len = lengths.fold(0, u64::saturating_add);
        sink.create(name, len).await?;
        let (mut hash, mut offset) = (Sha256::new(), 0);
        for piece in pieces() {
            sink.write_at(name, offset, &piece).await?;
            hash.update(&piece);
            offset += length(&piece);
            self.step(name, 0)?;
        }
        self.end_other(sink, name, len, Sha(hash.finalize().into())).await
    }

    /// Keeps what is known of a file beside the weights; answers its name and length.
    pub(crate) fn keep_other(&mut self, other: OtherFile) -> (String, u64) {
        let told = (other.file.clone(), other.bytes);
        self.bytes_written = self.bytes_written.saturating_add(other.bytes);
        self.others.push(other);
        told
    }

    /// Copies a file of the source that holds no weights, and reads it back.
    pub(crate) async fn copy_file(
        &mut self,
        sink: &mut dyn Sink,
        name: &str,
    ) -> Result<Option<(String, u64)>, ConvertError> {
        let checkpoint = self.checkpoint;
        let Some(file) = checkpoint.other_files.iter().find(|f| f.path == name) else { return Ok(None) };
        let len = file.source.len();
        sink.create(name, len).await?;
        let mut hash = Digest::default();
        let mut offset = 0;
        while offset < len {
            let bytes = taken(file.source.as_ref(), offset, self.tile_bytes().min(len - offset)).await?;
            sink.write_shared(name, offset, &bytes).await?;
            hash.update(&bytes).await;
            offset += length(&bytes);
            self.step(name, 0)?;
        }
        let other = self.end_other(sink, name, len, hash.finish().await).await?;
        Ok(Some(self.keep_other(other)))
    }

    /// Compares a file beside the weights with what was written of it.
    async fn end_other(
        &self,
        sink: &mut dyn Sink,
        name: &str,
        bytes: u64,
        sha256: Sha,
    ) -> Result<OtherFile, ConvertError> {
        let source = sink.read_back(name).await?;
        if source.len() != bytes {
            return Err(differs(name, "its length"));
        }
        let mut hash = Digest::default();
        let mut offset = 0;
        while offset < bytes {
            let part = taken(source.as_ref(), offset, self.tile_bytes().min(bytes - offset)).await?;
            hash.update(&part).await;
            offset += length(&part);
            self.step(name, 0)?;
        }
        if hash.finish().await != sha256 {
            return Err(differs(name, "its content"));
        }
        Ok(OtherFile { file: name.to_string(), bytes, sha256: sha256.to_string() })
    }

    /// Reads a weight file back, compares header and tensors with what was promised and written, and keeps the hashes
    /// of its tensors.
    pub(crate) async fn read_back(
        &mut self,
        sink: &mut dyn Sink,
        file: &Promised<'a>,
    ) -> Result<(), ConvertError> {
        let source = sink.read_back(file.name).await?;
        let written = std::mem::take(&mut self.written);
        let is_written = |name: &str, mark, _: Sha| written.get(name) == Some(&mark);
        let hashes = self.compare(source.as_ref(), file, is_written).await?;
        self.hashes.extend(hashes);
        Ok(())
    }

    /// Compares a weight file with what was promised; `is_right` says of a tensor, by its name, whether its mark and
    /// its SHA-256 are what they ought to be. Answers the latter.
    pub(crate) async fn compare<'n>(
        &mut self,
        source: &dyn Source,
        file: &Promised<'n>,
        is_right: impl Fn(&str, Mark, Sha) -> bool,
    ) -> Result<Vec<(&'n str, Sha)>, ConvertError> {
        if source.len() != file.len {
            return Err(differs(file.name, "its length"));
        }
        let mut at = 0;
        for promised in file.header.chunks(usize::try_from(self.tile_bytes()).unwrap_or(usize::MAX)) {
            let found = taken(source, at, length(promised)).await?;
            if **found != *promised {
                return Err(differs(file.name, "its header"));
            }
            at += length(promised);
        }
        let mut hashes = Vec::with_capacity(file.tensors.len());
        let (mut waiting, mut lanes) = (file.tensors.iter(), VecDeque::new());
        // What was read to its end, which may still be hashed while others are read, and its bytes.
        let (mut hashing, mut bytes_hashing) = (VecDeque::<Hashed<'_>>::new(), 0_u64);
        let most = self.tile_bytes().saturating_mul(HASHED_TILES);
        loop {
            lanes.extend(waiting.by_ref().take(LANES.saturating_sub(lanes.len())).map(|(name, span)| Lane {
                name,
                span: span.clone(),
                rest: span.clone(),
                hash: self.growing(span.end.saturating_sub(span.start)),
                marker: Marker::default(),
            }));
            if (lanes.is_empty() || bytes_hashing > most)
                && let Some(hashed) = hashing.pop_front()
            {
                bytes_hashing = bytes_hashing.saturating_sub(hashed.bytes());
                let Hashed { name, span, hash, mark } = hashed;
                let (hash, mark) = match hash.hash().await {
                    Some(hash) => (hash, mark),
                    None => self.hash_anew(source, name, span).await?,
                };
                if !is_right(name, mark, hash) {
                    return Err(differs(file.name, name));
                }
                hashes.push((name, hash));
                continue;
            }
            let Some(mut lane) = lanes.pop_front() else { break };
            if lane.rest.is_empty() {
                let Lane { name, span, hash, marker, .. } = lane;
                let hashed = Hashed { name, span, hash: hash.end(), mark: marker.finish() };
                bytes_hashing = bytes_hashing.saturating_add(hashed.bytes());
                hashing.push_back(hashed);
                continue;
            }
            let len = self.tile_bytes().min(lane.rest.end - lane.rest.start);
            let bytes = taken(source, lane.rest.start, len).await?;
            lane.hash.update(&bytes).await;
            lane.marker.update(&bytes);
            lane.rest.start += length(&bytes);
            self.step(lane.name, length(&bytes))?;
            lanes.push_back(lane);
        }
        Ok(hashes)
    }
}

fn differs(file: &str, what: &str) -> ConvertError {
    ConvertError::ReadBack { file: file.to_string(), what: what.to_string() }
}
