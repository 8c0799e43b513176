//! The byte check of MX layers: power-of-two scales in bytes of their own, codes that may be NaN.
//!
//! An E2M1 code is always a number, so of MXFP4 only the scales are judged.

use super::{ByteAuditError, LayerCheck, Readable};
use crate::rules::values::{self, Subject};
use crate::tiles::{Grid, tiles};
use quantscope_kernels::Engine;
use quantscope_kernels::byte_census::ByteCensus;
use quantscope_numeric::Dtype;
use xxhash_rust::xxh3::Xxh3;

/// Whether bytes of this type are powers of two where they are scales.
fn is_power(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::U8 | Dtype::F8_E8M0)
}

impl LayerCheck<'_, '_> {
    /// Checks scales and codes; answers whether the codes were looked at.
    pub(super) async fn mx(
        &mut self,
        weight: &Readable<'_>,
        scale: &str,
        hash: Option<&mut Xxh3>,
    ) -> Result<bool, ByteAuditError> {
        self.scalar_scales().await?;
        self.powers(scale).await?;
        let census = self.census(weight, hash).await?;
        if weight.tensor.dtype == Dtype::F8_E4M3 {
            let leaf = self.layer.weight_leaf();
            let subject = Subject { layer: self.layer, leaf, file: &weight.shard.file };
            values::judge_e4m3_codes(&subject, &census, self.findings);
        }
        Ok(true)
    }

    /// Checks scales that are powers of two.
    pub(super) async fn powers(&mut self, scale: &str) -> Result<(), ByteAuditError> {
        if let Some(scales) = self.readable(scale).filter(|scales| is_power(scales.tensor.dtype)) {
            let census = self.census(&scales, None).await?;
            let subject = Subject { layer: self.layer, leaf: scale, file: &scales.shard.file };
            values::judge_powers(&subject, &census, self.findings);
        }
        Ok(())
    }

    /// Whether scales are powers of two, a byte each.
    pub(super) fn has_powers(&self, scale: &str) -> bool {
        self.readable(scale).is_some_and(|scales| is_power(scales.tensor.dtype))
    }

    /// Counts the bytes of a tensor.
    pub(super) async fn census(
        &mut self,
        tensor: &Readable<'_>,
        mut hash: Option<&mut Xxh3>,
    ) -> Result<ByteCensus, ByteAuditError> {
        let grid = Grid { rows: 1, row_bytes: tensor.tensor.byte_len() };
        let mut sum = ByteCensus::default();
        for tile in tiles(grid, self.reader.limits().tile_bytes, 1) {
            let bytes = self.tile(tensor, grid, &tile).await?;
            if let Some(hash) = hash.as_deref_mut() {
                hash.update(&bytes);
            }
            sum.add(&self.engine.byte_census(&bytes).await?, tile.offset(grid));
        }
        Ok(sum)
    }
}
