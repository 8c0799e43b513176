//! How far the source has been measured, and what was found: for those who write meanwhile.

use crate::survey::SourceFile;
use crate::write::Mark;
use quantscope_format::Buffer;
use quantscope_kernels::AbsMax;
use std::cell::{Ref, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// Bytes of weights that are kept when they were measured, since they are packed soon after. Natively none: to read them
/// again from the system's cache takes no longer than to fetch them from memory that has left the processor's.
pub(crate) const KEPT: u64 = if cfg!(target_arch = "wasm32") { 80 << 20 } else { 0 };

/// What is known of the source.
pub(crate) struct Ahead {
    /// Bytes that are kept, at most.
    most: u64,
    known: RefCell<Known>,
}

#[derive(Default)]
struct Known {
    /// The shard that is being measured, and up to where.
    at: (u32, u64),
    is_done: bool,
    maxima: BTreeMap<usize, AbsMax>,
    passing: BTreeMap<(u32, u64, u64), Mark>,
    sources: Vec<SourceFile>,
    /// Shard, place of the first byte, bytes; the oldest first.
    kept: VecDeque<(u32, u64, Arc<Buffer>)>,
    waiting: Vec<Waker>,
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl Ahead {
    /// Of a source of which nothing is known. `most` bytes of it are kept when they were measured.
    pub(crate) fn new(most: u64) -> Self {
        Self { most, known: RefCell::default() }
    }

    /// Takes in the largest magnitude of a part of a packed layer.
    pub(crate) fn found(&self, packed: usize, maximum: AbsMax) {
        let mut known = self.known.borrow_mut();
        let slot = known.maxima.entry(packed).or_default();
        *slot = slot.max(maximum);
    }

    /// Keeps bytes of weights for whoever packs them soon.
    pub(crate) fn keep(&self, shard: u32, at: u64, bytes: &Arc<Buffer>) {
        let mut known = self.known.borrow_mut();
        known.kept.push_back((shard, at, Arc::clone(bytes)));
        let mut held: u64 = known.kept.iter().map(|(.., bytes)| length(bytes)).sum();
        while held > self.most
            && let Some((.., bytes)) = known.kept.pop_front()
        {
            held -= length(&bytes);
        }
    }

    /// Whether anything is kept.
    pub(crate) fn keeps(&self) -> bool {
        !self.known.borrow().kept.is_empty()
    }

    /// Fills `buf` with bytes that were kept; `false` if some of them were not.
    pub(crate) fn read(&self, shard: u32, offset: u64, buf: &mut [u8]) -> bool {
        let known = self.known.borrow();
        let (mut at, mut rest) = (offset, buf);
        for (kept, begin, bytes) in &known.kept {
            let Some(from) = at.checked_sub(*begin).and_then(|from| usize::try_from(from).ok()) else {
                continue;
            };
            let Some(there) = bytes.get(from..).filter(|there| *kept == shard && !there.is_empty()) else {
                continue;
            };
            let count = there.len().min(rest.len());
            let (here, after) = rest.split_at_mut(count);
            here.copy_from_slice(there.get(..count).unwrap_or_default());
            (at, rest) = (at.saturating_add(length(here)), after);
            if rest.is_empty() {
                return true;
            }
        }
        rest.is_empty()
    }

    /// The source is measured up to here.
    pub(crate) fn reach(&self, shard: u32, end: u64) {
        let mut known = self.known.borrow_mut();
        known.at = (shard, end);
        known.waiting.drain(..).for_each(Waker::wake);
    }

    /// A shard is measured.
    pub(crate) fn end_shard(&self, source: SourceFile) {
        self.known.borrow_mut().sources.push(source);
    }

    /// Marks of ranges that passed by as they are.
    pub(crate) fn passed(&self, shard: u32, marks: impl IntoIterator<Item = (Range<u64>, Mark)>) {
        let mut known = self.known.borrow_mut();
        known.passing.extend(marks.into_iter().map(|(range, mark)| ((shard, range.start, range.end), mark)));
    }

    /// All of it is measured.
    pub(crate) fn end(&self) {
        let mut known = self.known.borrow_mut();
        known.is_done = true;
        known.kept.clear();
        known.waiting.drain(..).for_each(Waker::wake);
    }

    /// Whether all of it is measured.
    pub(crate) fn is_done(&self) -> bool {
        self.known.borrow().is_done
    }

    async fn wait(&self, is_so: impl Fn(&Known) -> bool) {
        poll_fn(|context| {
            let mut known = self.known.borrow_mut();
            if known.is_done || is_so(&known) {
                return Poll::Ready(());
            }
            known.waiting.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Waits until a shard is measured up to `end`.
    pub(crate) async fn until(&self, shard: u32, end: u64) {
        self.wait(|known| known.at >= (shard, end)).await;
    }

    /// Lets whoever measures go on first, as long as anything is left to measure: what hashes the source must not run
    /// out of it, for its hash is one chain.
    pub(crate) async fn give_way(&self) {
        let mut gave_way = self.is_done();
        poll_fn(|context| {
            if std::mem::replace(&mut gave_way, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Waits until all of it is measured; answers what its files are.
    pub(crate) async fn sources(&self) -> Vec<SourceFile> {
        self.wait(|_| false).await;
        self.known.borrow().sources.clone()
    }

    /// Largest magnitudes by packed layer, as far as they are known.
    pub(crate) fn maxima(&self) -> Ref<'_, BTreeMap<usize, AbsMax>> {
        Ref::map(self.known.borrow(), |known| &known.maxima)
    }

    /// The mark of a range that passes unchanged.
    pub(crate) fn mark(&self, shard: u32, range: &Range<u64>) -> Option<Mark> {
        self.known.borrow().passing.get(&(shard, range.start, range.end)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{Ahead, Arc};
    use futures_util::FutureExt as _;

    /// Bytes that were kept come as they were, over the ends of tiles; what was not kept, or is of another file, or was
    /// given up for what came later, does not come.
    #[test]
    fn what_was_kept_is_given() {
        let ahead = Ahead::new(8);
        for (shard, at, bytes) in [(0, 0, [0, 1, 2, 3]), (0, 4, [4, 5, 6, 7]), (1, 8, [8, 9, 10, 11])] {
            ahead.keep(shard, at, &Arc::new(bytes.to_vec().into()));
        }
        let read = |shard, offset, len| {
            let mut bytes = vec![99; len];
            ahead.read(shard, offset, &mut bytes).then_some(bytes)
        };
        assert_eq!(read(0, 0, 4), None, "the oldest went");
        assert_eq!(read(0, 4, 4), Some(vec![4, 5, 6, 7]));
        assert_eq!(read(0, 5, 2), Some(vec![5, 6]));
        assert_eq!(read(0, 4, 8), None, "what follows is of another file");
        assert_eq!(read(1, 4, 4), None);
        assert_eq!(read(1, 9, 4), None);
        ahead.keep(1, 12, &Arc::new(vec![12, 13, 14].into()));
        assert_eq!(read(1, 9, 5), Some(vec![9, 10, 11, 12, 13]));
        assert_eq!(read(0, 4, 4), None);
        ahead.end();
        assert_eq!(read(1, 9, 1), None);
    }

    /// Whoever waits goes on when the place is reached, or a later file is, or all is known.
    #[test]
    fn waiting_ends() {
        let ahead = Ahead::new(0);
        ahead.reach(0, 10);
        assert!(ahead.until(0, 10).now_or_never().is_some());
        assert!(ahead.until(0, 11).now_or_never().is_none());
        let mut sources = Box::pin(ahead.sources());
        assert!(sources.as_mut().now_or_never().is_none());
        let mut until = Box::pin(ahead.until(0, 11));
        assert!(until.as_mut().now_or_never().is_none());
        ahead.reach(1, 0);
        assert!(until.now_or_never().is_some());
        {
            let mut way = Box::pin(ahead.give_way());
            assert!(way.as_mut().now_or_never().is_none(), "others go first");
            assert!(way.now_or_never().is_some(), "once");
        }
        ahead.end();
        assert!(sources.now_or_never().is_some());
        assert!(ahead.until(7, 0).now_or_never().is_some());
        assert!(ahead.give_way().now_or_never().is_some(), "nobody measures any more");
    }
}
