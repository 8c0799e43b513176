//! torchao's tensor classes as it flattens them to safetensors: `<module>._weight_<part>`, described in the
//! header's metadata.
//!
//! Source: `formats.md` j (torchao 0.18.0). What is decoded is rounded to the type that the metadata calls
//! the original one, as their `dequantize` does.

use crate::about::{About, Companion, Family, Match, Role, ScaleLayout};
use crate::decode::{Decoder, Refusal};
use crate::layer::LayerView;
use crate::parts::foreign::{ABOUT, FLOATS, misfit, optional, required, scalar_shapes, typed, variant};
use crate::parts::grid::{Grid, Number, tiled_sides};
use crate::parts::rows::{Code, Outer, Round, RowDecoder, rows_of};
use crate::parts::shapes::expect_elements;
use crate::scheme::Scheme;
use quantscope_numeric::Dtype;
use serde_json::Value;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&INT8, &FLOAT8, &MX, &NVFP4, &OTHER];

const QDATA: &str = "_weight_qdata";
const SCALE: &str = "_weight_scale";

const fn qdata(dtypes: &'static [Dtype], shape: &'static str, words: &'static str) -> Companion {
    required(QDATA, Role::Weight, dtypes, shape, words)
}
const fn scale(dtypes: &'static [Dtype], shape: &'static str, words: &'static str) -> Companion {
    required(SCALE, Role::WeightScale, dtypes, shape, words)
}
const ZERO: Companion =
    optional("_weight_zero_point", Role::ZeroPoint, &[Dtype::I8], "[N, 1]", "what zero is stored as");
const WHOLE: Companion =
    optional("_weight_per_tensor_scale", Role::GlobalScale, &[Dtype::F32], "[]", "global scale, amax / 2688");
const SOURCE: &str = "torchao 0.18.0";

/// One of torchao's tensor classes.
struct Torchao {
    about: &'static About,
    /// Its name in the metadata, or how such names begin.
    class: &'static str,
    codes: &'static [Dtype],
    scales: &'static [Dtype],
}

const INT8: Torchao = Torchao {
    about: &About {
        id: "torchao-int8",
        place: 730,
        title: "torchao Int8Tensor: a scale per output channel",
        family: Family::Int,
        companions: &[
            qdata(&[Dtype::I8], "[N, K]", "weight, signed bytes"),
            scale(FLOATS, "[N, 1]", "scale of the row"),
            ZERO,
        ],
        declared_by: "`Int8Tensor` in the header's metadata",
        formula: &["w = (q - zero_point) * scale, rounded to the original type"],
        source: SOURCE,
        ..ABOUT
    },
    class: "Int8Tensor",
    codes: &[Dtype::I8],
    scales: FLOATS,
};
const FLOAT8: Torchao = Torchao {
    about: &About {
        id: "torchao-float8",
        place: 740,
        title: "torchao Float8Tensor: E4M3, a scale per output channel or tensor",
        family: Family::Fp8,
        companions: &[
            qdata(&[Dtype::F8_E4M3], "[N, K]", "weight, E4M3"),
            scale(FLOATS, "[N, 1] or [1, 1]", "scale of the row or the tensor"),
        ],
        declared_by: "`Float8Tensor` in the header's metadata",
        formula: &["w = code * scale, rounded to the original type"],
        source: SOURCE,
        ..ABOUT
    },
    class: "Float8Tensor",
    codes: &[Dtype::F8_E4M3],
    scales: FLOATS,
};
const MX: Torchao = Torchao {
    about: &About {
        id: "torchao-mx",
        place: 750,
        title: "torchao MXTensor: E4M3 or E2M1 in blocks of 32, powers of two as scales",
        family: Family::Fp8,
        companions: &[
            qdata(&[Dtype::F8_E4M3, Dtype::U8], "[N, K] or [N, K/2]", "E4M3, or two E2M1 codes a byte"),
            scale(&[Dtype::F8_E8M0], "[N, K/32]", "power of two of a block"),
        ],
        declared_by: "`MXTensor` in the header's metadata",
        formula: &[
            "w = code * 2^(scale - 127), rounded to the original type; the even column in the low nibble",
        ],
        source: SOURCE,
        ..ABOUT
    },
    class: "MXTensor",
    codes: &[Dtype::F8_E4M3, Dtype::U8],
    scales: &[Dtype::F8_E8M0],
};
const NVFP4: Torchao = Torchao {
    about: &About {
        id: "torchao-nvfp4",
        place: 760,
        title: "torchao NVFP4Tensor: E2M1 in blocks of 16, E4M3 block scales",
        family: Family::Fp4,
        companions: &[
            qdata(&[Dtype::U8], "[N, K/2]", "two E2M1 codes a byte, the even column low"),
            scale(
                &[Dtype::F8_E4M3],
                "[N, K/16], swizzled [32 ceil(N/128), 16 ceil(K/64)]",
                "block scale, E4M3",
            ),
            WHOLE,
        ],
        declared_by: "`NVFP4Tensor` in the header's metadata",
        formula: &["w = code * (scale * per_tensor_scale), rounded to the original type"],
        source: SOURCE,
        ..ABOUT
    },
    class: "NVFP4Tensor",
    codes: &[Dtype::U8],
    scales: &[Dtype::F8_E4M3],
};
const OTHER: Torchao = Torchao {
    about: &About {
        id: "torchao-other",
        place: 770,
        title: "torchao, a tensor class that is known by name and not decoded (Int4Tensor and others)",
        family: Family::Int,
        companions: &[],
        declared_by: "its name in the header's metadata",
        formula: &["not decoded: the layout belongs to a kernel package"],
        source: SOURCE,
        ..ABOUT
    },
    class: "",
    codes: &[],
    scales: &[],
};

