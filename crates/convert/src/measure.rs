//! The maxima that scales are made of, known before anything is packed.

use crate::error::ConvertError;
use crate::plan::PackedLayer;
use crate::recipe::{Conv3d, ZeroTensors};
use crate::run::Job;
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
    /// The maximum that each packed layer's global scale comes from, shared over fused groups; 0 where the
    /// scheme needs none. `measured` are the largest magnitudes of the weights.
    pub(crate) fn shared_maxima(&self, measured: &[AbsMax]) -> Result<Vec<f32>, ConvertError> {
        let mut maxima = Vec::with_capacity(self.plan.packed.len());
        for (packed, found) in self.plan.packed.iter().zip(measured) {
            if !packed.encoding.needs_maximum {
                maxima.push(0.0);
                continue;
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
            maxima.push(packed.weight_amax.unwrap_or_else(|| found.value()));
        }
        for group in &self.plan.groups {
            let members = || group.iter().filter_map(|&i| maxima.get(i).copied());
            let Some(largest) = members().reduce(f32::max) else { continue };
            for &i in group {
                if let Some(slot) = maxima.get_mut(i) {
                    *slot = largest;
                }
            }
        }
        let mut layers = self.plan.packed.iter().zip(&maxima);
        let zero = layers.find(|(p, m)| **m == 0.0 && p.encoding.nan_if_zero && p.encoding.needs_maximum);
        if let Some((packed, _)) = zero.filter(|_| self.recipe.zero_tensors == ZeroTensors::Refuse) {
            return Err(ConvertError::Tensor {
                tensor: packed.name.clone(),
                reason: "is zero everywhere, so that its scale would be NaN".into(),
                remedy: format!(
                    "leave it out with --exclude '{}', or write NaN as the reference does with --zero-tensors reference",
                    packed.name
                ),
            });
        }
        Ok(maxima)
    }
}
