//! Tensors compared byte by byte, and as plain numbers of two types.

use crate::diff::{Job, Side};
use crate::error::ConvertError;
use crate::passage::sized;
use crate::plan::Place;
use quantscope_numeric::{Dtype, narrow, widen};

/// Bytes of a tensor, or of a part of it.
#[derive(Clone)]
pub(crate) struct Stored<'a> {
    pub(crate) side: Side<'a>,
    pub(crate) place: Place,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<u64>,
}

impl Stored<'_> {
    pub(crate) async fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>, ConvertError> {
        let mut bytes = sized(len);
        if let Some((shard, tensor)) = self.side.checkpoint.tensor(self.place.shard, self.place.tensor) {
            let begin = tensor.begin.saturating_add(self.place.bytes.start).saturating_add(offset);
            shard.source.read(begin, &mut bytes).await?;
        }
        Ok(bytes.into_vec())
    }

    fn is_readable(&self) -> bool {
        let tensor = self.side.checkpoint.tensor(self.place.shard, self.place.tensor);
        tensor.is_some_and(|(shard, tensor)| {
            shard.header.is_readable(tensor) && self.place.bytes.end <= tensor.byte_len()
        })
    }
}

/// How two tensors stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// Type, shape and bytes are the same.
    Same,
    /// The second is the first, every number rounded to another type.
    Cast,
    /// They differ.
    Different,
}

impl Job<'_> {
    /// Whether two tensors have the same type, shape and bytes.
    pub(crate) async fn are_same(&mut self, a: &Stored<'_>, b: &Stored<'_>) -> Result<bool, ConvertError> {
        let len = a.place.len();
        let alike = a.dtype == b.dtype && a.shape == b.shape && len == b.place.len();
        if !alike || !a.is_readable() || !b.is_readable() {
            return Ok(false);
        }
        let mut offset = 0;
        while offset < len {
            let part = self.tile_bytes().min(len - offset);
            if a.read(offset, part).await? != b.read(offset, part).await? {
                return Ok(false);
            }
            offset = offset.saturating_add(part);
            self.step(0)?;
        }
        Ok(true)
    }

    /// How two tensors beside the weights stand to each other.
    pub(crate) async fn likeness(
        &mut self,
        a: &Stored<'_>,
        b: &Stored<'_>,
    ) -> Result<Likeness, ConvertError> {
        if self.are_same(a, b).await? {
            return Ok(Likeness::Same);
        }
        let floats = [a.dtype, b.dtype].iter().all(|d| matches!(d, Dtype::F32 | Dtype::BF16 | Dtype::F16));
        let elements = |s: &Stored<'_>| s.place.len() / (s.dtype.bits() / 8).max(1);
        let count = elements(a);
        if !floats || a.dtype == b.dtype || count != elements(b) || !a.is_readable() || !b.is_readable() {
            return Ok(Likeness::Different);
        }
        let (width_a, width_b) = (a.dtype.bits() / 8, b.dtype.bits() / 8);
        let at_once = (self.tile_bytes() / 4).max(1);
        let mut done = 0;
        while done < count {
            let part = at_once.min(count - done);
            let source = a.read(done.saturating_mul(width_a), part.saturating_mul(width_a)).await?;
            let found = b.read(done.saturating_mul(width_b), part.saturating_mul(width_b)).await?;
            let (mut values, mut rounded) = (Vec::new(), Vec::new());
            widen(a.dtype, &source, &mut values);
            narrow(b.dtype, &values, &mut rounded);
            if rounded != found {
                return Ok(Likeness::Different);
            }
            done = done.saturating_add(part);
            self.step(0)?;
        }
        Ok(Likeness::Cast)
    }
}
