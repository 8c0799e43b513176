//! The first pass over the source: every byte is read once, in order, for its hash and for the maxima of weights.

use crate::digest::Digest;
use crate::error::ConvertError;
use crate::passage::{length, taken};
use crate::run::Job;
use quantscope_audit::Shard;
use quantscope_format::Arrange as _;
use quantscope_kernels::{AbsMax, Engine as _, FloatTile, FloatType};
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

/// Where a tile that begins at `at` ends: `budget` bytes on, or earlier so that no element of `wanted` is cut.
fn end_of_tile(at: u64, budget: u64, len: u64, wanted: &[Wanted]) -> u64 {
    let end = at.saturating_add(budget.max(1)).min(len);
    let cut = wanted.iter().take_while(|w| w.bytes.start < end).find(|w| end < w.bytes.end);
    let Some(cut) = cut else { return end };
    let width = cut.width();
    let whole = end - (end - cut.bytes.start) % width;
    if whole > at { whole } else { whole.saturating_add(width).min(cut.bytes.end) }
}

impl Job<'_> {
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

    /// Reads the whole source: what its files are, and the largest magnitude of each packed layer that needs it.
    pub(crate) async fn survey(&mut self) -> Result<(Vec<SourceFile>, Vec<AbsMax>), ConvertError> {
        let checkpoint = self.checkpoint;
        self.passage.begin("Measuring the source", checkpoint.byte_len());
        let mut maxima = vec![AbsMax::default(); self.plan.packed.len()];
        let mut sources = Vec::with_capacity(checkpoint.shards.len());
        for (s, shard) in (0_u32..).zip(&checkpoint.shards) {
            let wanted = self.wanted(s);
            sources.push(self.survey_shard(shard, &wanted, &mut maxima).await?);
        }
        Ok((sources, maxima))
    }

    async fn survey_shard(
        &mut self,
        shard: &Shard,
        mut wanted: &[Wanted],
        maxima: &mut [AbsMax],
    ) -> Result<SourceFile, ConvertError> {
        let len = shard.header.file_len;
        let mut digest = Digest::default();
        let mut at = 0;
        while at < len {
            while wanted.first().is_some_and(|w| w.bytes.end <= at) {
                wanted = wanted.get(1..).unwrap_or_default();
            }
            let end = end_of_tile(at, self.tile_bytes(), len, wanted);
            let bytes = taken(shard.source.as_ref(), at, end - at).await?;
            digest.update_shared(&bytes);
            for weight in wanted.iter().take_while(|w| w.bytes.start < end) {
                let part = weight.bytes.start.max(at)..weight.bytes.end.min(end);
                let offset = |n: u64| usize::try_from(n.saturating_sub(at)).unwrap_or(usize::MAX);
                let values = bytes.get(offset(part.start)..offset(part.end)).unwrap_or_default();
                let cols = u32::try_from(length(values) / weight.width()).unwrap_or(u32::MAX);
                let tile = FloatTile { dtype: weight.dtype, bytes: values, rows: 1, cols };
                let found = self.engine.absmax(tile).await?;
                if let Some(slot) = maxima.get_mut(weight.packed) {
                    *slot = slot.max(found);
                }
            }
            at = end;
            self.passage.step(&shard.file, length(&bytes))?;
        }
        Ok(SourceFile { file: shard.file.clone(), bytes: len, sha256: digest.finish() })
    }
}

#[cfg(test)]
mod tests {
    use super::{Wanted, end_of_tile};
    use quantscope_kernels::FloatType;

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
