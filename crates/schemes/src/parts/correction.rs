//! Factors on input columns and low-rank parts, which stand beside a packed weight.
//!
//! Source: `formats.md` e: what is packed is `W / p`, less its low-rank part, so that
//! `W = (decoded + B A) * p` for each input column. `p` is `pre_quant_scale` [K], `A` is
//! `svdquant_lora_a` [r, K], `B` is `svdquant_lora_b` [N, r].

use crate::about::{Companion, Presence, Role};
use crate::decode::{Decoder, Refusal, Region, Slab};
use crate::layer::LayerView;
use crate::parts::bytes::{floats, index, part};
use crate::parts::shapes::{expect_elements, expect_type, matrix, needed, text};
use futures_util::future::LocalBoxFuture;
use quantscope_kernels::{Engine, EngineError};
use quantscope_numeric::Dtype;

const FLOATS: &[Dtype] = &[Dtype::BF16, Dtype::F16, Dtype::F32];

/// The factors on input columns, absent where they went into a norm.
pub(crate) const PRE_QUANT_SCALE: Companion = Companion {
    leaf: "pre_quant_scale",
    role: Role::Correction,
    dtypes: FLOATS,
    presence: Presence::Optional,
    words: "factors on the input columns; absent where a norm took them in",
    shape: "[K]",
};
/// `A` of the low-rank part.
pub(crate) const LORA_A: Companion = Companion {
    leaf: "svdquant_lora_a",
    role: Role::Correction,
    dtypes: FLOATS,
    presence: Presence::Required,
    words: "low-rank part, inputs to rank",
    shape: "[r, K]",
};
/// `B` of the low-rank part.
pub(crate) const LORA_B: Companion = Companion {
    leaf: "svdquant_lora_b",
    role: Role::Correction,
    dtypes: FLOATS,
    presence: Presence::Required,
    words: "low-rank part, rank to outputs",
    shape: "[N, r]",
};

/// Legal shapes of these companions beside a weight of that logical shape.
pub(crate) fn legal_shapes(leaf: &str, layer: &LayerView<'_>, logical: &[u64]) -> Option<Vec<Vec<u64>>> {
    let &[rows, cols] = logical else { return None };
    if leaf == PRE_QUANT_SCALE.leaf {
        return Some(vec![vec![cols]]);
    }
    let rank = layer.get(LORA_A.leaf).and_then(|a| a.shape.first().copied());
    if leaf == LORA_A.leaf {
        return rank.map(|rank| vec![vec![rank, cols]]);
    }
    rank.filter(|_| leaf == LORA_B.leaf).map(|rank| vec![vec![rows, rank]])
}

/// A low-rank part: its rank and element types.
struct LowRank {
    rank: u64,
    a: Dtype,
    b: Dtype,
}

/// Corrects what another decoder gives.
struct Corrected {
    inner: Box<dyn Decoder>,
    cols: u64,
    factors: Option<Dtype>,
    low_rank: Option<LowRank>,
}

fn low_rank(layer: &LayerView<'_>, [rows, cols]: [u64; 2]) -> Result<LowRank, Refusal> {
    let (a, b) = (needed(layer, LORA_A.leaf)?, needed(layer, LORA_B.leaf)?);
    let ([rank, a_cols], [b_rows, b_rank]) = (matrix(a)?, matrix(b)?);
    // More ranks than the smaller side has would be no low-rank part, and would have to be held at once.
    if a_cols != cols || b_rows != rows || rank != b_rank || rank > rows.min(cols) {
        let (a, b) = (text(a.shape), text(b.shape));
        let reason = format!("has a low-rank part of {a} and {b} beside a weight [{rows}, {cols}]");
        return Err(Refusal::new(reason, "export the layer again"));
    }
    expect_type(a, FLOATS)?;
    expect_type(b, FLOATS)?;
    Ok(LowRank { rank, a: a.dtype, b: b.dtype })
}

