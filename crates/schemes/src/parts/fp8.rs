//! What the FP8 schemes have in common: E4M3 codes under float scales, of a tensor, a row or a tile.
//!
//! Source: `formats.md` a (where each step runs), e and j. Which scheme a layer is, the scale's name and shape
//! tell; a single tile looks like a single scale, and there the config decides.

use crate::about::{About, Companion, INPUT_SCALE_LEAF, Match, Presence, Role, WEIGHT_LEAF};
use crate::decode::Refusal;
use crate::encode::{EncodeInput, Encoded, Encoder, Form, Fp8Rounding, Matrix};
use crate::layer::{LayerView, Stored};
use crate::parts::marks::is_foreign;
use crate::parts::scales::{MaximumRule, smallest_normal};
use futures_util::future::LocalBoxFuture;
use quantscope_kernels::block_absmax::BlockSize;
use quantscope_kernels::{Engine, EngineError, FloatTile, FloatType, Fp8Rule, QuotientRounding, ScaleGrid};
use quantscope_numeric::{Dtype, e4m3, round_to_bf16, round_to_f16, widen};

/// The codes.
pub(crate) const WEIGHT: Companion = Companion {
    leaf: WEIGHT_LEAF,
    role: Role::Weight,
    dtypes: &[Dtype::F8_E4M3],
    presence: Presence::Required,
    words: "weight, E4M3",
    shape: "[N, K]",
};
/// Scale of the activations.
pub(crate) const INPUT_SCALE: Companion = Companion {
    leaf: INPUT_SCALE_LEAF,
    role: Role::InputScale,
    dtypes: &[Dtype::F32, Dtype::BF16, Dtype::F16],
    presence: Presence::Calibrated,
    words: "activation scale, amax / 448",
    shape: "[]",
};
/// Float types a scale may have.
pub(crate) const FLOAT_SCALES: &[Dtype] = &[Dtype::F32, Dtype::BF16, Dtype::F16];
/// Side of a tile, unless a config says otherwise.
pub(crate) const TILE: u64 = 128;

/// The schemes that are told apart here, by id.
const TENSOR: &str = "fp8";
const CHANNEL: &str = "fp8-channel";
const BLOCK: &str = "fp8-block";
const BLOCK_WEIGHT_ONLY: &str = "fp8-block-wo";

/// Sides of a tile as the config declares them, 128 where it says nothing; `None` if what it says is impossible.
pub(crate) fn tile_sides(layer: &LayerView<'_>) -> Option<[u64; 2]> {
    let Some(declared) = layer.facts.config.get("weight_block_size") else {
        return Some([TILE, TILE]);
    };
    if declared.is_null() {
        return Some([TILE, TILE]);
    }
    let [rows, cols] = declared.as_array()?.as_slice() else { return None };
    // Larger sides would not fit the grid of a kernel, and no file has them.
    let side = |value: &serde_json::Value| value.as_u64().filter(|side| (1..=1 << 20).contains(side));
    Some([side(rows)?, side(cols)?])
}

/// Whether a weight is one tile.
pub(crate) fn is_one_tile(rows: u64, cols: u64, [tile_rows, tile_cols]: [u64; 2]) -> bool {
    rows <= tile_rows && cols <= tile_cols
}

fn is_per_row(weight: Stored<'_>, scale: Stored<'_>) -> bool {
    weight.rank() == 2
        && matches!(scale.rank(), 1 | 2)
        && scale.shape.first() == weight.shape.first()
        && scale.shape.iter().skip(1).all(|&d| d == 1)
}

/// Whether a stack has a scale per expert: `[E]` or `[E, 1, 1]`.
pub(crate) fn is_per_expert(weight: Stored<'_>, scale: Stored<'_>) -> bool {
    weight.rank() == 3
        && scale.shape.first() == weight.shape.first()
        && scale.shape.iter().skip(1).all(|&d| d == 1)
}

