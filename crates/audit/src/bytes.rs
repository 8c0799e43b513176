//! The byte audit: streams every quantized layer through the verifying kernels, and every weight that
//! has a twin in dtype and shape through a hash, once, under the tile budget.

mod mx;
mod scales;

pub use scales::{audit_scales, scale_bytes};

use crate::checkpoint::{Checkpoint, Shard};
use crate::engines::{Engines, FallbackEngine};
use crate::findings::Findings;
use crate::model::{LayerInfo, Model};
use crate::reader::Reader;
use crate::report::Tie;
use crate::rules::values::{self, Observed, Subject};
use crate::rules::{fused, ties as tie_rules};
use crate::tiles::{Grid, TileSpan, tiles};
use crate::{identical, sampling, ties};
use quantscope_format::Gather as _;
use quantscope_format::{Buffer, Control, Limits, SourceError, TensorInfo};
use quantscope_kernels::{
    Engine, EngineError, Fp8Census, Fp8Tile, Nvfp4Census, Nvfp4Tile, ScaleCensus, ScaleGrid,
};
use quantscope_numeric::{Dtype, e4m3, widen};
use quantscope_schemes::{Family, Role, ScaleLayout, role_of};
use std::collections::BTreeSet;
use xxhash_rust::xxh3::Xxh3;

/// Why a byte audit stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ByteAuditError {
    /// A source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The CPU engine failed, which is a fault of ours.
    #[error("verifying failed: {0}")]
    Engine(#[from] EngineError),
    /// The user stopped it.
    #[error("cancelled")]
    Cancelled,
}

/// What a byte audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByteAudit {
    /// Findings that only bytes can show.
    pub findings: Findings,
    /// Tie groups, declared and identical.
    pub ties: Vec<Tie>,
    /// Quantized layers whose bytes were checked.
    pub layers_checked: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Engine at the end.
    pub engine: String,
    /// Why the engine changed on the way, if it did.
    pub engine_note: Option<String>,
}

/// Scales as F32 bits, whatever float type they are stored in.
fn scale_bits(dtype: Dtype, bytes: &[u8]) -> Vec<u32> {
    let mut values = Vec::new();
    widen(dtype, bytes, &mut values);
    values.into_iter().map(f32::to_bits).collect()
}

/// What is done with one layer.
struct LayerJob<'a> {
    layer: &'a LayerInfo,
    hash_it: bool,
}

/// Bytes that a layer's checks read: its quantized tensors, or its weight if only the hash is wanted.
fn job_bytes(checkpoint: &Checkpoint, job: &LayerJob<'_>) -> u64 {
    let members = job.layer.members.iter();
    let wanted = members.filter(|m| {
        let role = role_of(job.layer.scheme, &m.leaf).0;
        let scale = matches!(role, Role::WeightScale | Role::GlobalScale | Role::InputScale | Role::KvScale);
        (job.layer.is_quantized() && (scale || role == Role::Weight))
            || (job.hash_it && m.leaf == job.layer.weight_leaf())
    });
    wanted
        .filter_map(|m| checkpoint.tensor(m.shard, m.tensor))
        .map(|(_, t)| t.byte_len())
        .fold(0, u64::saturating_add)
}

/// Reads every byte that a rule needs.
///
/// # Errors
/// If a source fails or the user stops it. What the bytes hold is never an error.
pub async fn audit_bytes(
    checkpoint: &Checkpoint,
    model: &Model,
    engines: Engines<'_>,
    limits: &Limits,
    control: &dyn Control,
) -> Result<ByteAudit, ByteAuditError> {
    let engine = FallbackEngine::new(engines);
    let candidates = identical::Candidates::of(checkpoint, model);
    let jobs: Vec<LayerJob<'_>> = model
        .layers
        .iter()
        .map(|layer| LayerJob { layer, hash_it: candidates.contains(&layer.name) })
        .filter(|job| job.hash_it || job.layer.is_quantized())
        .collect();
    let total = jobs.iter().map(|j| job_bytes(checkpoint, j)).fold(0, u64::saturating_add);
    let mut reader = Reader::new(checkpoint, limits, control, "Verifying bytes", total);
    let mut audit = ByteAudit::default();
    let mut hashes = Vec::new();
    let mut observed = Observed::default();
    for job in &jobs {
        let mut hash = job.hash_it.then(Xxh3::new);
        let mut check = LayerCheck {
            reader: &mut reader,
            engine: &engine,
            model,
            layer: job.layer,
            findings: &mut audit.findings,
            observed: &mut observed,
        };
        if check.run(hash.as_mut()).await? {
            audit.layers_checked += 1;
        }
        if let Some(hash) = hash {
            hashes.push((job.layer, hash.digest()));
        }
    }
    fused::judge_globals(model, &observed, &mut audit.findings);
    sampling::check(&mut reader, model, &mut audit.findings).await?;
    let hashed: BTreeSet<&str> = hashes.iter().map(|(layer, _)| layer.name.as_str()).gather_set();
    audit.ties = identical::confirm(&mut reader, model, hashes).await?;
    audit.findings.extend(identical::broken_ties(&mut reader, model, &audit.ties, &hashed).await?);
    audit.findings.extend(identical::different_inputs(&audit.ties, &observed));
    let same = audit.ties.iter().filter(|t| t.evidence != "declared").map(tie_rules::identical);
    audit.findings.extend(same);
    ties::sort_by_saving(&mut audit.ties);
    Ok(audit.ended(&reader, &engine))
}

