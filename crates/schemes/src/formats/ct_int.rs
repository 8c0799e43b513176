//! Integers of compressed-tensors: packed in words (`pack-quantized`) or as bytes (`int-quantized`).
//!
//! Source: `formats.md` j (compressed-tensors 0.20.0). Packed values and zero points are stored with half of
//! their range added, so that the two additions cancel; zero points are packed down the columns. The shape
//! before packing stands in a tensor of its own.

use crate::about::{About, Companion, Family, Match, Role, ScaleLayout};
use crate::decode::{Decoder, Refusal};
use crate::layer::{LayerView, Stored};
use crate::parts::bits::words;
use crate::parts::foreign::{ABOUT, FLOATS, misfit, optional, required, scalar_shapes, typed};
use crate::parts::grid::{Grid, Number};
use crate::parts::groups::{is_declared, original_shape, stated};
use crate::parts::rows::{Code, RowDecoder, rows_of};
use crate::parts::shapes::{expect_elements, matrix};
use crate::scheme::Scheme;
use quantscope_numeric::Dtype;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&CtInt];

const PACKED: Companion = optional(
    "weight_packed",
    Role::Weight,
    &[Dtype::I32],
    "[N, ceil(K * bits / 32)]",
    "codes, low bits first, half of their range added",
);
const BYTES: Companion = optional("weight", Role::Weight, &[Dtype::I8], "[N, K]", "codes, signed bytes");
const SCALE: Companion = required(
    "weight_scale",
    Role::WeightScale,
    FLOATS,
    "[N, K / group], [N, 1] or [1]",
    "scale per group, row or tensor",
);
const ZERO: Companion = optional(
    "weight_zero_point",
    Role::ZeroPoint,
    &[Dtype::I32, Dtype::I8],
    "[ceil(N * bits / 32), K / group]; bytes: as the scales",
    "what zero is stored as, packed down the columns",
);
const SHAPE: Companion =
    optional("weight_shape", Role::Layout, &[Dtype::I64], "[2]", "rows and columns before packing");
const ORDER: Companion =
    optional("weight_g_idx", Role::Layout, &[Dtype::I32], "[K]", "the group of each input");
const INPUT: Companion = optional("input_scale", Role::InputScale, FLOATS, "[1]", "activation scale");
const INPUT_ZERO: Companion =
    optional("input_zero_point", Role::InputScale, &[Dtype::I8], "[1]", "what zero of the activations is");

struct CtInt;

/// How a layer is packed.
struct Packed {
    sides: [u64; 2],
    bits: u32,
    /// Columns under a scale; `u64::MAX` for all.
    group: u64,
}

/// Columns under a scale, of `cols` columns with `groups` scales a row.
fn group_of(layer: &LayerView<'_>, scale: Stored<'_>, cols: u64, groups: u64) -> Result<u64, Refusal> {
    if groups == 1 {
        return Ok(u64::MAX);
    }
    let said = stated(layer).into_iter().filter_map(|s| s.group).find(|&g| cols.div_ceil(g) == groups);
    let equal = || cols.checked_div(groups).filter(|&g| g > 0 && cols.is_multiple_of(groups));
    said.or_else(equal).ok_or_else(|| misfit(scale, &format!("groups of {cols} columns")))
}

