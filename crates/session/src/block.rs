//! One block of a layer as it is stored, beside what it decodes to, for checking by hand.

use crate::Session;
use crate::api::SessionError;
use crate::sampler::{Sampler, failed};
use crate::values::{part, principal, scale_values};
use quantscope_kernels::CpuEngine;
use quantscope_numeric::Dtype;
use quantscope_schemes::{Region, ScaleLayout};
use serde::{Deserialize, Serialize};

/// Weights of a block where the scheme has smaller ones, or none.
const USUAL: u64 = 16;
/// Most weights of a block that are shown.
const SHOWN: usize = 64;
/// Largest stretch that is read for it.
const LONGEST: u64 = 1 << 20;

/// A block of weights.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// Row.
    pub row: u64,
    /// Column of its first weight.
    pub col: u64,
    /// Rows there are.
    pub rows: u64,
    /// Columns there are.
    pub cols: u64,
    /// Weights of a block.
    pub width: u64,
    /// File that the weights stand in, and the first byte of the block within it.
    pub place: (String, u64),
    /// Stored bytes as hex.
    pub raw_hex: String,
    /// The code of each value as hex; empty where the bytes are not in the order of the values.
    pub codes: Vec<String>,
    /// Scale of the block, as stored and decoded, such as `0x5E = 112`; empty where none lies beside it.
    pub scale: String,
    /// Decoded values.
    pub values: Vec<f32>,
}

/// Codes of the values, where they lie one after the other.
fn codes(layout: ScaleLayout, dtype: Dtype, bytes: &[u8], values: usize) -> Vec<String> {
    let fp4 = match layout {
        ScaleLayout::Fp4Blocks { .. } => true,
        ScaleLayout::MxBlocks { .. } => matches!(dtype, Dtype::U8 | Dtype::F4),
        _ => false,
    };
    let width = usize::try_from(dtype.bits() / 8).unwrap_or(0);
    let codes: Vec<String> = if fp4 {
        bytes.iter().flat_map(|b| [b & 15, b >> 4]).map(|code| format!("{code:x}")).collect()
    } else if width > 0 && bytes.len() == values.saturating_mul(width) {
        let hex = |code: &[u8]| code.iter().rev().map(|b| format!("{b:02x}")).collect();
        bytes.chunks(width).map(hex).collect()
    } else {
        Vec::new()
    };
    if codes.len() == values { codes } else { Vec::new() }
}

impl Session {
    /// The block that holds the weight at a row and column; the last one, if they are beyond the end. `None` where
    /// there is no such layer or nothing that decodes.
    ///
    /// # Errors
    /// If the source fails.
    pub async fn block(&self, name: &str, row: u64, col: u64) -> Result<Option<Block>, SessionError> {
        let Some(layer) = self.model.layer(name) else { return Ok(None) };
        let Some(weight) = principal(self, layer) else { return Ok(None) };
        let Some(sampler) = Sampler::new(self, layer, weight.tensor) else { return Ok(None) };
        let (rows, cols) = (sampler.rows(), sampler.logical_cols());
        if rows == 0 || cols == 0 {
            return Ok(None);
        }
        let unit = sampler.decoded().decoder().column_unit().max(1);
        let width = if unit < USUAL { USUAL.div_ceil(unit).saturating_mul(unit) } else { unit };
        if width > LONGEST {
            return Ok(None);
        }
        let row = row.min(rows - 1);
        let col = col.min(cols - 1) / width * width;
        let region =
            Region { rows: row..row + 1, cols: sampler.aligned(&(col..col.saturating_add(width).min(cols))) };
        let decoder = sampler.decoded().decoder();
        let needs = decoder.needs(&region);
        let parts = sampler.decoded().stored(&region).await.map_err(failed)?;
        let mut values = Vec::new();
        let engine = CpuEngine::new();
        decoder.decode(&engine, &region, &parts, &mut values).await.map_err(|error| failed(error.into()))?;
        let layout = layer.scale_layout(&self.checkpoint);
        let of = |leaf: &str| needs.iter().zip(&parts).find(|(slab, _)| slab.leaf == leaf);
        let (slab, raw) =
            of(layer.weight_leaf()).map_or((None, &[][..]), |(slab, bytes)| (Some(slab), bytes));
        let mut codes = codes(layout, weight.tensor.dtype, raw, values.len());
        let scale =
            layout.scale_leaf().and_then(|leaf| Some((part(self, layer, leaf)?.tensor.dtype, of(leaf)?.1)));
        let shown =
            if codes.is_empty() { raw.len() } else { raw.len() * SHOWN.min(codes.len()) / codes.len() };
        let raw = raw.get(..shown.min(SHOWN * 4)).unwrap_or(raw);
        codes.truncate(SHOWN);
        values.truncate(SHOWN);
        let begin = weight.tensor.begin.saturating_add(slab.map_or(0, |slab| slab.offset));
        Ok(Some(Block {
            row,
            col,
            rows,
            cols,
            width,
            place: (weight.file().to_string(), begin),
            raw_hex: raw.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" "),
            codes,
            scale: scale.map(|(dtype, bytes)| scale_words(layout, dtype, bytes)).unwrap_or_default(),
            values,
        }))
    }
}

/// The scale of the first weight. A code for a scale, as nested block maxima are, is no number by itself.
fn scale_words(layout: ScaleLayout, dtype: Dtype, bytes: &[u8]) -> String {
    let width = usize::try_from(dtype.bits() / 8).unwrap_or(1);
    let stored = bytes.get(..width).unwrap_or_default();
    let decoded = scale_values(layout, dtype, stored).first().map(|value| format!(" = {value}"));
    let hex: String = stored.iter().rev().map(|b| format!("{b:02X}")).collect();
    format!("0x{hex}{}", decoded.unwrap_or_default())
}
