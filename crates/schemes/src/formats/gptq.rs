//! GPTQ: 2, 3, 4 or 8 bits packed along K, zero points packed along N, groups by a stored map.
//!
//! Source: `formats.md` j (auto-gptq 0.7.1, GPTQModel f4c327a1). `qweight` is transposed: a word holds values
//! of one output for neighbouring inputs. Version 1 stores the zero point less one, and so that a zero of 0
//! borrows from its neighbour; adding one to every field of the whole word gives it back.

use crate::about::{About, Companion, Family, Match, Role, ScaleLayout};
use crate::decode::{Decoder, Refusal, Region, Slab};
use crate::layer::{LayerView, Stored};
use crate::parts::bits::words;
use crate::parts::bytes::index;
use crate::parts::columns::{ColumnDecoder, Groups, Packing, small, word_at};
use crate::parts::foreign::{ABOUT, F16_FIRST, is_method, misfit, optional, required, typed, variant};
use crate::parts::shapes::matrix;
use crate::scheme::Scheme;
use quantscope_numeric::Dtype;
use std::ops::Range;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&Gptq];

const QWEIGHT: Companion = required(
    "qweight",
    Role::Weight,
    &[Dtype::I32],
    "[K * bits / 32, N]",
    "codes, packed along K, low bits first",
);
const QZEROS: Companion = required(
    "qzeros",
    Role::ZeroPoint,
    &[Dtype::I32],
    "[K / group, N * bits / 32]",
    "zero points, packed along N; version 1 stores them less one",
);
const SCALES: Companion =
    required("scales", Role::WeightScale, F16_FIRST, "[K / group, N]", "scale per group and output");
const G_IDX: Companion = optional("g_idx", Role::Layout, &[Dtype::I32], "[K]", "the group of each input");

/// Bits of a code.
const BITS: [u64; 4] = [2, 3, 4, 8];

struct Gptq;

/// The layout's name, where the config gives one.
fn format<'a>(layer: &LayerView<'a>) -> Option<&'a str> {
    ["checkpoint_format", "format"].into_iter().find_map(|key| {
        let value = layer.facts.config.get(key)?;
        value.as_str()
    })
}

/// N and K, and bits of a code: the config's, or where those do not fit, as the layer may have settings of its
/// own, the first that do.
fn sides(layer: &LayerView<'_>) -> Result<([u64; 2], u32), Refusal> {
    let qweight = typed(layer, &QWEIGHT)?;
    let [word_rows, outputs] = matrix(qweight)?;
    let zeros = typed(layer, &QZEROS)?;
    let [_, zero_words] = matrix(zeros)?;
    let inputs = |bits: u64| {
        let inputs = word_rows.checked_mul(32)?;
        let mapped = layer.get(G_IDX.leaf).map(|map| map.elements());
        let whole = outputs > 0 && inputs.is_multiple_of(bits) && words(outputs, bits) == Some(zero_words);
        Some(inputs / bits).filter(|inputs| whole && mapped.is_none_or(|mapped| mapped == *inputs))
    };
    let stated = layer.facts.config_number("bits");
    let known = stated.into_iter().filter(|bits| BITS.contains(bits)).chain(BITS);
    if let Some((bits, inputs)) = known.into_iter().find_map(|bits| Some((bits, inputs(bits)?))) {
        return Ok(([outputs, inputs], u32::try_from(bits).unwrap_or(8)));
    }
    Err(match stated {
        Some(bits) if !BITS.contains(&bits) => variant(&format!("GPTQ of {bits} bits")),
        _ => misfit(zeros, &format!("zero points of 2, 3, 4 or 8 bits for {outputs} outputs")),
    })
}