/// The class that the metadata names.
fn class_of<'a>(layer: &LayerView<'a>) -> Option<&'a str> {
    layer.facts.descriptor?.get("_type")?.as_str()
}

/// A fact about the class.
fn fact<'a>(layer: &LayerView<'a>, key: &str) -> Option<&'a Value> {
    layer.facts.descriptor?.get("_data")?.get(key)
}

/// The name of a torch type among the facts.
fn type_named<'a>(layer: &LayerView<'a>, key: &str) -> Option<&'a str> {
    fact(layer, key)?.get("_data")?.as_str()
}

/// What `dequantize` rounds to.
fn rounding(layer: &LayerView<'_>) -> Result<Round, Refusal> {
    match type_named(layer, "orig_dtype").or_else(|| type_named(layer, "dtype")) {
        Some("bfloat16") => Ok(Round::Bf16),
        Some("float16") => Ok(Round::F16),
        Some("float32") | None => Ok(Round::No),
        Some(other) => Err(variant(&format!("a tensor whose original type is {other}"))),
    }
}

impl Torchao {
    /// Columns of weights.
    fn cols(layer: &LayerView<'_>) -> Option<u64> {
        let stored = layer.get(QDATA)?;
        let last = *stored.shape.last()?;
        if stored.dtype == Dtype::U8 { last.checked_mul(2) } else { Some(last) }
    }

    /// Scales in rows, or in tiles where the metadata says so, or their number alone can mean tiles.
    fn block_grid(
        layer: &LayerView<'_>,
        scales: crate::layer::Stored<'_>,
        sides: [u64; 2],
        block: u64,
    ) -> Result<Grid, Refusal> {
        let number = if scales.dtype == Dtype::F8_E8M0 { Number::E8m0 } else { Number::Float(scales.dtype) };
        let said = fact(layer, "is_swizzled_scales").and_then(Value::as_bool);
        let in_rows = sides[0].checked_mul(sides[1].div_ceil(block));
        if said.unwrap_or(Some(scales.elements()) != in_rows) {
            return Grid::tiled(scales, SCALE, number, sides, block);
        }
        Grid::new(scales, SCALE, number, sides, [1, block])
    }
}

