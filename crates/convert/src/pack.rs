//! Packing layers: their maxima first, then tile by tile through the engine.

use crate::error::ConvertError;
use crate::noise::Noise;
use crate::plan::{BLOCK, PackedLayer, PlanFile, PlanTensor};
use crate::recipe::ZeroTensors;
use crate::run::{Job, length, sized};
use crate::write::TensorWriter;
use quantscope_audit::tiles::{Grid, tiles};
use quantscope_format::{Sink, Source, TensorInfo};
use quantscope_kernels::nvfp4_quantize::Nvfp4Table;
use quantscope_kernels::{AbsMax, Engine, FloatTile, Nvfp4Out};
use quantscope_schemes::DecodeTile;

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
        Grid { rows: packed.rows, row_bytes: packed.cols.saturating_mul(packed.dtype.bytes() as u64) }
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

    /// The global scale of a packed layer.
    pub(crate) fn global_scale(&self, i: usize, maxima: &[f32]) -> Option<f32> {
        Some(self.plan.packed.get(i)?.scheme.global_scale(*maxima.get(i)?))
    }

    /// Packs one layer: codes and block scales of each tile go to their two places at once.
    pub(crate) async fn pack(
        &mut self,
        sink: &mut dyn Sink,
        file: &PlanFile,
        i: usize,
        (codes, scales): (&PlanTensor, &PlanTensor),
        maxima: &[f32],
    ) -> Result<(), ConvertError> {
        let (Some(packed), Some(global_scale)) = (self.plan.packed.get(i), self.global_scale(i, maxima))
        else {
            return Ok(());
        };
        let (source, tensor) = self.weight(packed)?;
        let table = Nvfp4Table::new(global_scale, packed.cast);
        let mut code_writer = TensorWriter::new(&file.name, codes.span.start);
        let mut scale_writer = TensorWriter::new(&file.name, scales.span.start);
        let mut noise = Noise::default();
        let width = packed.dtype.bytes() as u64;
        let grid = Self::grid(packed);
        let mut decoded: Vec<f32> = Vec::new();
        for tile in tiles(grid, self.limits.tile_bytes, BLOCK * width) {
            let mut bytes = sized(tile.byte_len());
            source.read(tensor.begin.saturating_add(tile.offset(grid)), &mut bytes).await?;
            let cols = (tile.bytes.end - tile.bytes.start) / width;
            let rows = tile.rows.end - tile.rows.start;
            let blocks = rows.saturating_mul(cols.div_ceil(BLOCK));
            let (mut code_bytes, mut scale_bytes) = (sized(blocks.saturating_mul(8)), sized(blocks));
            let part = FloatTile {
                dtype: packed.dtype,
                bytes: &bytes,
                rows: tile.row_count(),
                cols: u32::try_from(cols).unwrap_or(u32::MAX),
            };
            let out = Nvfp4Out { codes: &mut code_bytes, scales: &mut scale_bytes };
            self.engine.nvfp4_quantize(part, &table, out).await?;
            code_writer.write(sink, &code_bytes).await?;
            scale_writer.write(sink, &scale_bytes).await?;
            let scale_cols = cols.div_ceil(BLOCK);
            decoded.clear();
            packed.scheme.decode(
                &DecodeTile {
                    weight: &code_bytes,
                    dtype: codes.spec.dtype,
                    scales: &scale_bytes,
                    scale_cols,
                    global_scale,
                    first_row: tile.rows.start,
                    cols: scale_cols * BLOCK,
                },
                &mut decoded,
            );
            noise.add_tile(tensor.dtype, &bytes, &decoded, cols, scale_cols * BLOCK);
            self.step(&packed.name, length(&code_bytes) + length(&scale_bytes))?;
        }
        self.hashes.insert(codes.spec.name.clone(), code_writer.finish());
        self.hashes.insert(scales.spec.name.clone(), scale_writer.finish());
        if let Some(slot) = self.errors.get_mut(i) {
            *slot = noise.finish(&packed.name);
        }
        Ok(())
    }
}
