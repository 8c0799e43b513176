//! Tensors made of several: their bytes one after another, or one of them for all, which must be equal then.

use crate::ahead::Ahead;
use crate::error::ConvertError;
use crate::passage::{length, sized, taken};
use crate::plan::{Place, PlanFile, PlanTensor, Step};
use crate::run::Job;
use crate::write::TensorWriter;
use futures_util::future::LocalBoxFuture;
use quantscope_audit::Checkpoint;
use quantscope_format::{Buffer, Sink, Source, SourceError};

/// Parts of files, read as one.
pub(crate) struct Joined<'a> {
    /// A part's file and its number, where it begins there, and its length.
    parts: Vec<(&'a dyn Source, u32, u64, u64)>,
    /// Where some of it may still be at hand.
    ahead: Option<&'a Ahead>,
}

impl<'a> Joined<'a> {
    /// The bytes of these places; `None` if a tensor is not there.
    pub(crate) fn new<'p>(
        checkpoint: &'a Checkpoint,
        places: impl IntoIterator<Item = &'p Place>,
    ) -> Option<Self> {
        let part = |place: &Place| {
            let (shard, tensor) = checkpoint.tensor(place.shard, place.tensor)?;
            let begin = tensor.begin.saturating_add(place.bytes.start);
            Some((shard.source.as_ref(), place.shard, begin, place.len()))
        };
        let parts: Option<Vec<_>> = places.into_iter().map(part).collect();
        Some(Self { parts: parts?, ahead: None })
    }

    /// The same, of which bytes that were kept are not read again.
    pub(crate) fn behind(self, ahead: &'a Ahead) -> Self {
        Self { ahead: Some(ahead), ..self }
    }
}

impl Source for Joined<'_> {
    fn len(&self) -> u64 {
        self.parts.iter().fold(0, |n, (.., len)| n.saturating_add(*len))
    }

    fn take(&self, offset: u64, len: usize) -> LocalBoxFuture<'_, Result<Buffer, SourceError>> {
        // A source hands over what lies in it as a whole.
        let (mut skipped, wanted) = (offset, u64::try_from(len).unwrap_or(u64::MAX));
        for &(source, _, begin, len_here) in &self.parts {
            if skipped < len_here && wanted <= len_here - skipped && self.ahead.is_none() {
                return source.take(begin.saturating_add(skipped), len);
            }
            if skipped < len_here {
                break;
            }
            skipped -= len_here;
        }
        Box::pin(async move {
            let mut bytes = Buffer::of(len);
            self.read(offset, &mut bytes).await?;
            Ok(bytes)
        })
    }

    fn read<'b>(&'b self, offset: u64, buf: &'b mut [u8]) -> LocalBoxFuture<'b, Result<(), SourceError>> {
        Box::pin(async move {
            let (mut skipped, mut rest) = (offset, buf);
            for &(source, shard, begin, len) in &self.parts {
                if rest.is_empty() {
                    break;
                }
                if skipped >= len {
                    skipped -= len;
                    continue;
                }
                let here = usize::try_from(len - skipped).unwrap_or(usize::MAX).min(rest.len());
                let (own, after) = rest.split_at_mut(here);
                let at = begin.saturating_add(skipped);
                if !self.ahead.is_some_and(|ahead| ahead.read(shard, at, own)) {
                    source.read(at, own).await?;
                }
                (skipped, rest) = (0, after);
            }
            match rest.len() {
                0 => Ok(()),
                missing => {
                    let end = self.len().saturating_add(u64::try_from(missing).unwrap_or(u64::MAX));
                    Err(SourceError::PastEnd {
                        name: "joined tensors".into(),
                        len: self.len(),
                        start: offset,
                        end,
                    })
                }
            }
        })
    }
}

impl<'a> Job<'a> {
    /// Refuses joined layers whose numbers must be equal and are not, before anything is written.
    pub(crate) async fn check_equal(&mut self) -> Result<(), ConvertError> {
        for tensor in self.plan.files.iter().flat_map(|file| &file.tensors) {
            let Step::Same(places) = &tensor.step else { continue };
            let mut first: Option<Buffer> = None;
            for place in places {
                let Some(source) = Joined::new(self.checkpoint, [place]) else { continue };
                let mut bytes = sized(source.len());
                source.read(0, &mut bytes).await?;
                if first.as_ref().is_some_and(|first| *first != bytes) {
                    return Err(ConvertError::Tensor {
                        tensor: tensor.spec.name.clone(),
                        reason: "would stand for several that differ".into(),
                        remedy:
                            "quantize the layers jointly, with --fuse from the unquantized source, or leave \
                                 --fuse out"
                                .into(),
                    });
                }
                first = Some(bytes);
            }
        }
        Ok(())
    }

    /// Several tensors one after another.
    pub(crate) async fn join_tensors(
        &mut self,
        sink: &mut dyn Sink,
        file: &PlanFile,
        tensor: &'a PlanTensor,
        places: &[Place],
    ) -> Result<(), ConvertError> {
        let name = tensor.spec.name.as_str();
        let Some(source) = Joined::new(self.checkpoint, places) else { return Ok(()) };
        let mut writer = TensorWriter::new(&file.name, tensor.span.start);
        let mut at = 0;
        while at < source.len() {
            let bytes = taken(&source, at, self.tile_bytes().min(source.len() - at)).await?;
            at += length(&bytes);
            writer.write_shared(sink, &bytes).await?;
            self.passage.step(name, length(&bytes))?;
        }
        self.passage.written.insert(name, writer.finish());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Joined;
    use futures_util::FutureExt;
    use quantscope_format::{MemorySource, Source};

    #[test]
    fn parts_are_read_as_one() {
        let (a, b) = (MemorySource::new("a", [0, 1, 2, 3, 4]), MemorySource::new("b", [10, 11, 12]));
        let joined = Joined { parts: vec![(&a, 0, 1, 3), (&b, 1, 0, 0), (&b, 1, 1, 2)], ahead: None };
        assert_eq!(joined.len(), 5);
        let whole = [1, 2, 3, 11, 12];
        for start in 0..=5_usize {
            for end in start..=5 {
                let mut bytes = vec![0; end - start];
                joined.read(start as u64, &mut bytes).now_or_never().unwrap().unwrap();
                assert_eq!(bytes, whole[start..end]);
                let taken = joined.take(start as u64, end - start).now_or_never().unwrap().unwrap();
                assert_eq!(taken[..], whole[start..end]);
            }
        }
        assert!(joined.read(4, &mut [0; 2]).now_or_never().unwrap().is_err());
    }
}
