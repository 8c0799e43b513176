//! What the two FP8 schemes with tiles have in common: they differ in the name and rank of the scales.
//!
//! Source: `formats.md` e. A weight of a single tile has a 0-d scale, whose maximum a fused group shares. Sides
//! other than 128 are read as the config declares them, never written.

use crate::about::{About, Companion};
use crate::decode::{Decoder, Refusal};
use crate::encode::{EncodeInput, Encoder, Encoding, Matrix, Output, Shares};
use crate::layer::LayerView;
use crate::parts::fp8::{Fp8Encoder, TILE, WEIGHT, expect_linear, is_one_tile, tile_sides};
use crate::parts::shapes::needed;
use crate::parts::tiles::TileDecoder;
use quantscope_numeric::Dtype;

const SIDE: u32 = 128;

/// Legal shapes of the scales under tiles of these sides. `rank_4` says that ones stand between the sides.
pub(crate) fn scale_shapes(
    weight: &[u64],
    [tile_rows, tile_cols]: [u64; 2],
    rank_4: bool,
) -> Option<Vec<Vec<u64>>> {
    let &[rows, cols] = weight else { return None };
    let (down, across) = (rows.div_ceil(tile_rows), cols.div_ceil(tile_cols));
    let grid = if rank_4 { vec![down, 1, across, 1] } else { vec![down, across] };
    let one = is_one_tile(rows, cols, [tile_rows, tile_cols]);
    Some(if one { vec![vec![], grid] } else { vec![grid] })
}

/// The decoder of a weight under tile scales; a single number governs the whole weight.
pub(crate) fn decoder(layer: &LayerView<'_>, scale: &'static str) -> Result<Box<dyn Decoder>, Refusal> {
    let sides = if needed(layer, scale)?.is_scalar() {
        [u64::MAX, u64::MAX]
    } else {
        tile_sides(layer).ok_or_else(|| {
            Refusal::new(
                "stands under a config whose weight_block_size is no pair of sides",
                "correct weight_block_size in config.json",
            )
        })?
    };
    Ok(Box::new(TileDecoder::new(layer, WEIGHT.leaf, scale, sides)?))
}

/// What encoding a matrix in tiles of 128 x 128 writes.
pub(crate) fn encoding(
    matrix: Matrix,
    about: &About,
    scale: &Companion,
    rank_4: bool,
) -> Result<Encoding, Refusal> {
    expect_linear(matrix, about.id)?;
    let one_tile = is_one_tile(matrix.rows, matrix.cols, [TILE, TILE]);
    let (down, across) = (matrix.rows.div_ceil(TILE), matrix.cols.div_ceil(TILE));
    let shape = match (one_tile, rank_4) {
        (true, _) => vec![],
        (false, true) => vec![down, 1, across, 1],
        (false, false) => vec![down, across],
    };
    let output = |c: &Companion, dtype, shape| Output { leaf: c.leaf, role: c.role, dtype, shape };
    Ok(Encoding {
        outputs: vec![
            output(&WEIGHT, Dtype::F8_E4M3, vec![matrix.rows, matrix.cols]),
            output(scale, Dtype::F32, shape),
        ],
        needs_maximum: one_tile,
        shares: if one_tile { Shares::Always } else { Shares::Never },
        nan_if_zero: false,
        block: [SIDE, SIDE],
        row_unit: 1,
        column_unit: TILE,
    })
}

/// The encoder for which [`encoding`] gave its promise.
pub(crate) fn encoder(
    input: &EncodeInput,
    about: &About,
    scale: &'static str,
) -> Result<Box<dyn Encoder>, Refusal> {
    expect_linear(input.matrix, about.id)?;
    let one_tile = is_one_tile(input.matrix.rows, input.matrix.cols, [TILE, TILE]);
    Ok(Box::new(if one_tile {
        Fp8Encoder::one_tile(input, scale)
    } else {
        Fp8Encoder::grid(input, scale, [SIDE, SIDE])
    }))
}
