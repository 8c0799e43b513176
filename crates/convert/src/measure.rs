//! The maxima that scales are made of, known before anything is packed.

use crate::error::ConvertError;
use crate::plan::{PackedLayer, Place, PlanTensor, Step};
use crate::recipe::{Conv3d, ZeroTensors};
use crate::run::Job;
use futures_util::future::LocalBoxFuture;
use quantscope_kernels::AbsMax;
use quantscope_schemes::Kind;

/// The refusal of weights that no scale can stand for.
pub(crate) fn not_finite(packed: &PackedLayer) -> ConvertError {
    ConvertError::Tensor {
        tensor: packed.name.clone(),
        reason: "has NaN or infinite weights".into(),
        remedy: format!("mend the source, or leave it out with --exclude '{}'", packed.name),
    }
}

impl Job<'_> {
    /// The packed layers that share their maximum with this one, itself included.
    fn members(&self, i: usize) -> impl Iterator<Item = (usize, &PackedLayer)> {
        let group = self.groups.get(&i).and_then(|&group| self.plan.groups.get(group));
        let alone = group.is_none().then_some(i);
        let all = group.into_iter().flatten().copied().chain(alone);
        all.filter_map(|i| Some((i, self.plan.packed.get(i)?)))
    }

    /// How far the source has to be measured before a layer can be packed: shard, and place within it.
    pub(crate) fn ready_at(&self, i: usize) -> (u32, u64) {
        let places = self.members(i).flat_map(|(_, packed)| packed.places());
        places.filter_map(|place| self.end_of(place)).max().unwrap_or_default()
    }

    /// Where in the source a place ends.
    fn end_of(&self, place: &Place) -> Option<(u32, u64)> {
        let (_, tensor) = self.checkpoint.tensor(place.shard, place.tensor)?;
        Some((place.shard, tensor.begin.saturating_add(place.bytes.end)))
    }

    /// How far the source is to be measured before a tensor's turn comes; `None` if it has to wait for all of it, like
    /// the scales of all layers, which stand first in a file.
    pub(crate) fn due(&self, tensor: &PlanTensor) -> Option<(u32, u64)> {
        match &tensor.step {
            Step::Codes(i) => Some(self.ready_at(*i)),
            Step::Copy(place) => self.end_of(place),
            _ => None,
        }
    }

    /// The maximum that a packed layer's global scale comes from, shared over its fused group; 0 where the scheme needs
    /// none. Waits until the source is measured so far.
    pub(crate) fn maximum(&self, i: usize) -> LocalBoxFuture<'_, Result<f32, ConvertError>> {
        Box::pin(async move {
            let (shard, end) = self.ready_at(i);
            self.ahead.until(shard, end).await;
            let measured = self.ahead.maxima();
            let mut largest: Option<f32> = None;
            for (i, packed) in self.members(i) {
                let own = self.checked(packed, measured.get(&i).copied().unwrap_or_default())?;
                largest = Some(largest.map_or(own, |largest| largest.max(own)));
            }
            let largest = largest.unwrap_or_default();
            self.members(i).try_for_each(|(_, packed)| self.refuse_zero(packed, largest))?;
            Ok(largest)
        })
    }

    /// Refuses what no scale can stand for, as soon as all of it is measured; what is first in the plan first.
    pub(crate) async fn check_maxima(&self) -> Result<(), ConvertError> {
        let measured = self.ahead.maxima().clone();
        for (i, packed) in self.plan.packed.iter().enumerate() {
            self.checked(packed, measured.get(&i).copied().unwrap_or_default())?;
        }
        for i in 0..self.plan.packed.len() {
            self.maximum(i).await?;
        }
        Ok(())
    }

    /// The maximum of one layer, as it was measured or is given.
    fn checked(&self, packed: &PackedLayer, found: AbsMax) -> Result<f32, ConvertError> {
        if !packed.encoding.needs_maximum {
            return Ok(0.0);
        }
        if !found.is_finite() {
            return Err(not_finite(packed));
        }
        let strict = packed.kind == Kind::Conv3d && self.recipe.conv3d == Conv3d::Strict;
        if strict && found.value() == 0.0 {
            return Err(ConvertError::Tensor {
                tensor: packed.name.clone(),
                reason: "is zero everywhere, which --conv3d strict refuses".into(),
                remedy: format!("leave it out with --exclude '{}'", packed.name),
            });
        }
        Ok(packed.weight_amax.unwrap_or_else(|| found.value()))
    }

    fn refuse_zero(&self, packed: &PackedLayer, maximum: f32) -> Result<(), ConvertError> {
        let is_nan = maximum == 0.0 && packed.encoding.nan_if_zero && packed.encoding.needs_maximum;
        if !is_nan || self.recipe.zero_tensors != ZeroTensors::Refuse {
            return Ok(());
        }
        Err(ConvertError::Tensor {
            tensor: packed.name.clone(),
            reason: "is zero everywhere, so that its scale would be NaN".into(),
            remedy: format!(
                "leave it out with --exclude '{}', or write NaN as the reference does with --zero-tensors reference",
                packed.name
            ),
        })
    }
}