impl ByteAudit {
    /// With its findings in order, and what was read on which engine.
    fn ended(mut self, reader: &Reader<'_>, engine: &FallbackEngine<'_>) -> Self {
        self.findings.sort();
        Self {
            bytes_read: reader.bytes_read,
            engine: engine.description(),
            engine_note: engine.note(),
            ..self
        }
    }
}

/// The largest block scale that was counted.
fn largest_scale(census: &Nvfp4Census) -> Option<f32> {
    let largest = census.scales.iter().take(0x7f).rposition(|&n| n > 0)?;
    u8::try_from(largest).ok().map(e4m3::decode)
}

struct LayerCheck<'a, 'r> {
    reader: &'a mut Reader<'r>,
    engine: &'a FallbackEngine<'r>,
    model: &'a Model,
    layer: &'a LayerInfo,
    findings: &'a mut Findings,
    observed: &'a mut Observed,
}

/// A tensor of the layer that can be read.
struct Readable<'a> {
    shard_index: u32,
    shard: &'a Shard,
    tensor: TensorInfo<'a>,
}

impl<'r> LayerCheck<'_, 'r> {
    fn readable(&self, leaf: &str) -> Option<Readable<'r>> {
        let member = self.layer.member(leaf)?;
        let (shard, tensor) = self.reader.checkpoint().tensor(member.shard, member.tensor)?;
        let usable = shard.header.is_readable(tensor) && tensor.byte_len() > 0;
        usable.then_some(Readable { shard_index: member.shard, shard, tensor })
    }

    /// Checks the layer; answers whether its codes were looked at.
    async fn run(&mut self, hash: Option<&mut Xxh3>) -> Result<bool, ByteAuditError> {
        let Some(weight) = self.readable(self.layer.weight_leaf()) else { return Ok(false) };
        if !self.layer.is_quantized() {
            self.stream(&weight, hash).await?;
            return Ok(false);
        }
        let layout = self.layer.scheme.scale_layout_of(&self.layer.view(self.reader.checkpoint()));
        match layout {
            ScaleLayout::Fp4Blocks { block, scale, global } if matches!(block, 16 | 32) => {
                self.nvfp4(&weight, block, (scale, global), hash).await
            }
            ScaleLayout::MxBlocks { scale } => self.mx(&weight, scale, hash).await,
            // Powers of two can be no worse than NaN, wherever they lie.
            ScaleLayout::Fp8Tiles { scale, .. } if self.has_powers(scale) => {
                self.mx(&weight, scale, hash).await
            }
            ScaleLayout::Fp8Tiles { rows, cols, scale } => self.fp8(&weight, (rows, cols), scale, hash).await,
            layout => {
                if matches!(layout, ScaleLayout::Scales { signed: false, .. }) {
                    self.scales_of(&[Role::WeightScale, Role::InputScale, Role::KvScale]).await?;
                }
                self.stream(&weight, hash).await?;
                Ok(false)
            }
        }
    }

    /// Reads a tensor for its hash alone.
    async fn stream(&mut self, tensor: &Readable<'_>, hash: Option<&mut Xxh3>) -> Result<(), ByteAuditError> {
        let Some(hash) = hash else { return Ok(()) };
        let grid = Grid { rows: 1, row_bytes: tensor.tensor.byte_len() };
        for tile in tiles(grid, self.reader.limits().tile_bytes, 1) {
            let bytes = self.tile(tensor, grid, &tile).await?;
            hash.update(&bytes);
        }
        Ok(())
    }

    async fn tile(
        &mut self,
        tensor: &Readable<'_>,
        grid: Grid,
        tile: &TileSpan,
    ) -> Result<Buffer, ByteAuditError> {
        self.reader.take(tensor.shard_index, tensor.tensor, tile.offset(grid), tile.byte_len()).await
    }

    /// Checks a tensor of float scales; answers how many of them are zero, and whether all are. A single one
    /// is kept.
    async fn float_scales(&mut self, leaf: &str) -> Result<(u64, bool), ByteAuditError> {
        let Some(scale) = self.readable(leaf) else { return Ok((0, false)) };
        let width = scale.tensor.dtype.bits() / 8;
        if !matches!(scale.tensor.dtype, Dtype::F32 | Dtype::BF16 | Dtype::F16) {
            return Ok((0, false));
        }
        let grid = Grid { rows: 1, row_bytes: scale.tensor.byte_len() };
        let mut sum = ScaleCensus::default();
        let mut seen = 0_u64;
        for tile in tiles(grid, self.reader.limits().tile_bytes, width) {
            let bytes = self.tile(&scale, grid, &tile).await?;
            let bits = scale_bits(scale.tensor.dtype, &bytes);
            if let (&[single], Some(1)) = (bits.as_slice(), scale.tensor.elements()) {
                let role = role_of(self.layer.scheme, leaf).0;
                self.observed.add(&self.layer.name, role, f32::from_bits(single));
            }
            let census = self.engine.scale_verify(&bits).await?;
            sum.add(&census, seen);
            seen += u64::try_from(bits.len()).unwrap_or(0);
        }
        let subject = Subject { layer: self.layer, leaf, file: &scale.shard.file };
        values::judge_scales(&subject, &sum, self.findings);
        Ok((sum.zero, sum.zero == seen && seen > 0))
    }

    /// The scales that are single numbers beside the block scales.
    async fn scalar_scales(&mut self) -> Result<(), ByteAuditError> {
        self.scales_of(&[Role::InputScale, Role::KvScale]).await
    }

    /// Every scale of some roles, whatever it is called in this variant of the scheme.
    async fn scales_of(&mut self, roles: &[Role]) -> Result<(), ByteAuditError> {
        for member in &self.layer.members {
            if roles.contains(&role_of(self.layer.scheme, &member.leaf).0) {
                self.float_scales(&member.leaf).await?;
            }
        }
        Ok(())
    }

    async fn nvfp4(
        &mut self,
        weight: &Readable<'_>,
        block: u32,
        (scale, global): (&str, &str),
        mut hash: Option<&mut Xxh3>,
    ) -> Result<bool, ByteAuditError> {
        self.scalar_scales().await?;
        let (_, global_is_zero) = self.float_scales(global).await?;
        let Some((scale, blocks)) = self.block_scales(weight, block, scale) else {
            self.judge_global(weight, global, None);
            self.stream(weight, hash).await?;
            return Ok(false);
        };
        let block_bytes = u64::from(block / 2);
        let grid =
            Grid { rows: weight.tensor.shape.first().copied().unwrap_or(0), row_bytes: blocks * block_bytes };
        let logical = self.logical_columns(blocks * block_bytes * 2);
        let mut sum = Nvfp4Census::default();
        for tile in tiles(grid, self.reader.limits().tile_bytes, block_bytes) {
            let codes = self.tile(weight, grid, &tile).await?;
            let first_block = tile.offset(grid) / block_bytes;
            let scales = self
                .reader
                .read_vec(scale.shard_index, scale.tensor, first_block, tile.byte_len() / block_bytes)
                .await?;
            if let Some(hash) = hash.as_deref_mut() {
                hash.update(&codes);
            }
            let first_column = tile.bytes.start * 2;
            let columns = (tile.bytes.end - tile.bytes.start) * 2;
            let census = self
                .engine
                .nvfp4_verify(Nvfp4Tile {
                    codes: &codes,
                    scales: &scales,
                    rows: tile.row_count(),
                    blocks: u32::try_from(columns / u64::from(block)).unwrap_or(u32::MAX),
                    block,
                    logical_cols: u32::try_from(logical.saturating_sub(first_column).min(columns))
                        .unwrap_or(u32::MAX),
                })
                .await?;
            sum.add(&census, first_block);
        }
        let subject = Subject { layer: self.layer, leaf: self.layer.weight_leaf(), file: &weight.shard.file };
        values::judge_nvfp4(&subject, &sum, self.findings);
        self.judge_global(weight, global, largest_scale(&sum));
        if global_is_zero {
            let any_code = sum.codes.iter().enumerate().any(|(code, &n)| code % 8 != 0 && n > 0);
            let subject = Subject { layer: self.layer, leaf: global, file: &weight.shard.file };
            values::judge_zero_scale(&subject, any_code, self.findings);
        }
        Ok(true)
    }

    /// The block scales of NVFP4 codes, and how many there are for a row. Another shape is a finding of the header
    /// rules, or a legal padded or tiled one whose blocks do not lie beside their codes.
    fn block_scales(&self, weight: &Readable<'_>, block: u32, leaf: &str) -> Option<(Readable<'r>, u64)> {
        let scale = self.readable(leaf).filter(|s| s.tensor.dtype == Dtype::F8_E4M3)?;
        let &[rows, row_bytes] = weight.tensor.shape else { return None };
        let block_bytes = u64::from(block / 2);
        let blocks = row_bytes.checked_div(block_bytes)?;
        let beside = row_bytes % block_bytes == 0 && scale.tensor.shape == [rows, blocks];
        beside.then_some((scale, blocks))
    }

    fn judge_global(&mut self, weight: &Readable<'_>, leaf: &str, largest_scale: Option<f32>) {
        let Some(global) = self.observed.get(&self.layer.name, Role::GlobalScale) else { return };
        let subject = Subject { layer: self.layer, leaf, file: &weight.shard.file };
        values::judge_global(&subject, global, largest_scale, self.findings);
    }

    /// Columns that are not padding: known where the model's class fixes the kernel.
    fn logical_columns(&self, stored: u64) -> u64 {
        let shape = &self.layer.shape;
        if self.model.kernels.is_known() && shape.len() == 5 {
            shape.iter().skip(1).fold(1, |n: u64, &d| n.saturating_mul(d)).min(stored)
        } else {
            stored
        }
    }

    async fn fp8(
        &mut self,
        weight: &Readable<'_>,
        (block_rows, block_cols): (u32, u32),
        scale_leaf: &str,
        mut hash: Option<&mut Xxh3>,
    ) -> Result<bool, ByteAuditError> {
        self.scalar_scales().await?;
        let (zero_scales, _) = self.float_scales(scale_leaf).await?;
        let (Some(&rows), Some(scale)) = (weight.tensor.shape.first(), self.readable(scale_leaf)) else {
            self.stream(weight, hash).await?;
            return Ok(false);
        };
        let row_bytes = weight.tensor.byte_len() / rows.max(1);
        let scale_rows = rows.div_ceil(u64::from(block_rows));
        let scale_cols = row_bytes.div_ceil(u64::from(block_cols));
        let width = scale.tensor.dtype.bits() / 8;
        let float = matches!(scale.tensor.dtype, Dtype::F32 | Dtype::BF16 | Dtype::F16);
        // A grid of another size is a finding of the header rules; which scale governs which code is unknown.
        if !float || scale.tensor.elements() != scale_rows.checked_mul(scale_cols) {
            self.stream(weight, hash).await?;
            return Ok(false);
        }
        let grid = Grid { rows, row_bytes };
        let unit = if block_cols == u32::MAX { 1 } else { u64::from(block_cols) };
        // A scale per row of one column each would make the scales four times the tile.
        let budget = (self.reader.limits().tile_bytes / 4).max(1);
        let mut sum = Fp8Census::default();
        for tile in tiles(grid, budget, unit) {
            let codes = self.tile(weight, grid, &tile).await?;
            if let Some(hash) = hash.as_deref_mut() {
                hash.update(&codes);
            }
            let first_grid_row = tile.rows.start / u64::from(block_rows);
            let grid_rows = tile.rows.end.div_ceil(u64::from(block_rows)) - first_grid_row;
            // Of the scales of a row that exceeds the budget only those of this part: all of them may exceed it too.
            let is_whole = tile.bytes == (0..row_bytes) || block_cols == u32::MAX;
            let part = tile.bytes.start / unit..tile.bytes.end.div_ceil(unit);
            let columns = if is_whole { 0..scale_cols } else { part };
            let wide = columns.end - columns.start;
            let (offset, length) =
                ((first_grid_row * scale_cols + columns.start) * width, grid_rows * wide * width);
            let bytes = self.reader.read_vec(scale.shard_index, scale.tensor, offset, length).await?;
            let bits = scale_bits(scale.tensor.dtype, &bytes);
            let census = self
                .engine
                .fp8_verify(Fp8Tile {
                    codes: &codes,
                    rows: tile.row_count(),
                    cols: u32::try_from(tile.bytes.end - tile.bytes.start).unwrap_or(u32::MAX),
                    grid: ScaleGrid {
                        scales: &bits,
                        block_rows,
                        block_cols,
                        scale_cols: u32::try_from(wide).unwrap_or(u32::MAX),
                        first_row: u32::try_from(tile.rows.start % u64::from(block_rows)).unwrap_or(0),
                    },
                })
                .await?;
            sum.add(&census, tile.offset(grid));
        }
        let subject = Subject { layer: self.layer, leaf: self.layer.weight_leaf(), file: &weight.shard.file };
        values::judge_fp8(&subject, &sum, self.findings);
        values::judge_zero_tiles(&subject, scale_leaf, zero_scales, &sum, self.findings);
        Ok(self.layer.scheme.family() == Family::Fp8)
    }
}
