//! Floats of compressed-tensors: E4M3 under scales per tensor, row, group or tile, and the MX formats.
//!
//! Source: `formats.md` j (compressed-tensors 0.20.0). The tensors have ModelOpt's names, so the config's
//! `quant_method` tells; MXFP4 alone has a name of its own for the packed weight.

use crate::about::{About, Companion, Family, Match, Role, ScaleLayout};
use crate::decode::{Decoder, Refusal};
use crate::layer::LayerView;
use crate::parts::foreign::{ABOUT, misfit, optional, required, scalar_shapes, typed};
use crate::parts::grid::{Grid, Number};
use crate::parts::groups::{is_declared, stated};
use crate::parts::rows::{Code, RowDecoder, rows_of};
use crate::scheme::Scheme;
use quantscope_numeric::Dtype;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&CtFloat];

const BYTES: Companion = optional("weight", Role::Weight, &[Dtype::F8_E4M3], "[N, K]", "weight, E4M3");
const PACKED: Companion = optional(
    "weight_packed",
    Role::Weight,
    &[Dtype::U8],
    "[N, K/2]",
    "two E2M1 codes a byte, the even column in the low nibble",
);
const SCALE: Companion = required(
    "weight_scale",
    Role::WeightScale,
    &[Dtype::F32, Dtype::BF16, Dtype::F16, Dtype::U8, Dtype::F8_E8M0],
    "[1], [N, 1], [N, K / group] or a tile grid; MX: [N, K/32]",
    "scale, or power of two of a block",
);
const ZERO: Companion = optional(
    "weight_zero_point",
    Role::ZeroPoint,
    &[Dtype::F8_E4M3, Dtype::I8],
    "as the scales",
    "what zero is stored as; 0 in symmetric models",
);
const INPUT: Companion = optional(
    "input_scale",
    Role::InputScale,
    &[Dtype::F32, Dtype::BF16, Dtype::F16],
    "[1]",
    "activation scale",
);
const INPUT_ZERO: Companion = optional(
    "input_zero_point",
    Role::InputScale,
    &[Dtype::F8_E4M3, Dtype::I8],
    "[1]",
    "what zero of the activations is",
);

/// Codes under a scale in the MX formats.
const MX_BLOCK: u64 = 32;

struct CtFloat;

/// Whether scales are powers of two.
fn is_mx(layer: &LayerView<'_>) -> bool {
    layer.get(SCALE.leaf).is_some_and(|s| matches!(s.dtype, Dtype::U8 | Dtype::F8_E8M0))
}

/// Rows, and columns of weights.
fn sides(layer: &LayerView<'_>) -> Result<[u64; 2], Refusal> {
    if !layer.has(PACKED.leaf) {
        return rows_of(typed(layer, &BYTES)?);
    }
    let packed = typed(layer, &PACKED)?;
    let [rows, bytes] = rows_of(packed)?;
    let cols = bytes.checked_mul(2).ok_or_else(|| misfit(packed, "a matrix of a countable size"))?;
    Ok([rows, cols])
}

/// Where the scales lie: as a group of the config says, if the shape fits it, else as the shape says.
fn grid(layer: &LayerView<'_>, sides: [u64; 2]) -> Result<Grid, Refusal> {
    let scale = typed(layer, &SCALE)?;
    if is_mx(layer) {
        return Grid::new(scale, SCALE.leaf, Number::E8m0, sides, [1, MX_BLOCK]);
    }
    let number = Number::Float(scale.dtype);
    let [rows, cols] = sides;
    let blocks = stated(layer).into_iter().filter_map(|s| s.block.or_else(|| Some([1, s.group?])));
    let mut fitting =
        blocks.filter(|[down, across]| scale.shape == [rows.div_ceil(*down), cols.div_ceil(*across)]);
    match fitting.next() {
        Some(block) => Grid::new(scale, SCALE.leaf, number, sides, block),
        None => Grid::fitting(scale, SCALE.leaf, number, sides),
    }
}

impl Scheme for CtFloat {
    fn about(&self) -> &'static About {
        const CT_FLOAT: About = About {
            id: "ct-float",
            place: 570,
            title: "compressed-tensors floats: E4M3 under scales of any kind, MXFP8, MXFP4",
            family: Family::Fp8,
            companions: &[BYTES, PACKED, SCALE, ZERO, INPUT, INPUT_ZERO],
            declared_by: "`quant_method` `compressed-tensors`, `format` `float-quantized`, `naive-quantized`, \
                          `mxfp8-quantized` or `mxfp4-pack-quantized`",
            formula: &["w = code * weight_scale", "MX: w = code * 2^(weight_scale - 127)"],
            source: "compressed-tensors 0.20.0",
            ..ABOUT
        };
        &CT_FLOAT
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let has =
            |c: &Companion| layer.get(c.leaf).is_some_and(|t| c.dtypes.contains(&t.dtype) && t.rank() >= 2);
        let scaled = layer.get(SCALE.leaf).is_some_and(|s| SCALE.dtypes.contains(&s.dtype));
        let declared = is_declared(layer);
        match (has(&PACKED) && is_mx(layer), has(&BYTES) && declared) {
            (true, _) if declared => Match::Certain,
            (true, _) => Match::Full,
            (false, true) if scaled => Match::Certain,
            (false, true) => Match::Partial,
            _ => Match::No,
        }
    }

    fn weight_leaf(&self, layer: &LayerView<'_>) -> &'static str {
        if layer.has(PACKED.leaf) { PACKED.leaf } else { BYTES.leaf }
    }

    fn logical_shape(&self, layer: &LayerView<'_>) -> Vec<u64> {
        let mut shape = layer.get(self.weight_leaf(layer)).map(|t| t.shape.to_vec()).unwrap_or_default();
        if let (Some(last), true) = (shape.last_mut(), layer.has(PACKED.leaf)) {
            *last = last.saturating_mul(2);
        }
        shape
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        let [rows, cols] = sides(layer).ok()?;
        match leaf {
            "input_scale" | "input_zero_point" => scalar_shapes(),
            "weight_scale" if is_mx(layer) => Some(vec![vec![rows, cols.div_ceil(MX_BLOCK)]]),
            "weight_scale" if grid(layer, [rows, cols]).is_err() => {
                Some(vec![vec![rows, 1], vec![1], vec![]])
            }
            "weight_zero_point" => layer.get(SCALE.leaf).map(|s| vec![s.shape.to_vec()]),
            _ => None,
        }
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Scales { scale: SCALE.leaf, signed: false }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        let sides = sides(layer)?;
        let (companion, code) =
            if layer.has(PACKED.leaf) { (&PACKED, Code::E2M1) } else { (&BYTES, Code::E4M3) };
        let weight = typed(layer, companion)?;
        let mut decoder = RowDecoder::new(weight, companion.leaf, code, sides[1], grid(layer, sides)?)?;
        if layer.has(ZERO.leaf) {
            let zero = typed(layer, &ZERO)?;
            let number = if zero.dtype == Dtype::I8 { Number::Signed } else { Number::Float(zero.dtype) };
            decoder.zeros = Some(Grid::fitting(zero, ZERO.leaf, number, sides)?);
        }
        Ok(Box::new(decoder))
    }
}