impl Packed {
    fn of(layer: &LayerView<'_>) -> Result<Self, Refusal> {
        let packed = typed(layer, &PACKED)?;
        let scale = typed(layer, &SCALE)?;
        let [rows, width] = matrix(packed)?;
        let groups = if scale.is_scalar() { 1 } else { matrix(scale)?[1] };
        let original = original_shape(layer);
        let said: Vec<_> = stated(layer).into_iter().filter(|s| s.bits.is_some_and(|b| b <= 8)).collect();
        let bits = match original {
            // The config's bits if they fit, else the only ones that do.
            Some([_, cols]) => {
                let fits = |&bits: &u64| words(cols, bits) == Some(width);
                said.iter().filter_map(|s| s.bits).chain([4, 8, 2, 3, 5, 6, 7]).find(fits)
            }
            None => said.first().and_then(|s| s.bits).filter(|&b| said.iter().all(|s| s.bits == Some(b))),
        };
        let bits = bits.ok_or_else(|| {
            let remedy = "restore `weight_shape`, or `num_bits` in the config";
            Refusal::new("has no number of bits that fits its packed weight", remedy)
        })?;
        let cols = match original {
            Some([original_rows, cols]) if original_rows == rows => cols,
            Some(_) => return Err(misfit(packed, "the rows that `weight_shape` says")),
            // As many as the words hold, or as the groups have.
            None => {
                let held = width.checked_mul(32).map_or(0, |n| n / bits);
                let of_groups = said.iter().find_map(|s| s.group).and_then(|g| g.checked_mul(groups));
                of_groups.filter(|&cols| groups > 1 && words(cols, bits) == Some(width)).unwrap_or(held)
            }
        };
        let group = group_of(layer, scale, cols, groups)?;
        Ok(Self { sides: [rows, cols], bits: u32::try_from(bits).unwrap_or(8), group })
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<RowDecoder, Refusal> {
        let [rows, cols] = self.sides;
        let scale = typed(layer, &SCALE)?;
        let down = if scale.is_scalar() && rows != 1 { u64::MAX } else { 1 };
        let block = [down, self.group];
        let number = Number::Float(scale.dtype);
        let grid = Grid::new(scale, SCALE.leaf, number, self.sides, block)?;
        let code = Code::unsigned(self.bits);
        let mut decoder = RowDecoder::new(typed(layer, &PACKED)?, PACKED.leaf, code, cols, grid)?;
        if let Some(zero) = layer.get(ZERO.leaf).filter(|zero| zero.dtype == Dtype::I32) {
            let number = Number::Down(self.bits);
            decoder.zeros = Some(Grid::new(zero, ZERO.leaf, number, self.sides, [1, self.group])?);
        } else if let Some(zero) = layer.get(ZERO.leaf) {
            return Err(misfit(zero, "zero points packed in I32"));
        } else {
            decoder.centre = Some(f32::from(1_u8 << (self.bits - 1)));
        }
        if layer.has(ORDER.leaf) {
            expect_elements(typed(layer, &ORDER)?, Some(cols))?;
            decoder.order = Some(ORDER.leaf);
        }
        Ok(decoder)
    }
}

/// Whether the layer is packed in words.
fn is_packed(layer: &LayerView<'_>) -> bool {
    layer.has(PACKED.leaf)
}

impl Scheme for CtInt {
    fn about(&self) -> &'static About {
        const CT_INT: About = About {
            id: "ct-int",
            place: 560,
            title: "compressed-tensors integers: 2 to 8 bits, packed or as bytes",
            family: Family::Int,
            companions: &[PACKED, BYTES, SCALE, ZERO, SHAPE, ORDER, INPUT, INPUT_ZERO],
            declared_by: "`quant_method` `compressed-tensors`, `format` `pack-quantized` or `int-quantized`",
            formula: &[
                "packed: value + 2^(bits - 1), and so for zero points",
                "g = weight_g_idx[k], k / group where there is none",
                "w = (q - weight_zero_point[g]) * weight_scale[g]",
            ],
            source: "compressed-tensors 0.20.0",
            ..ABOUT
        };
        &CT_INT
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let has =
            |c: &Companion| layer.get(c.leaf).is_some_and(|t| c.dtypes.contains(&t.dtype) && t.rank() == 2);
        let declared = is_declared(layer);
        match (has(&PACKED), has(&BYTES) && declared, layer.has(SCALE.leaf)) {
            (true, _, true) if declared => Match::Certain,
            (true, _, true) => Match::Full,
            (false, true, true) => Match::Certain,
            (true, _, false) | (_, true, false) => Match::Partial,
            _ => Match::No,
        }
    }

    fn weight_leaf(&self, layer: &LayerView<'_>) -> &'static str {
        if is_packed(layer) { PACKED.leaf } else { BYTES.leaf }
    }

    fn logical_shape(&self, layer: &LayerView<'_>) -> Vec<u64> {
        let stored = || layer.get(self.weight_leaf(layer)).map(|t| t.shape.to_vec()).unwrap_or_default();
        let packed = is_packed(layer).then(|| Packed::of(layer).ok()).flatten();
        packed.map_or_else(stored, |packed| packed.sides.to_vec())
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        match leaf {
            "input_scale" | "input_zero_point" => return scalar_shapes(),
            "weight_shape" => return Some(vec![vec![2]]),
            _ => {}
        }
        let packed = Packed::of(layer).ok().filter(|_| is_packed(layer))?;
        let [rows, cols] = packed.sides;
        let groups = cols.div_ceil(packed.group);
        match leaf {
            "weight_packed" => Some(vec![vec![rows, words(cols, u64::from(packed.bits))?]]),
            "weight_scale" if groups == 1 => Some(vec![vec![rows, 1], vec![1], vec![]]),
            "weight_scale" => Some(vec![vec![rows, groups]]),
            "weight_zero_point" => Some(vec![vec![words(rows, u64::from(packed.bits))?, groups]]),
            "weight_g_idx" => Some(vec![vec![cols]]),
            _ => None,
        }
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Scales { scale: SCALE.leaf, signed: false }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        if is_packed(layer) {
            return Ok(Box::new(Packed::of(layer)?.decoder(layer)?));
        }
        let (weight, scale) = (typed(layer, &BYTES)?, typed(layer, &SCALE)?);
        let sides = rows_of(weight)?;
        let grid = Grid::fitting(scale, SCALE.leaf, Number::Float(scale.dtype), sides)?;
        let mut decoder = RowDecoder::new(weight, BYTES.leaf, Code::SIGNED, sides[1], grid)?;
        if let Some(zero) = layer.get(ZERO.leaf) {
            if zero.dtype != Dtype::I8 || zero.shape != scale.shape {
                return Err(misfit(zero, "signed bytes, one for each scale"));
            }
            decoder.zeros = Some(Grid::fitting(zero, ZERO.leaf, Number::Signed, sides)?);
        }
        Ok(Box::new(decoder))
    }
}