impl Scheme for Gptq {
    fn about(&self) -> &'static About {
        const GPTQ: About = About {
            id: "gptq",
            place: 600,
            title: "GPTQ: 2, 3, 4 or 8 bits in groups, with zero points",
            family: Family::Int,
            companions: &[QWEIGHT, QZEROS, SCALES, G_IDX],
            declared_by: "`quant_method` `gptq`; `checkpoint_format` `gptq_v2` for zero points stored as they are",
            formula: &[
                "g = g_idx[k], k / group where there is none",
                "z = qzeros + 1 to every field of the whole word; qzeros itself under `gptq_v2`",
                "w[n, k] = scales[g, n] * (q[k, n] - z[g, n])",
            ],
            source: "auto-gptq 0.7.1, GPTQModel f4c327a1",
            ..ABOUT
        };
        &GPTQ
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let is_codes = |t: Stored<'_>| t.dtype == Dtype::I32 && t.rank() == 2;
        let Some(qweight) = layer.get(QWEIGHT.leaf).filter(|t| is_codes(*t)) else { return Match::No };
        let columns = |t: Stored<'_>| t.shape.last().copied();
        let scales = layer.get(SCALES.leaf);
        let by_shape = scales.is_some_and(|s| columns(s) == columns(qweight));
        match (is_method(layer, "gptq"), is_method(layer, "awq")) {
            (_, true) => Match::No,
            (true, _) if scales.is_some() && layer.has(QZEROS.leaf) => Match::Certain,
            (false, _) if by_shape && layer.has(QZEROS.leaf) => Match::Full,
            (true, _) => Match::Partial,
            (false, _) if by_shape => Match::Partial,
            _ => Match::No,
        }
    }

    fn logical_shape(&self, layer: &LayerView<'_>) -> Vec<u64> {
        let stored = || layer.get(QWEIGHT.leaf).map(|t| t.shape.to_vec()).unwrap_or_default();
        sides(layer).map_or_else(|_| stored(), |(sides, _)| sides.to_vec())
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        // Another layout has other shapes, of which nothing is known.
        if format(layer).is_some_and(|f| f != "gptq" && f != "gptq_v2") {
            return None;
        }
        let ([outputs, inputs], bits) = sides(layer).ok()?;
        let [stored_groups, _] = matrix(layer.get(SCALES.leaf)?).ok()?;
        // Modules may have settings of their own, which the config keys by patterns.
        let own = layer.facts.config.get("dynamic").is_some();
        let size = layer.facts.config_number("group_size").filter(|&g| g > 0 && !own);
        let groups = size.map_or(stored_groups, |g| inputs.div_ceil(g));
        match leaf {
            "qzeros" => Some(vec![vec![groups, words(outputs, u64::from(bits))?]]),
            "scales" => Some(vec![vec![groups, outputs]]),
            "g_idx" => Some(vec![vec![inputs]]),
            _ => None,
        }
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Scales { scale: SCALES.leaf, signed: false }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        let adds_one = match format(layer) {
            None | Some("gptq") => true,
            Some("gptq_v2") => false,
            Some(other) => return Err(variant(&format!("GPTQ's `{other}`"))),
        };
        let (sides, bits) = sides(layer)?;
        let scales = typed(layer, &SCALES)?;
        let [groups, outputs] = matrix(scales)?;
        let zeros = typed(layer, &QZEROS)?;
        if outputs != sides[0] || matrix(zeros)?[0] != groups {
            return Err(misfit(
                scales,
                &format!("a row for each of `qzeros`, a column for each of {}", sides[0]),
            ));
        }
        let group = match layer.get(G_IDX.leaf) {
            Some(_) => Groups::stored(typed(layer, &G_IDX)?, G_IDX.leaf, sides[1])?,
            None => Groups::equal(layer, sides[1], scales)?,
        };
        let packing = Streams { outputs: sides[0], bits, adds_one };
        Ok(Box::new(ColumnDecoder::new(packing, sides, scales, SCALES.leaf, group)?))
    }
}

/// Streams of codes down the columns of `qweight` and along the rows of `qzeros`.
struct Streams {
    outputs: u64,
    bits: u32,
    adds_one: bool,
}

impl Streams {
    /// Words that hold some values of a stream.
    fn words(&self, values: &Range<u64>) -> Range<u64> {
        let bits = u64::from(self.bits);
        values.start.saturating_mul(bits) / 32..values.end.saturating_mul(bits).div_ceil(32)
    }

    /// The value at a place of a stream whose words `word` gives, counted from the first word that holds a
    /// value of the run.
    fn value(&self, run: &Range<u64>, place: u64, word: impl Fn(u64) -> Option<u32>) -> Option<u32> {
        let bit = place.checked_mul(u64::from(self.bits))?.checked_sub(self.words(run).start * 32)?;
        let shift = bit % 32;
        let low = u64::from(word(bit / 32)?);
        let crosses = shift + u64::from(self.bits) > 32;
        let high = if crosses { u64::from(word(bit / 32 + 1)?) } else { 0 };
        u32::try_from(((low | (high << 32)) >> shift) & ((1 << self.bits) - 1)).ok()
    }
}

impl Packing for Streams {
    fn column_unit(&self) -> u64 {
        // Values of any width after which a stream is at a word's end.
        32
    }

    fn codes(&self, region: &Region) -> Slab {
        let outputs = region.rows.start.saturating_mul(4)..region.rows.end.saturating_mul(4);
        let rows = self.words(&region.cols);
        Slab::rectangle(QWEIGHT.leaf, self.outputs.saturating_mul(4), rows, outputs)
    }

    fn zeros(&self, region: &Region, groups: u64) -> Slab {
        let row = self.words(&(0..self.outputs)).end.saturating_mul(4);
        let words = self.words(&region.rows);
        Slab::rectangle(QZEROS.leaf, row, 0..groups, words.start * 4..words.end.saturating_mul(4))
    }

    fn column(&self, region: &Region, bytes: &[u8], output: u64, codes: &mut Vec<u8>) {
        codes.clear();
        let width = index(region.rows.end.saturating_sub(region.rows.start)).max(1);
        let column = index(output.saturating_sub(region.rows.start));
        let mask = (1 << self.bits) - 1;
        let (mut held, mut bits) = (0_u64, 0);
        for word in bytes.as_chunks::<4>().0.iter().skip(column).step_by(width) {
            held |= u64::from(u32::from_le_bytes(*word)) << bits;
            bits += 32;
            while bits >= self.bits {
                // A code has at most eight bits.
                codes.push(u8::try_from(held & mask).unwrap_or(u8::MAX));
                held >>= self.bits;
                bits -= self.bits;
            }
        }
    }

    fn zero(&self, region: &Region, bytes: &[u8], group: u64, output: u64) -> Option<f32> {
        let span = self.words(&region.rows);
        let first = group.checked_mul(span.end.checked_sub(span.start)?)?;
        // Three bits cross words, so that there is no word to add to; their package adds to each value.
        let to_word = self.adds_one && self.bits != 3;
        let ones = if to_word { u32::MAX / ((1 << self.bits) - 1) } else { 0 };
        let word = |at: u64| Some(word_at(bytes, first.checked_add(at)?)?.wrapping_add(ones));
        let stored = self.value(&region.rows, output, word)?;
        Some(small(stored) + if self.adds_one && !to_word { 1.0 } else { 0.0 })
    }
}
