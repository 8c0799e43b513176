//! How byte checks read: through windows, with progress, until the user stops them.

use crate::bytes::ByteAuditError;
use crate::checkpoint::Checkpoint;
use crate::window::WindowedSource;
use quantscope_format::{Arrange as _, Buffer, Control, Limits, Progress, TensorInfo};
use std::ops::Range;
use std::rc::Rc;

/// Ranges of shards, sorted; those that touch are one.
#[derive(Default)]
pub(crate) struct Spans(Vec<(u32, Range<u64>)>);

impl Spans {
    /// Gathers ranges of shards, in any order.
    pub(crate) fn of(ranges: impl Iterator<Item = (u32, Range<u64>)>) -> Self {
        let mut all: Vec<_> = ranges.collect();
        all.arrange_by_key(|(shard, range)| (*shard, range.start, range.end));
        let mut spans: Vec<(u32, Range<u64>)> = Vec::new();
        for (shard, range) in all {
            match spans.last_mut().filter(|(own, last)| *own == shard && range.start <= last.end) {
                Some((_, last)) => last.end = last.end.max(range.end),
                None => spans.push((shard, range)),
            }
        }
        Self(spans)
    }

    /// Bytes in all of them.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().map(|(_, range)| range.end.saturating_sub(range.start)).fold(0, u64::saturating_add)
    }

    /// Where the span ends that holds a place.
    fn end(&self, shard: u32, at: u64) -> Option<u64> {
        let next = self.0.partition_point(|(own, range)| (*own, range.start) <= (shard, at));
        let (own, range) = self.0.get(next.checked_sub(1)?)?;
        (*own == shard && at < range.end).then_some(range.end)
    }
}

/// The running job: sources with windows, the engine, progress.
pub(crate) struct Reader<'a> {
    checkpoint: &'a Checkpoint,
    /// Windows of the shards in hand, the most recently used last. A layer rarely spans more than two.
    windows: Vec<(u32, Rc<WindowedSource>)>,
    control: &'a dyn Control,
    limits: &'a Limits,
    phase: &'static str,
    done: u64,
    total: u64,
    /// Bytes read over all phases.
    pub(crate) bytes_read: u64,
    /// What windows may hold, if not all that lies around what is read.
    within: Option<Spans>,
}

/// Shards whose windows are kept at a time.
const OPEN_SHARDS: usize = 4;

impl<'a> Reader<'a> {
    pub(crate) fn new(
        checkpoint: &'a Checkpoint,
        limits: &'a Limits,
        control: &'a dyn Control,
        phase: &'static str,
        total: u64,
    ) -> Self {
        let windows = Vec::new();
        Self { checkpoint, windows, control, limits, phase, done: 0, total, bytes_read: 0, within: None }
    }

    /// Keeps windows to some parts of the shards: nothing else is read.
    pub(crate) fn within(self, spans: Spans) -> Self {
        Self { within: Some(spans), ..self }
    }

    /// The shard's source behind windows; the least recently used shard gives up its own.
    fn source(&mut self, shard: u32) -> Option<Rc<WindowedSource>> {
        if let Some(at) = self.windows.iter().position(|(s, _)| *s == shard) {
            let open = self.windows.remove(at);
            self.windows.push(open);
        } else {
            let behind = Rc::clone(&self.checkpoint.shards.get(usize::try_from(shard).ok()?)?.source);
            if self.windows.len() >= OPEN_SHARDS {
                self.windows.remove(0);
            }
            let window = (self.limits.tile_bytes / 8).max(1);
            self.windows.push((shard, Rc::new(WindowedSource::new(behind, window))));
        }
        self.windows.last().map(|(_, source)| Rc::clone(source))
    }

    /// Moves on to another phase of `total` bytes.
    pub(crate) fn begin(&mut self, phase: &'static str, total: u64) {
        (self.phase, self.done, self.total) = (phase, 0, total);
    }

    /// Reads bytes of a tensor into `buf`, tells of progress, and stops if the user wants it.
    pub(crate) async fn read(
        &mut self,
        shard: u32,
        tensor: TensorInfo<'_>,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<(), ByteAuditError> {
        if let Some((source, at, end)) = self.place(shard, tensor, offset)? {
            source.read_before(at, end, buf).await?;
        }
        self.tell(tensor, buf.len());
        Ok(())
    }

    /// The same for `len` bytes in a buffer, which need not be copied where they were read ahead.
    pub(crate) async fn take(
        &mut self,
        shard: u32,
        tensor: TensorInfo<'_>,
        offset: u64,
        len: u64,
    ) -> Result<Buffer, ByteAuditError> {
        let len = usize::try_from(len).unwrap_or(0);
        let bytes = match self.place(shard, tensor, offset)? {
            Some((source, at, end)) => source.take_before(at, end, len).await?,
            None => Buffer::of(len),
        };
        self.tell(tensor, len);
        Ok(bytes)
    }

    /// Where bytes of a tensor are: the source, the place in it, and where windows end. Stops if the user wants it.
    fn place(
        &mut self,
        shard: u32,
        tensor: TensorInfo<'_>,
        offset: u64,
    ) -> Result<Option<(Rc<WindowedSource>, u64, u64)>, ByteAuditError> {
        if self.control.is_cancelled() {
            return Err(ByteAuditError::Cancelled);
        }
        let at = tensor.begin.saturating_add(offset);
        // Outside of the spans no window is opened.
        let end = self.within.as_ref().map_or(u64::MAX, |spans| spans.end(shard, at).unwrap_or(at));
        Ok(self.source(shard).map(|source| (source, at, end)))
    }

    /// Tells that bytes of a tensor were read.
    fn tell(&mut self, tensor: TensorInfo<'_>, length: usize) {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self.done = self.done.saturating_add(length);
        self.bytes_read = self.bytes_read.saturating_add(length);
        self.control.progress(&Progress {
            phase: self.phase.into(),
            item: tensor.name.to_owned(),
            done_bytes: self.done.min(self.total),
            total_bytes: self.total,
        });
    }

    /// Reads a range into a fresh vector; for ranges that are small by construction.
    pub(crate) async fn read_vec(
        &mut self,
        shard: u32,
        tensor: TensorInfo<'_>,
        offset: u64,
        len: u64,
    ) -> Result<Vec<u8>, ByteAuditError> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        self.read(shard, tensor, offset, &mut bytes).await?;
        Ok(bytes)
    }

    pub(crate) fn limits(&self) -> &'a Limits {
        self.limits
    }

    pub(crate) fn checkpoint(&self) -> &'a Checkpoint {
        self.checkpoint
    }
}