impl Scheme for Torchao {
    fn about(&self) -> &'static About {
        self.about
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let of_class =
            |c: &str| layer.tensors.iter().any(|t| t.leaf.starts_with("_weight_")) && !c.is_empty();
        if self.class.is_empty() {
            let known = [INT8.class, FLOAT8.class, MX.class, NVFP4.class];
            let other = class_of(layer).is_some_and(|c| of_class(c) && !known.contains(&c));
            return if other { Match::Certain } else { Match::No };
        }
        let of = |leaf: &str, dtypes: &[Dtype]| layer.get(leaf).map(|t| dtypes.contains(&t.dtype));
        let by_type = of(QDATA, self.codes) == Some(true) && of(SCALE, self.scales) == Some(true);
        match class_of(layer).map(|class| class == self.class) {
            Some(true) if by_type => Match::Certain,
            Some(true) if layer.has(QDATA) => Match::Partial,
            None if by_type => Match::Full,
            _ => Match::No,
        }
    }

    fn weight_leaf(&self, _: &LayerView<'_>) -> &'static str {
        QDATA
    }

    fn logical_shape(&self, layer: &LayerView<'_>) -> Vec<u64> {
        let mut shape = layer.get(QDATA).map(|t| t.shape.to_vec()).unwrap_or_default();
        // What the bytes of an unknown class hold is not known.
        let cols = Self::cols(layer).filter(|_| !self.class.is_empty());
        if let (Some(last), Some(cols)) = (shape.last_mut(), cols) {
            *last = cols;
        }
        shape
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        if leaf == WHOLE.leaf {
            return scalar_shapes();
        }
        let block = match self.class {
            "MXTensor" => 32,
            "NVFP4Tensor" => 16,
            _ => return None,
        };
        let (shape, cols) = (layer.get(QDATA)?.shape, Self::cols(layer)?);
        let mut in_rows = shape.to_vec();
        *in_rows.last_mut()? = cols.div_ceil(block);
        let [rows, columns] = tiled_sides([*shape.first()?, cols], block);
        // The same tiles under a shape of their own.
        let tiles = [vec![rows / 4, columns.saturating_mul(4)], vec![rows, columns]];
        (leaf == SCALE).then(|| [vec![in_rows], tiles.to_vec()].concat())
    }

    fn scale_layout(&self) -> ScaleLayout {
        match self.class {
            "" => ScaleLayout::None,
            "MXTensor" => ScaleLayout::MxBlocks { scale: SCALE },
            _ => ScaleLayout::Scales { scale: SCALE, signed: false },
        }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        let [codes, scales, ..] = self.about.companions else {
            return Err(variant(&format!("torchao's `{}`", class_of(layer).unwrap_or("unknown class"))));
        };
        let (weight, stored) = (typed(layer, codes)?, typed(layer, scales)?);
        let [rows, _] = rows_of(weight)?;
        let cols = Self::cols(layer).ok_or_else(|| misfit(weight, "a matrix of a countable size"))?;
        let sides = [rows, cols];
        let block = fact(layer, "block_size").and_then(Value::as_u64);
        let element = type_named(layer, "elem_dtype");
        let (code, grid) = match (self.class, weight.dtype) {
            ("MXTensor", dtype) => {
                let (code, name) = if dtype == Dtype::U8 {
                    (Code::E2M1, "float4_e2m1fn_x2")
                } else {
                    (Code::E4M3, "float8_e4m3fn")
                };
                if let Some(other) = element.filter(|e| *e != name) {
                    return Err(variant(&format!("an MXTensor of {other}")));
                }
                let block = block.unwrap_or(32).max(1);
                (code, Self::block_grid(layer, stored, sides, block)?)
            }
            ("NVFP4Tensor", _) => (Code::E2M1, Self::block_grid(layer, stored, sides, 16)?),
            (_, dtype) => {
                let code = if dtype == Dtype::I8 { Code::SIGNED } else { Code::E4M3 };
                (code, Grid::fitting(stored, SCALE, Number::Float(stored.dtype), sides)?)
            }
        };
        let mut decoder = RowDecoder::new(weight, QDATA, code, cols, grid)?;
        if self.class == INT8.class && layer.has(ZERO.leaf) {
            decoder.zeros = Some(Grid::fitting(typed(layer, &ZERO)?, ZERO.leaf, Number::Signed, sides)?);
        }
        if self.class == NVFP4.class && layer.has(WHOLE.leaf) {
            expect_elements(typed(layer, &WHOLE)?, Some(1))?;
            decoder.outer = Some((WHOLE.leaf, Number::Float(Dtype::F32), Outer::Times));
        }
        decoder.round = rounding(layer)?;
        Ok(Box::new(decoder))
    }
}
