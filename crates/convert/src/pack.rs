//! Packing layers: their maxima first, then tile by tile through the engine.

use crate::error::ConvertError;
use crate::plan::{PackedLayer, PlanFile, PlanTensor};
use crate::recipe::ZeroTensors;
use crate::run::{Job, length, sized};
use crate::write::TensorWriter;
use quantscope_audit::tiles::{Grid, tiles};
use quantscope_format::{Sink, Source, TensorInfo};
use quantscope_kernels::{AbsMax, Engine, FloatTile};
use quantscope_schemes::{EncodeInput, Encoder};

impl<'a> Job<'a> {
    fn weight(&self, packed: &PackedLayer) -> Result<(&'a dyn Source, &'a TensorInfo), ConvertError> {
        let (shard, tensor) = self.checkpoint.tensor(packed.shard, packed.tensor).ok_or_else(|| {
            ConvertError::Refused(format!("`{}` has lost its weight since the plan was made", packed.name))
        })?;
        Ok((shard.source.as_ref(), tensor))
    }

    /// The maximum that each packed layer's global scale comes from, shared over fused groups.
    pub(crate) async fn measure(&mut self) -> Result<Vec<f32>, ConvertError> {
        self.begin("Measuring maxima", self.plan.packed.iter().map(|p| p.bytes_before).sum());
        let mut maxima = Vec::with_capacity(self.plan.packed.len());
        for packed in &self.plan.packed {
            let found = self.absmax(packed).await?;
            if !found.is_finite() {
                return Err(ConvertError::Tensor {
                    tensor: packed.name.clone(),
                    reason: "has NaN or infinite weights".into(),
                    remedy: format!("mend the source, or leave it out with --exclude '{}'", packed.name),
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
        let zero = maxima.iter().position(|&m| m == 0.0).and_then(|i| self.plan.packed.get(i));
        if let Some(packed) = zero.filter(|_| self.recipe.zero_tensors == ZeroTensors::Refuse) {
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

    fn grid(packed: &PackedLayer) -> Grid {
        Grid {
            rows: packed.matrix.rows,
            row_bytes: packed.matrix.cols.saturating_mul(packed.dtype.bytes() as u64),
        }
    }

    async fn absmax(&mut self, packed: &PackedLayer) -> Result<AbsMax, ConvertError> {
        let (source, tensor) = self.weight(packed)?;
        let grid = Self::grid(packed);
        let mut found = AbsMax::default();
        for tile in tiles(grid, self.limits.tile_bytes, packed.dtype.bytes() as u64) {
            let mut bytes = sized(tile.byte_len());
            source.read(tensor.begin.saturating_add(tile.offset(grid)), &mut bytes).await?;
            let cols = (tile.bytes.end - tile.bytes.start) / packed.dtype.bytes() as u64;
            let cols = u32::try_from(cols).unwrap_or(u32::MAX);
            let part = FloatTile { dtype: packed.dtype, bytes: &bytes, rows: tile.row_count(), cols };
            found = found.max(self.engine.absmax(part).await?);
            self.step(&packed.name, tile.byte_len())?;
        }
        Ok(found)
    }

    fn encoder(&self, packed: &PackedLayer, maximum: f32) -> Result<Box<dyn Encoder>, ConvertError> {
        let input = EncodeInput {
            matrix: packed.matrix,
            dtype: packed.dtype,
            cast: packed.cast,
            maximum,
            settings: self.recipe.settings,
            given_blocks: false,
        };
        packed.scheme.encoder(&input).map_err(|refusal| ConvertError::Tensor {
            tensor: packed.name.clone(),
            reason: refusal.reason,
            remedy: refusal.remedy,
        })
    }

    /// A 0-d scale of a packed layer.
    pub(crate) fn scalar(&self, i: usize, leaf: &str, maxima: &[f32]) -> Result<Option<f32>, ConvertError> {
        let (Some(packed), Some(&maximum)) = (self.plan.packed.get(i), maxima.get(i)) else {
            return Ok(None);
        };
        let scalars = self.encoder(packed, maximum)?.scalars();
        Ok(scalars.into_iter().find(|(name, _)| *name == leaf).map(|(_, value)| value))
    }

    /// Packs one layer: codes and block scales of each tile go to their two places at once.
    pub(crate) async fn pack(
        &mut self,
        sink: &mut dyn Sink,
        file: &PlanFile,
        i: usize,
        (codes, scales): (&PlanTensor, Option<&PlanTensor>),
        maxima: &[f32],
    ) -> Result<(), ConvertError> {
        let (Some(packed), Some(&maximum)) = (self.plan.packed.get(i), maxima.get(i)) else { return Ok(()) };
        let (source, tensor) = self.weight(packed)?;
        let encoder = self.encoder(packed, maximum)?;
        let mut code_writer = TensorWriter::new(&file.name, codes.span.start);
        let mut scale_writer = TensorWriter::new(&file.name, scales.map_or(0, |s| s.span.start));
        let width = packed.dtype.bytes() as u64;
        let grid = Self::grid(packed);
        for tile in tiles(grid, self.limits.tile_bytes, packed.encoding.column_unit * width) {
            let mut bytes = sized(tile.byte_len());
            source.read(tensor.begin.saturating_add(tile.offset(grid)), &mut bytes).await?;
            let cols = (tile.bytes.end - tile.bytes.start) / width;
            let part = FloatTile {
                dtype: packed.dtype,
                bytes: &bytes,
                rows: tile.row_count(),
                cols: u32::try_from(cols).unwrap_or(u32::MAX),
            };
            let encoded = encoder.encode(self.engine, part).await?;
            code_writer.write(sink, &encoded.codes).await?;
            scale_writer.write(sink, &encoded.scales).await?;
            self.step(&packed.name, length(&encoded.codes) + length(&encoded.scales))?;
        }
        self.hashes.insert(codes.spec.name.clone(), code_writer.finish());
        if let Some(scales) = scales {
            self.hashes.insert(scales.spec.name.clone(), scale_writer.finish());
        }
        Ok(())
    }
}
