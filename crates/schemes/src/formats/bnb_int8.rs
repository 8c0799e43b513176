//! bitsandbytes in eight bits: signed bytes under the largest magnitude of each row.
//!
//! Source: `formats.md` j (bitsandbytes 0.50.2). Their code multiplies by a rounded 1/127, so that values
//! differ in the last bit from the quotient here.

use crate::about::{About, Companion, Family, Match, Role, ScaleLayout};
use crate::decode::{Decoder, Refusal};
use crate::layer::LayerView;
use crate::parts::foreign::{ABOUT, optional, required, scalar_shapes, typed, variant};
use crate::parts::grid::{Grid, Number};
use crate::parts::rows::{Code, RowDecoder, rows_of};
use crate::scheme::Scheme;
use quantscope_numeric::Dtype;
use serde_json::Value;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&Int8];

const WEIGHT: Companion = required("weight", Role::Weight, &[Dtype::I8], "[N, K]", "weight, signed bytes");
const SCB: Companion =
    required("SCB", Role::WeightScale, &[Dtype::F32], "[N]", "largest magnitude of the row");
const FORMAT: Companion =
    optional("weight_format", Role::Layout, &[Dtype::U8], "[]", "how rows lie; 0 is row by row");

struct Int8;

impl Scheme for Int8 {
    fn about(&self) -> &'static About {
        const INT8: About = About {
            id: "bnb-int8",
            place: 640,
            title: "bitsandbytes INT8: a scale per output channel",
            family: Family::Int,
            companions: &[WEIGHT, SCB, FORMAT],
            declared_by: "`quant_method` `bitsandbytes`, `load_in_8bit`",
            formula: &["SCB = row_amax", "w = q * SCB / 127"],
            source: "bitsandbytes 0.50.2",
            ..ABOUT
        };
        &INT8
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let is_codes = layer.weight().is_some_and(|w| w.dtype == Dtype::I8 && w.rank() == 2);
        if is_codes && layer.has(SCB.leaf) { Match::Full } else { Match::No }
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        match leaf {
            "SCB" => Some(vec![vec![*layer.weight()?.shape.first()?]]),
            "weight_format" => scalar_shapes(),
            _ => None,
        }
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Scales { scale: SCB.leaf, signed: false }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        let format = layer.facts.descriptor.and_then(|d| d.get(FORMAT.leaf)).and_then(Value::as_u64);
        if let Some(format) = format.filter(|&f| f != 0) {
            return Err(variant(&format!("a bitsandbytes layout of number {format}")));
        }
        let weight = typed(layer, &WEIGHT)?;
        let sides = rows_of(weight)?;
        let number = Number::Float(Dtype::F32);
        let scales = Grid::new(typed(layer, &SCB)?, SCB.leaf, number, sides, [1, u64::MAX])?;
        let mut decoder = RowDecoder::new(weight, WEIGHT.leaf, Code::SIGNED, sides[1], scales)?;
        decoder.divisor = Some(127.0);
        Ok(Box::new(decoder))
    }
}
