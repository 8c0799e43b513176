//! The maxima that scales are made of, found before anything is packed.

use crate::error::ConvertError;
use crate::passage::sized;
use crate::plan::PackedLayer;
use crate::recipe::{Conv3d, ZeroTensors};
use crate::run::Job;
use quantscope_audit::tiles::{Grid, tiles};
use quantscope_kernels::{AbsMax, Engine as _, FloatTile};
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
    /// scheme needs none.
    pub(crate) async fn measure(&mut self) -> Result<Vec<f32>, ConvertError> {
        let needing = self.plan.packed.iter().filter(|p| p.encoding.needs_maximum);
        self.passage.begin("Measuring maxima", needing.map(|p| p.place.len()).fold(0, u64::saturating_add));
        let mut maxima = Vec::with_capacity(self.plan.packed.len());
        for packed in &self.plan.packed {
            if !packed.encoding.needs_maximum {
                maxima.push(0.0);
                continue;
            }
            let found = self.absmax(packed).await?;
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

    async fn absmax(&mut self, packed: &PackedLayer) -> Result<AbsMax, ConvertError> {
        let (source, begin) = self.weight(packed)?;
        let width = packed.dtype.bytes() as u64;
        let grid = Grid { rows: packed.matrix.rows, row_bytes: packed.matrix.cols.saturating_mul(width) };
        let mut found = AbsMax::default();
        for tile in tiles(grid, self.tile_bytes(), width) {
            let mut bytes = sized(tile.byte_len());
            source.read(begin.saturating_add(tile.offset(grid)), &mut bytes).await?;
            let cols = (tile.bytes.end - tile.bytes.start) / width;
            let cols = u32::try_from(cols).unwrap_or(u32::MAX);
            let part = FloatTile { dtype: packed.dtype, bytes: &bytes, rows: tile.row_count(), cols };
            found = found.max(self.engine.absmax(part).await?);
            self.passage.step(&packed.name, tile.byte_len())?;
        }
        Ok(found)
    }
}