/// Which FP8 scheme a layer is, by id, and how well it fits.
pub(crate) fn which(layer: &LayerView<'_>) -> Option<(&'static str, Match)> {
    let weight = layer.weight().filter(|w| w.dtype == Dtype::F8_E4M3 && w.rank() >= 2)?;
    if is_foreign(layer) {
        return None;
    }
    let family = [TENSOR, CHANNEL, BLOCK, BLOCK_WEIGHT_ONLY];
    let declared = layer.facts.declared.and_then(|id| family.into_iter().find(|own| *own == id));
    if layer.has("weight_scale_inv") {
        // The name alone tells, whatever the tiles: MX blocks under this name are tiles of 1 x 32 with powers of two.
        return (weight.rank() == 2).then_some((BLOCK, Match::Full));
    }
    let Some(scale) = layer.get("weight_scale") else {
        let id = declared.or_else(|| layer.facts.declared.is_none().then_some(TENSOR))?;
        return Some((id, Match::Partial));
    };
    if !FLOAT_SCALES.contains(&scale.dtype) {
        return declared.map(|id| (id, Match::Partial));
    }
    let [rows, cols] = [0, 1].map(|axis| weight.shape.get(axis).copied().unwrap_or(1));
    let one_tile = weight.rank() == 2 && is_one_tile(rows, cols, [TILE, TILE]);
    let id = match scale.shape {
        [] | [1] if declared == Some(BLOCK_WEIGHT_ONLY) && one_tile => BLOCK_WEIGHT_ONLY,
        [1] if declared == Some(CHANNEL) && is_per_row(weight, scale) => CHANNEL,
        [] | [1] => TENSOR,
        [_, 1, _, 1] if weight.rank() == 2 => BLOCK_WEIGHT_ONLY,
        _ if is_per_expert(weight, scale) => TENSOR,
        _ if is_per_row(weight, scale) => CHANNEL,
        _ => return declared.map(|id| (id, Match::Partial)),
    };
    Some((id, Match::Full))
}

/// Fit of a layer to one of the schemes.
pub(crate) fn fit(about: &About, layer: &LayerView<'_>) -> Match {
    which(layer).filter(|(id, _)| *id == about.id).map_or(Match::No, |(_, fit)| fit)
}

/// Refuses everything but matrices of linears.
pub(crate) fn expect_linear(matrix: Matrix, id: &str) -> Result<(), Refusal> {
    match matrix.form {
        Form::Linear => Ok(()),
        Form::Conv3d => Err(Refusal::new(
            format!("is a 3-D convolution, which is not packed as {id}"),
            "choose nvfp4 for it, or leave it out",
        )),
        Form::Stack { .. } | Form::Experts { .. } => Err(Refusal::new(
            format!("holds all experts in one tensor, which is not packed as {id}"),
            "expand the experts first, choose an NVFP4 scheme, or leave it out",
        )),
    }
}

/// The rule of the schemes with a scale per row or tile.
pub(crate) fn maximum_rule(input: &EncodeInput) -> MaximumRule {
    MaximumRule { largest: e4m3::MAX, smallest: Some(smallest_normal(input.dtype)) }
}

/// Where the scale of an element comes from.
enum Scales {
    /// One for the tensor, stored as F32.
    One { stored: f32, divisor: u32 },
    /// One per rectangle, from its maximum.
    Grid { block: BlockSize, rule: MaximumRule },
}

/// Makes scales and codes of one tensor.
pub(crate) struct Fp8Encoder {
    leaf: &'static str,
    scales: Scales,
    rule: Fp8Rule,
}

impl Fp8Encoder {
    /// One scale for the tensor, as the reference divides by a 0-d scale: the quotient is rounded to the
    /// type that the weight then has.
    pub(crate) fn per_tensor(input: &EncodeInput, leaf: &'static str) -> Self {
        let stored = input.maximum / e4m3::MAX;
        let divisor = match (input.settings.fp8_rounding, input.export) {
            (Fp8Rounding::Cpu, _) | (Fp8Rounding::Cuda, FloatType::F32) => stored,
            (Fp8Rounding::Cuda, FloatType::Bf16) => round_to_bf16(stored),
            (Fp8Rounding::Cuda, FloatType::F16) => round_to_f16(stored),
        };
        let quotient = match input.export {
            FloatType::F32 => QuotientRounding::None,
            FloatType::Bf16 => QuotientRounding::Bf16,
            FloatType::F16 => QuotientRounding::F16,
        };
        let scales = Scales::One { stored, divisor: divisor.to_bits() };
        Self { leaf, scales, rule: Fp8Rule { cast: input.cast, quotient } }
    }