/// The decoder with the corrections that stand beside the layer, or as it is where there are none.
///
/// # Errors
/// If a correction does not fit the weight.
pub(crate) fn corrected(
    layer: &LayerView<'_>,
    inner: Box<dyn Decoder>,
    with_low_rank: bool,
) -> Result<Box<dyn Decoder>, Refusal> {
    let factors = layer.get(PRE_QUANT_SCALE.leaf);
    if factors.is_none() && !with_low_rank {
        return Ok(inner);
    }
    let [rows, cols] = inner.extent();
    if inner.shape().len() != 2 {
        let reason = format!("has corrections of its columns, and the shape {}", text(&inner.shape()));
        return Err(Refusal::new(reason, "export its parts as matrices"));
    }
    let factors = factors.map(|stored| {
        expect_elements(stored, Some(cols))?;
        expect_type(stored, FLOATS).map(|()| stored.dtype)
    });
    let low_rank = with_low_rank.then(|| low_rank(layer, [rows, cols])).transpose()?;
    Ok(Box::new(Corrected { inner, cols, factors: factors.transpose()?, low_rank }))
}

impl Corrected {
    /// Corrects the rows of a region.
    fn correct(&self, region: &Region, parts: &[Vec<u8>], values: &mut [f32]) {
        let width = index(region.cols.end.saturating_sub(region.cols.start));
        let factors = self.factors.map(|dtype| floats(dtype, part(parts, 0)));
        let at = usize::from(factors.is_some());
        if let Some(LowRank { rank, a, b }) = &self.low_rank {
            let (a, b) = (floats(*a, part(parts, at)), floats(*b, part(parts, at + 1)));
            let rows = values.chunks_mut(width.max(1)).zip(b.chunks(index(*rank).max(1)));
            for (row, b) in rows {
                let mut sums = vec![0.0_f64; row.len()];
                for (&b, a) in b.iter().zip(a.chunks(width.max(1))) {
                    for (sum, &a) in sums.iter_mut().zip(a) {
                        *sum += f64::from(b) * f64::from(a);
                    }
                }
                for (value, sum) in row.iter_mut().zip(sums) {
                    #[allow(clippy::cast_possible_truncation, reason = "the sum is rounded to F32 once")]
                    let sum = sum as f32;
                    *value += sum;
                }
            }
        }
        for row in values.chunks_mut(width.max(1)) {
            for (value, factor) in row.iter_mut().zip(factors.iter().flatten()) {
                *value *= factor;
            }
        }
    }
}

impl Decoder for Corrected {
    fn shape(&self) -> Vec<u64> {
        self.inner.shape()
    }

    fn extent(&self) -> [u64; 2] {
        self.inner.extent()
    }

    fn column_unit(&self) -> u64 {
        self.inner.column_unit()
    }

    fn needs(&self, region: &Region) -> Vec<Slab> {
        let mut slabs = self.inner.needs(region);
        let cols = |dtype: Dtype| {
            let width = dtype.bits() / 8;
            region.cols.start.saturating_mul(width)..region.cols.end.saturating_mul(width)
        };
        if let Some(dtype) = self.factors {
            let bytes = cols(dtype);
            slabs.push(Slab::range(PRE_QUANT_SCALE.leaf, bytes.start, bytes.end.saturating_sub(bytes.start)));
        }
        if let Some(LowRank { rank, a, b }) = &self.low_rank {
            let a_row = self.cols.saturating_mul(a.bits() / 8);
            slabs.push(Slab::rectangle(LORA_A.leaf, a_row, 0..*rank, cols(*a)));
            let b_row = rank.saturating_mul(b.bits() / 8);
            slabs.push(Slab::rectangle(LORA_B.leaf, b_row, region.rows.clone(), 0..b_row));
        }
        slabs
    }

    fn decode<'a>(
        &'a self,
        engine: &'a dyn Engine,
        region: &'a Region,
        parts: &'a [Vec<u8>],
        out: &'a mut Vec<f32>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            let inner = self.inner.needs(region).len().min(parts.len());
            let (stored, own) = parts.split_at(inner);
            let begin = out.len();
            self.inner.decode(engine, region, stored, out).await?;
            self.correct(region, own, out.get_mut(begin..).unwrap_or_default());
            Ok(())
        })
    }
}
