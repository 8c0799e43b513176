//! The check of scales alone: what can be said of a checkpoint without its codes, which are most of its bytes.
//!
//! Made for a checkpoint behind a network. It judges scales as the whole check does; what takes codes as well, such as
//! a zero scale over codes that are not zero, is not judged.

use super::{ByteAudit, ByteAuditError, LayerCheck, largest_scale};
use crate::checkpoint::Checkpoint;
use crate::engines::{Engines, FallbackEngine};
use crate::model::{LayerInfo, Model};
use crate::reader::{Reader, Spans};
use crate::rules::fused;
use crate::rules::values::{self, Observed, Subject};
use quantscope_format::{Control, Limits};
use quantscope_kernels::{NONE, Nvfp4Census};
use quantscope_schemes::{Role, ScaleLayout, role_of};

/// What counts as a scale.
const ROLES: [Role; 4] = [Role::WeightScale, Role::GlobalScale, Role::InputScale, Role::KvScale];

/// Where the scales of quantized layers lie, by shard.
fn spans(checkpoint: &Checkpoint, model: &Model) -> Spans {
    let is_scale = |layer: &LayerInfo, leaf: &str| ROLES.contains(&role_of(layer.scheme, leaf).0);
    let layers = model.layers.iter().filter(|layer| layer.is_quantized());
    let scales = layers.flat_map(|layer| layer.members.iter().filter(|m| is_scale(layer, &m.leaf)));
    Spans::of(scales.filter_map(|m| {
        let (shard, tensor) = checkpoint.tensor(m.shard, m.tensor)?;
        shard.header.is_readable(tensor).then_some((m.shard, tensor.begin..tensor.end))
    }))
}

/// Bytes that [`audit_scales`] reads at most.
#[must_use]
pub fn scale_bytes(checkpoint: &Checkpoint, model: &Model) -> u64 {
    spans(checkpoint, model).bytes()
}

/// Checks every scale, and reads nothing else.
///
/// # Errors
/// If a source fails or the user stops it. What the bytes hold is never an error.
pub async fn audit_scales(
    checkpoint: &Checkpoint,
    model: &Model,
    engines: Engines<'_>,
    limits: &Limits,
    control: &dyn Control,
) -> Result<ByteAudit, ByteAuditError> {
    let engine = FallbackEngine::new(engines);
    let spans = spans(checkpoint, model);
    let total = spans.bytes();
    let mut reader = Reader::new(checkpoint, limits, control, "Checking scales", total).within(spans);
    let mut audit = ByteAudit::default();
    let mut observed = Observed::default();
    for layer in model.layers.iter().filter(|layer| layer.is_quantized()) {
        let mut check = LayerCheck {
            reader: &mut reader,
            engine: &engine,
            model,
            layer,
            findings: &mut audit.findings,
            observed: &mut observed,
        };
        if check.scales_alone().await? {
            audit.layers_checked += 1;
        }
    }
    fused::judge_globals(model, &observed, &mut audit.findings);
    Ok(audit.ended(&reader, &engine))
}

impl LayerCheck<'_, '_> {
    /// Checks the layer's scales; answers whether it has any that can be judged.
    async fn scales_alone(&mut self) -> Result<bool, ByteAuditError> {
        let Some(weight) = self.readable(self.layer.weight_leaf()) else { return Ok(false) };
        let layout = self.layer.scheme.scale_layout_of(&self.layer.view(self.reader.checkpoint()));
        match layout {
            ScaleLayout::Fp4Blocks { block, scale, global } if matches!(block, 16 | 32) => {
                self.scalar_scales().await?;
                self.float_scales(global).await?;
                let mut largest = None;
                if let Some((scales, _)) = self.block_scales(&weight, block, scale) {
                    let census = self.census(&scales, None).await?;
                    // The bytes that are NaN or negative; the first of them all is named.
                    let bad = (0x7f..=0xff_usize).filter(|byte| *byte != 0x80);
                    let first = bad.filter_map(|byte| census.first.get(byte)).min();
                    let census = Nvfp4Census {
                        first_bad_scale: first.copied().unwrap_or(NONE),
                        scales: census.counts,
                        ..Nvfp4Census::default()
                    };
                    let leaf = self.layer.weight_leaf();
                    let subject = Subject { layer: self.layer, leaf, file: &weight.shard.file };
                    values::judge_nvfp4(&subject, &census, self.findings);
                    largest = largest_scale(&census);
                }
                self.judge_global(&weight, global, largest);
            }
            ScaleLayout::MxBlocks { scale } => {
                self.scalar_scales().await?;
                self.powers(scale).await?;
            }
            ScaleLayout::Fp8Tiles { scale, .. } => {
                self.scalar_scales().await?;
                if self.has_powers(scale) {
                    self.powers(scale).await?;
                } else {
                    self.float_scales(scale).await?;
                }
            }
            ScaleLayout::Scales { signed: false, .. } => {
                self.scales_of(&[Role::WeightScale, Role::InputScale, Role::KvScale]).await?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
