//! The first pass over the source: every byte is read once, in order, for its hash and for the maxima of weights.

use crate::ahead::Ahead;
use crate::error::ConvertError;
use crate::passage::{Passage, length, taken};
use crate::plan::{Place, Plan, Step};
use crate::run::Job;
use crate::write::{Mark, Marker};
use quantscope_audit::{Checkpoint, FallbackEngine, Shard};
use quantscope_format::{Arrange as _, Sink};
use quantscope_kernels::{Engine as _, FloatTile, FloatType};
use std::ops::Range;

/// A weight file of the source as it was read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct SourceFile {
    /// Path within the checkpoint.
    pub(crate) file: String,
    /// Length.
    pub(crate) bytes: u64,
    /// SHA-256 of all of it.
    pub(crate) sha256: String,
}

/// A weight whose maximum is wanted.
struct Wanted {
    /// Its bytes within the file.
    bytes: Range<u64>,
    dtype: FloatType,
    /// Index in the plan's packed layers.
    packed: usize,
}

impl Wanted {
    fn width(&self) -> u64 {
        self.dtype.bytes() as u64
    }
}

/// Marks of ranges that a sink will splice, taken while their file passes by. They may overlap.
#[derive(Default)]
struct Passing {
    /// Those that have not begun, the first one last.
    coming: Vec<Range<u64>>,
    begun: Vec<(Range<u64>, Marker)>,
    done: Vec<(Range<u64>, Mark)>,
}

impl Passing {
    fn new(mut ranges: Vec<Range<u64>>) -> Self {
        ranges.arrange_by(|a, b| (b.start, b.end).cmp(&(a.start, a.end)));
        ranges.dedup();
        Self { coming: ranges, ..Self::default() }
    }

    /// Takes in the next bytes of the file, from `at` on.
    fn see(&mut self, at: u64, bytes: &[u8]) {
        let end = at.saturating_add(length(bytes));
        while let Some(range) = self.coming.pop_if(|range| range.start < end) {
            self.begun.push((range, Marker::default()));
        }
        let offset = |n: u64| usize::try_from(n.saturating_sub(at)).unwrap_or(usize::MAX);
        for (range, marker) in &mut self.begun {
            let part = offset(range.start.max(at))..offset(range.end.min(end));
            marker.update(bytes.get(part).unwrap_or_default());
        }
        let done = self.begun.extract_if(.., |(range, _)| range.end <= end);
        self.done.extend(done.map(|(range, marker)| (range, marker.finish())));
    }
}

/// Where a tile that begins at `at` ends: `budget` bytes on, or earlier so that no element of `wanted` is cut.
fn end_of_tile(at: u64, budget: u64, len: u64, wanted: &[Wanted]) -> u64 {
    let end = at.saturating_add(budget.max(1)).min(len);
    let cut = wanted.iter().take_while(|w| w.bytes.start < end).find(|w| end < w.bytes.end);
    let Some(cut) = cut else { return end };
    let width = cut.width();
    let whole = end - (end - cut.bytes.start) % width;
    if whole > at { whole } else { whole.saturating_add(width).min(cut.bytes.end) }
}

/// The first pass over the source.
pub(crate) struct Survey<'a> {
    checkpoint: &'a Checkpoint,
    plan: &'a Plan,
    engine: &'a FallbackEngine<'a>,
    ahead: &'a Ahead,
    passage: Passage<'a>,
    /// Ranges of each shard that the sink splices.
    spliced: Vec<Vec<Range<u64>>>,
}

impl<'a> Survey<'a> {
    /// Of a job that writes to `sink`.
    pub(crate) fn new(job: &Job<'a>, sink: &dyn Sink) -> Self {
        let Job { checkpoint, plan, engine, ahead, .. } = *job;
        let mut survey =
            Self { checkpoint, plan, engine, ahead, passage: job.passage.beside(), spliced: Vec::new() };
        let copies = (0_u32..)
            .zip(&checkpoint.shards)
            .map(|(s, shard)| if sink.splices(&shard.file) { survey.copies(s) } else { Vec::new() });
        survey.spliced = copies.collect();
        survey
    }

    /// Weights of a shard whose maxima are wanted, by their place.
    fn wanted(&self, shard: u32) -> Vec<Wanted> {
        let packed = self.plan.packed.iter().enumerate().filter(|(_, p)| p.encoding.needs_maximum);
        let places = packed.flat_map(|(i, p)| p.places().map(move |place| (i, p.dtype, place)));
        let mut wanted: Vec<Wanted> = places
            .filter(|(.., place)| place.shard == shard && !place.is_empty())
            .filter_map(|(packed, dtype, place)| {
                let (_, tensor) = self.checkpoint.tensor(place.shard, place.tensor)?;
                let at = |offset: u64| tensor.begin.saturating_add(offset);
                Some(Wanted { bytes: at(place.bytes.start)..at(place.bytes.end), dtype, packed })
            })
            .collect();
        wanted.arrange_by_key(|w| w.bytes.start);
        wanted
    }

