//! bitsandbytes in four bits: codes into a table of 16 values, in blocks of the flattened weight.
//!
//! Source: `formats.md` j (bitsandbytes 0.50.2). Blocks cross rows, and the shape stands in a JSON text
//! beside the weight and nowhere else. Where the blocks' maxima are quantized themselves ("nested"), their
//! offset and block size stand there too.

use crate::about::{About, Companion, Family, Match, Role, ScaleLayout};
use crate::decode::{Decoder, Refusal, Region, Slab};
use crate::layer::LayerView;
use crate::parts::bits;
use crate::parts::bytes::{floats, index, part};
use crate::parts::foreign::{ABOUT, optional, required, typed};
use crate::parts::shapes::expect_elements;
use crate::scheme::Scheme;
use futures_util::future::{LocalBoxFuture, ready};
use quantscope_kernels::{Engine, EngineError};
use quantscope_numeric::Dtype;
use serde_json::Value;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&NF4, &FP4];

const WEIGHT: Companion = required(
    "weight",
    Role::Weight,
    &[Dtype::U8],
    "[ceil(n / 2), 1]",
    "codes, the even element in the high nibble",
);
const ABSMAX: Companion = required(
    "weight.absmax",
    Role::WeightScale,
    &[Dtype::F32, Dtype::U8],
    "[n / blocksize]",
    "largest magnitude of a block, or a code for it",
);
const QUANT_MAP: Companion =
    required("weight.quant_map", Role::Layout, &[Dtype::F32], "[16]", "the value of each code");
const NESTED_ABSMAX: Companion = optional(
    "weight.nested_absmax",
    Role::GlobalScale,
    &[Dtype::F32],
    "[n / blocksize / nested_blocksize]",
    "scale of a block of block maxima",
);
const NESTED_QUANT_MAP: Companion = optional(
    "weight.nested_quant_map",
    Role::Layout,
    &[Dtype::F32],
    "[256]",
    "the value of each code of a block maximum",
);
const fn quant_state(leaf: &'static str) -> Companion {
    required(leaf, Role::Layout, &[Dtype::U8], "[bytes]", "shape, block sizes and offset, as JSON")
}

const FORMULA: &[&str] = &[
    "absmax = weight.absmax; nested: nested_quant_map[weight.absmax] * nested_absmax[block / nested_blocksize] \
     + nested_offset",
    "w[i] = quant_map[code[i]] * absmax[i / blocksize], i running over the flattened weight",
];

/// One of the two; they differ in the name of the text and in the table that is usual.
struct FourBit {
    about: &'static About,
    state: &'static str,
}

static NF4: FourBit = FourBit {
    about: &About {
        id: "bnb-nf4",
        place: 620,
        title: "bitsandbytes NF4: a table of normal quantiles, blocks of the flattened weight",
        family: Family::Fp4,
        companions: &[
            WEIGHT,
            ABSMAX,
            QUANT_MAP,
            NESTED_ABSMAX,
            NESTED_QUANT_MAP,
            quant_state("weight.quant_state.bitsandbytes__nf4"),
        ],
        declared_by: "`quant_method` `bitsandbytes`, `bnb_4bit_quant_type` `nf4`",
        formula: FORMULA,
        source: "bitsandbytes 0.50.2",
        ..ABOUT
    },
    state: "weight.quant_state.bitsandbytes__nf4",
};

static FP4: FourBit = FourBit {
    about: &About {
        id: "bnb-fp4",
        place: 630,
        title: "bitsandbytes FP4: a table that is not E2M1, blocks of the flattened weight",
        family: Family::Fp4,
        companions: &[
            WEIGHT,
            ABSMAX,
            QUANT_MAP,
            NESTED_ABSMAX,
            NESTED_QUANT_MAP,
            quant_state("weight.quant_state.bitsandbytes__fp4"),
        ],
        declared_by: "`quant_method` `bitsandbytes`, `bnb_4bit_quant_type` `fp4`",
        formula: FORMULA,
        source: "bitsandbytes 0.50.2",
        ..ABOUT
    },
    state: "weight.quant_state.bitsandbytes__fp4",
};

/// What the JSON text says.
struct State {
    shape: Vec<u64>,
    /// Elements of the weight.
    count: u64,
    block: u64,
    /// Block maxima that share a scale, and what is added to each.
    nested: Option<(u64, f32)>,
}