    /// A single tile: one scale, but made and divided by as tiles are.
    pub(crate) fn one_tile(input: &EncodeInput, leaf: &'static str) -> Self {
        let stored = maximum_rule(input).scale(input.maximum.to_bits());
        let scales = Scales::One { stored, divisor: stored.to_bits() };
        Self { leaf, scales, rule: Fp8Rule { cast: input.cast, quotient: QuotientRounding::None } }
    }

    /// A scale per rectangle.
    pub(crate) fn grid(input: &EncodeInput, leaf: &'static str, [rows, cols]: [u32; 2]) -> Self {
        let scales = Scales::Grid { block: BlockSize { rows, cols }, rule: maximum_rule(input) };
        Self { leaf, scales, rule: Fp8Rule { cast: input.cast, quotient: QuotientRounding::None } }
    }

    /// A scale per row of the matrix, which is an expert: made as that of a tensor is, but divided by in F32.
    pub(crate) fn per_expert(input: &EncodeInput, leaf: &'static str) -> Self {
        let rule = MaximumRule { largest: e4m3::MAX, smallest: None };
        let scales = Scales::Grid { block: BlockSize::ROW, rule };
        Self { leaf, scales, rule: Fp8Rule { cast: input.cast, quotient: QuotientRounding::None } }
    }

    async fn codes_under(
        &self,
        engine: &dyn Engine,
        tile: FloatTile<'_>,
        grid: ScaleGrid<'_>,
    ) -> Result<Vec<u8>, EngineError> {
        let elements = u64::from(tile.rows) * u64::from(tile.cols);
        let mut codes = vec![0; usize::try_from(elements).unwrap_or(0)];
        engine.fp8_encode(tile, grid, self.rule, &mut codes).await?;
        Ok(codes)
    }
}

impl Encoder for Fp8Encoder {
    fn scalars(&self) -> Vec<(&'static str, f32)> {
        match self.scales {
            Scales::One { stored, .. } => vec![(self.leaf, stored)],
            Scales::Grid { .. } => Vec::new(),
        }
    }

    fn scales(&self, maxima: &[u32]) -> Vec<u8> {
        match self.scales {
            Scales::One { .. } => Vec::new(),
            Scales::Grid { rule, .. } => rule.stored(maxima),
        }
    }

    fn codes<'a>(
        &'a self,
        engine: &'a dyn Engine,
        tile: FloatTile<'a>,
        first_row: u32,
        scales: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<Vec<u8>, EngineError>> {
        Box::pin(async move {
            match &self.scales {
                Scales::One { divisor, .. } => self.codes_under(engine, tile, ScaleGrid::one(divisor)).await,
                Scales::Grid { block, .. } => {
                    let mut values = Vec::new();
                    widen(Dtype::F32, scales, &mut values);
                    let bits: Vec<u32> = values.into_iter().map(f32::to_bits).collect();
                    let grid = ScaleGrid {
                        scales: &bits,
                        block_rows: block.rows,
                        block_cols: block.cols,
                        scale_cols: tile.cols.div_ceil(block.cols),
                        first_row,
                    };
                    self.codes_under(engine, tile, grid).await
                }
            }
        })
    }

    fn encode<'a>(
        &'a self,
        engine: &'a dyn Engine,
        tile: FloatTile<'a>,
    ) -> LocalBoxFuture<'a, Result<Encoded, EngineError>> {
        Box::pin(async move {
            let scales = match self.scales {
                Scales::One { .. } => Vec::new(),
                Scales::Grid { block, rule } => rule.stored(&block_maxima(engine, tile, block).await?),
            };
            let codes = self.codes(engine, tile, 0, &scales).await?;
            Ok(Encoded { codes, scales })
        })
    }
}

/// The largest magnitudes of a tile's blocks.
pub(crate) async fn block_maxima(
    engine: &dyn Engine,
    tile: FloatTile<'_>,
    block: BlockSize,
) -> Result<Vec<u32>, EngineError> {
    let [down, across] = block.grid(tile.rows, tile.cols);
    let cells = u64::from(down) * u64::from(across);
    let mut maxima = vec![0; usize::try_from(cells).unwrap_or(0)];
    engine.block_absmax(tile, block, &mut maxima).await?;
    Ok(maxima)
}