    /// Where the tensors of a shard lie that are copied.
    fn copies(&self, shard: u32) -> Vec<Range<u64>> {
        let tensors = self.plan.files.iter().flat_map(|file| &file.tensors);
        let places = tensors.filter_map(|tensor| match &tensor.step {
            Step::Copy(place) if place.shard == shard => Some(place),
            _ => None,
        });
        let range = |place: &Place| {
            let (_, tensor) = self.checkpoint.tensor(place.shard, place.tensor)?;
            let at = |offset: u64| tensor.begin.saturating_add(offset);
            Some(at(place.bytes.start)..at(place.bytes.end))
        };
        places.filter_map(range).collect()
    }

    /// Reads the whole source, and tells what it finds as it goes.
    pub(crate) async fn run(mut self) -> Result<(), ConvertError> {
        let checkpoint = self.checkpoint;
        let spliced = std::mem::take(&mut self.spliced);
        for ((s, shard), copies) in (0_u32..).zip(&checkpoint.shards).zip(spliced) {
            let source = self.measure(s, shard, Passing::new(copies)).await?;
            self.ahead.end_shard(source);
        }
        self.ahead.end();
        Ok(())
    }

    async fn measure(
        &mut self,
        s: u32,
        shard: &Shard,
        mut passing: Passing,
    ) -> Result<SourceFile, ConvertError> {
        let len = shard.header.file_len;
        let weights = self.wanted(s);
        let mut wanted = weights.as_slice();
        let mut hash = self.passage.growing(len);
        let mut at = 0;
        while at < len {
            while wanted.first().is_some_and(|w| w.bytes.end <= at) {
                wanted = wanted.get(1..).unwrap_or_default();
            }
            let end = end_of_tile(at, self.passage.tile_bytes(), len, wanted);
            let bytes = taken(shard.source.as_ref(), at, end - at).await?;
            hash.update(&bytes).await;
            passing.see(at, &bytes);
            self.ahead.passed(s, passing.done.drain(..));
            for weight in wanted.iter().take_while(|w| w.bytes.start < end) {
                let part = weight.bytes.start.max(at)..weight.bytes.end.min(end);
                let offset = |n: u64| usize::try_from(n.saturating_sub(at)).unwrap_or(usize::MAX);
                let values = bytes.get(offset(part.start)..offset(part.end)).unwrap_or_default();
                let cols = u32::try_from(length(values) / weight.width()).unwrap_or(u32::MAX);
                let tile = FloatTile { dtype: weight.dtype, bytes: values, rows: 1, cols };
                self.ahead.found(weight.packed, self.engine.absmax(tile).await?);
            }
            self.ahead.keep(s, at, &bytes);
            at = end;
            self.ahead.reach(s, at);
            self.passage.step(&shard.file, length(&bytes))?;
        }
        let sha256 = match hash.end().hash().await {
            Some(sha256) => sha256,
            None => self.passage.hash_anew(shard.source.as_ref(), &shard.file, 0..len).await?.0,
        };
        Ok(SourceFile { file: shard.file.clone(), bytes: len, sha256: sha256.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::{Passing, Wanted, end_of_tile};
    use quantscope_kernels::FloatType;
    use xxhash_rust::xxh3::xxh3_128;

    /// Whatever the pieces in which a file passes by: the marks are those of the ranges.
    #[test]
    fn ranges_are_marked_as_a_whole() {
        let file: Vec<u8> = (0..=255).collect();
        let ranges = [10..20, 0..256, 15..30, 20..20, 10..20, 255..256];
        for piece in [1, 7, 64, 256] {
            let mut passing = Passing::new(ranges.to_vec());
            for (i, bytes) in file.chunks(piece).enumerate() {
                passing.see((i * piece) as u64, bytes);
            }
            assert_eq!(passing.done.len(), 5, "one of them is there twice");
            for (range, mark) in passing.done {
                let at = |n: u64| usize::try_from(n).unwrap();
                assert_eq!(mark, xxh3_128(&file[at(range.start)..at(range.end)]), "{range:?} by {piece}");
            }
        }
    }

    /// Whatever the budget: tiles follow on each other, and every cut within a weight is between two elements.
    #[test]
    fn no_element_is_cut() {
        let weight = |bytes, dtype| Wanted { bytes, dtype, packed: 0 };
        let wanted = [
            weight(11..31, FloatType::F32),
            weight(31..41, FloatType::Bf16),
            weight(31..35, FloatType::Bf16),
            weight(50..54, FloatType::F16),
        ];
        for budget in [0, 1, 2, 3, 5, 7, 12, 100] {
            let mut at = 0;
            while at < 60 {
                let left: Vec<&Wanted> = wanted.iter().filter(|w| w.bytes.end > at).collect();
                let rest: Vec<Wanted> = left.iter().map(|w| weight(w.bytes.clone(), w.dtype)).collect();
                let end = end_of_tile(at, budget, 60, &rest);
                assert!(end > at && end <= 60, "{budget}: {at}..{end}");
                assert!(end - at <= budget.max(4), "{budget}: {at}..{end}");
                for w in wanted.iter().filter(|w| w.bytes.contains(&end)) {
                    assert_eq!((end - w.bytes.start) % w.width(), 0, "{budget}: {at}..{end}");
                }
                at = end;
            }
        }
    }
}