impl State {
    fn of(layer: &LayerView<'_>) -> Result<Self, Refusal> {
        let unclear = |what: &str| {
            Refusal::new(
                format!("has a quantization state without a usable `{what}`"),
                "save the layer again",
            )
        };
        let said = layer.facts.descriptor.ok_or_else(|| unclear("shape"))?;
        let number = |key: &str| said.get(key).and_then(Value::as_u64).filter(|&n| n > 0);
        let sides = said.get("shape").and_then(Value::as_array).ok_or_else(|| unclear("shape"))?;
        let shape: Option<Vec<u64>> = sides.iter().map(Value::as_u64).collect();
        let shape = shape.filter(|s| !s.is_empty()).ok_or_else(|| unclear("shape"))?;
        let count = shape.iter().try_fold(1_u64, |n, &side| n.checked_mul(side));
        let count = count.ok_or_else(|| unclear("shape"))?;
        let block = number("blocksize").ok_or_else(|| unclear("blocksize"))?;
        let nested = if layer.has(NESTED_ABSMAX.leaf) {
            let size = number("nested_blocksize").ok_or_else(|| unclear("nested_blocksize"))?;
            let offset = said.get("nested_offset").and_then(Value::as_f64);
            Some((size, single(offset.ok_or_else(|| unclear("nested_offset"))?)))
        } else {
            None
        };
        Ok(Self { shape, count, block, nested })
    }

    fn blocks(&self) -> u64 {
        self.count.div_ceil(self.block)
    }
}

/// A number of JSON that was a single before it was written out.
#[allow(clippy::cast_possible_truncation, reason = "the text holds the digits of an F32")]
fn single(value: f64) -> f32 {
    value as f32
}

impl Scheme for FourBit {
    fn about(&self) -> &'static About {
        self.about
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let is_codes = layer.weight().is_some_and(|w| w.dtype == Dtype::U8);
        let absmax = layer.has(ABSMAX.leaf);
        let state = layer.has(self.state);
        let other =
            layer.tensors.iter().any(|t| t.leaf.starts_with("weight.quant_state.") && t.leaf != self.state);
        let said = layer.facts.config_text("bnb_4bit_quant_type").unwrap_or("nf4");
        match (is_codes && absmax, state) {
            (true, true) if layer.has(QUANT_MAP.leaf) => Match::Full,
            (_, true) if is_codes => Match::Partial,
            // Without its text nothing but the config tells the two apart.
            (true, false) if !other && self.about.id.ends_with(said) => Match::Partial,
            _ => Match::No,
        }
    }

    fn logical_shape(&self, layer: &LayerView<'_>) -> Vec<u64> {
        let stored = || layer.weight().map(|t| t.shape.to_vec()).unwrap_or_default();
        State::of(layer).map_or_else(|_| stored(), |state| state.shape)
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        let state = State::of(layer).ok();
        let nested = state.as_ref().and_then(|s| Some(s.blocks().div_ceil(s.nested?.0)));
        match leaf {
            "weight" => state.map(|s| vec![vec![s.count.div_ceil(2), 1]]),
            "weight.absmax" => state.map(|s| vec![vec![s.blocks()]]),
            "weight.quant_map" => Some(vec![vec![16]]),
            "weight.nested_quant_map" => Some(vec![vec![256]]),
            "weight.nested_absmax" => nested.map(|n| vec![vec![n]]),
            _ => None,
        }
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Scales { scale: ABSMAX.leaf, signed: false }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        let state = State::of(layer)?;
        expect_elements(typed(layer, &WEIGHT)?, Some(state.count.div_ceil(2)))?;
        expect_elements(typed(layer, &QUANT_MAP)?, Some(16))?;
        let absmax = typed(layer, &ABSMAX)?;
        expect_elements(absmax, Some(state.blocks()))?;
        if let Some((size, _)) = state.nested {
            expect_elements(typed(layer, &NESTED_ABSMAX)?, Some(state.blocks().div_ceil(size)))?;
            expect_elements(typed(layer, &NESTED_QUANT_MAP)?, Some(256))?;
        }
        if (absmax.dtype == Dtype::U8) != state.nested.is_some() {
            let reason = format!("has block maxima of type {}", absmax.dtype);
            return Err(Refusal::new(reason, "restore `weight.nested_absmax`, or save the layer again"));
        }
        let rows = state.shape.first().copied().unwrap_or(0);
        let cols = state.shape.iter().skip(1).fold(1_u64, |n, &side| n.saturating_mul(side));
        Ok(Box::new(FlatDecoder { state, extent: [rows, cols] }))
    }
}

/// Decodes runs of the flattened weight.
struct FlatDecoder {
    state: State,
    extent: [u64; 2],
}

/// Neighbours in the flattened weight: the first, and how many.
struct Run {
    start: u64,
    len: u64,
}

