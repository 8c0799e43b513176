//! What conversions and repairs have in common while bytes move: progress and cancelling, hashes, files that
//! are written whole or copied, and the reading back that proves the output.

use crate::error::ConvertError;
use crate::write::hex;
use quantscope_audit::Checkpoint;
use quantscope_format::{Control, Limits, Progress, Sink, Source};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::Range;

/// The passage of a checkpoint from its source to a sink.
pub(crate) struct Passage<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) limits: &'a Limits,
    control: &'a dyn Control,
    phase: &'static str,
    done: u64,
    total: u64,
    /// SHA-256 of every output tensor by name.
    pub(crate) hashes: BTreeMap<String, String>,
    /// Bytes written so far.
    pub(crate) bytes_written: u64,
}

/// A weight file as it was promised.
pub(crate) struct Promised<'a> {
    pub(crate) name: &'a str,
    pub(crate) header: &'a [u8],
    pub(crate) len: u64,
    /// Name and place of every tensor.
    pub(crate) tensors: Vec<(&'a str, Range<u64>)>,
}

/// A length as a size of a file.
pub(crate) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// A buffer of that many bytes.
pub(crate) fn sized(len: u64) -> Vec<u8> {
    vec![0; usize::try_from(len).unwrap_or(0)]
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
        let hashes = BTreeMap::new();
        Self { checkpoint, limits, control, phase: "", done: 0, total: 0, hashes, bytes_written: 0 }
    }

    /// Begins a phase of so many bytes.
    pub(crate) fn begin(&mut self, phase: &'static str, total: u64) {
        (self.phase, self.done, self.total) = (phase, 0, total);
    }

    /// Tells of progress, and stops if the user wants it.
    pub(crate) fn step(&mut self, item: &str, bytes: u64) -> Result<(), ConvertError> {
        self.done = self.done.saturating_add(bytes);
        self.control.progress(&Progress {
            phase: self.phase.into(),
            item: item.into(),
            done_bytes: self.done.min(self.total),
            total_bytes: self.total,
        });
        if self.control.is_cancelled() { Err(ConvertError::Cancelled) } else { Ok(()) }
    }

    /// SHA-256 of a part of a file.
    pub(crate) async fn hash_range(
        &mut self,
        source: &dyn Source,
        item: &str,
        range: Range<u64>,
    ) -> Result<String, ConvertError> {
        let mut hash = Sha256::new();
        let mut offset = range.start;
        while offset < range.end {
            let mut bytes = sized(self.limits.tile_bytes.min(range.end - offset));
            source.read(offset, &mut bytes).await?;
            hash.update(&bytes);
            offset += length(&bytes);
            self.step(item, length(&bytes))?;
        }
        Ok(hex(&hash.finalize()))
    }

    /// Length and SHA-256 of every source shard.
    pub(crate) async fn hash_sources(&mut self) -> Result<Vec<(String, u64, String)>, ConvertError> {
        let checkpoint = self.checkpoint;
        self.begin("Hashing the source", checkpoint.byte_len());
        let mut sources = Vec::new();
        for shard in &checkpoint.shards {
            let len = shard.header.file_len;
            let hash = self.hash_range(shard.source.as_ref(), &shard.file, 0..len).await?;
            sources.push((shard.file.clone(), len, hash));
        }
        Ok(sources)
    }

    /// Writes a file whose bytes are at hand; answers its name and length.
    pub(crate) async fn write_text(
        &mut self,
        sink: &mut dyn Sink,
        name: &str,
        bytes: &[u8],
    ) -> Result<(String, u64), ConvertError> {
        sink.create(name, length(bytes)).await?;
        sink.write_at(name, 0, bytes).await?;
        self.bytes_written = self.bytes_written.saturating_add(length(bytes));
        Ok((name.to_string(), length(bytes)))
    }

    /// Copies a file of the source that holds no weights.
    pub(crate) async fn copy_file(
        &mut self,
        sink: &mut dyn Sink,
        name: &str,
    ) -> Result<Option<(String, u64)>, ConvertError> {
        let checkpoint = self.checkpoint;
        let Some(file) = checkpoint.other_files.iter().find(|f| f.path == name) else { return Ok(None) };
        let len = file.source.len();
        sink.create(name, len).await?;
        let mut offset = 0;
        while offset < len {
            let mut bytes = sized(self.limits.tile_bytes.min(len - offset));
            file.source.read(offset, &mut bytes).await?;
            sink.write_at(name, offset, &bytes).await?;
            offset += length(&bytes);
            self.step(name, 0)?;
        }
        self.bytes_written = self.bytes_written.saturating_add(len);
        Ok(Some((name.to_string(), len)))
    }

    /// Reads every weight file back and compares header and tensors with what was promised.
    pub(crate) async fn read_back(
        &mut self,
        sink: &mut dyn Sink,
        files: &[Promised<'_>],
    ) -> Result<(), ConvertError> {
        self.begin("Reading back", files.iter().map(|f| f.len).fold(0, u64::saturating_add));
        for file in files {
            let differs =
                |what: &str| ConvertError::ReadBack { file: file.name.to_string(), what: what.to_string() };
            let source = sink.read_back(file.name).await?;
            let mut header = sized(length(file.header));
            if source.len() != file.len {
                return Err(differs("its length"));
            }
            source.read(0, &mut header).await?;
            if header != file.header {
                return Err(differs("its header"));
            }
            for (name, span) in &file.tensors {
                let hash = self.hash_range(source.as_ref(), name, span.clone()).await?;
                if self.hashes.get(*name) != Some(&hash) {
                    return Err(differs(name));
                }
            }
        }
        Ok(())
    }
}