impl FlatDecoder {
    /// One run for whole rows, one a row else.
    fn runs(&self, region: &Region) -> Vec<Run> {
        let [_, cols] = self.extent;
        let rows = region.rows.end.saturating_sub(region.rows.start);
        let width = region.cols.end.saturating_sub(region.cols.start);
        if width == cols {
            return vec![Run {
                start: region.rows.start.saturating_mul(cols),
                len: rows.saturating_mul(cols),
            }];
        }
        let start = |row: u64| row.saturating_mul(cols).saturating_add(region.cols.start);
        region.rows.clone().map(|row| Run { start: start(row), len: width }).collect()
    }

    /// The codes and the block maxima of a run.
    fn slabs(&self, run: &Run) -> Vec<Slab> {
        let end = run.start.saturating_add(run.len);
        let bytes = run.start / 2..end.div_ceil(2);
        let blocks = run.start / self.state.block..end.div_ceil(self.state.block);
        let range = |leaf, range: &std::ops::Range<u64>, width: u64| {
            let len = range.end.saturating_sub(range.start).saturating_mul(width);
            Slab::range(leaf, range.start.saturating_mul(width), len)
        };
        let mut slabs = vec![range(WEIGHT.leaf, &bytes, 1)];
        match self.state.nested {
            None => slabs.push(range(ABSMAX.leaf, &blocks, 4)),
            Some((size, _)) => {
                let outer = blocks.start / size..blocks.end.div_ceil(size);
                slabs.extend([range(ABSMAX.leaf, &blocks, 1), range(NESTED_ABSMAX.leaf, &outer, 4)]);
            }
        }
        slabs
    }

    /// Block maxima of a run from its parts, the first block first.
    fn maxima(&self, run: &Run, parts: &[Vec<u8>], nested_map: &[f32]) -> Vec<f32> {
        let Some((size, offset)) = self.state.nested else { return floats(Dtype::F32, part(parts, 1)) };
        let first = run.start / self.state.block;
        let outer = floats(Dtype::F32, part(parts, 2));
        let decode = |(block, &code): (u64, &u8)| {
            let scale = outer.get(index((block / size).saturating_sub(first / size)));
            let value = nested_map.get(usize::from(code));
            value.zip(scale).map_or(f32::NAN, |(value, scale)| value * scale + offset)
        };
        (first..).zip(part(parts, 1)).map(decode).collect()
    }

    fn decode_run(&self, run: &Run, parts: &[Vec<u8>], maps: [&[f32]; 2], out: &mut Vec<f32>) {
        let [map, nested_map] = maps;
        let maxima = self.maxima(run, parts, nested_map);
        let codes = part(parts, 0);
        let (first, first_block) = (run.start / 2 * 2, run.start / self.state.block);
        for at in run.start..run.start.saturating_add(run.len) {
            // The high nibble comes first.
            let code = bits::at(codes, (at - first) ^ 1, 4);
            let value = code.and_then(|code| map.get(usize::from(code)));
            let absmax = maxima.get(index(at / self.state.block - first_block));
            out.push(value.zip(absmax).map_or(f32::NAN, |(value, absmax)| value * absmax));
        }
    }
}

impl Decoder for FlatDecoder {
    fn shape(&self) -> Vec<u64> {
        self.state.shape.clone()
    }

    fn extent(&self) -> [u64; 2] {
        self.extent
    }

    fn needs(&self, region: &Region) -> Vec<Slab> {
        let mut slabs = vec![Slab::range(QUANT_MAP.leaf, 0, 64)];
        if self.state.nested.is_some() {
            slabs.push(Slab::range(NESTED_QUANT_MAP.leaf, 0, 1024));
        }
        slabs.extend(self.runs(region).iter().flat_map(|run| self.slabs(run)));
        slabs
    }

    fn decode<'a>(
        &'a self,
        _engine: &'a dyn Engine,
        region: &'a Region,
        parts: &'a [Vec<u8>],
        out: &'a mut Vec<f32>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        let is_nested = self.state.nested.is_some();
        let map = floats(Dtype::F32, part(parts, 0));
        let nested_map = if is_nested { floats(Dtype::F32, part(parts, 1)) } else { Vec::new() };
        let (tables, each) = if is_nested { (2, 3) } else { (1, 2) };
        let rest = parts.get(tables..).unwrap_or_default();
        for (run, parts) in self.runs(region).iter().zip(rest.chunks(each)) {
            self.decode_run(run, parts, [&map, &nested_map], out);
        }
        Box::pin(ready(Ok(())))
    }
}
