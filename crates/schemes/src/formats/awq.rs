//! AWQ as AutoAWQ's `gemm` stores it: 4 bits packed along N in a shuffled order, zero points as they are.
//!
//! Source: `formats.md` j (AutoAWQ 88e4c76). The other versions (`gemv`, `gemv_fast`, `marlin`) have other
//! shapes and orders and are refused.

use crate::about::{About, Companion, Family, Match, Role, ScaleLayout};
use crate::decode::{Decoder, Refusal, Region, Slab};
use crate::layer::{LayerView, Stored};
use crate::parts::bytes::index;
use crate::parts::columns::{ColumnDecoder, Groups, Packing, small, word_at};
use crate::parts::foreign::{ABOUT, F16_FIRST, is_method, misfit, required, typed, variant};
use crate::parts::shapes::matrix;
use crate::scheme::Scheme;
use quantscope_numeric::Dtype;
use std::ops::Range;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&Awq];

const QWEIGHT: Companion =
    required("qweight", Role::Weight, &[Dtype::I32], "[K, N / 8]", "codes, eight outputs a word");
const QZEROS: Companion =
    required("qzeros", Role::ZeroPoint, &[Dtype::I32], "[K / group, N / 8]", "zero points in the same order");
const SCALES: Companion =
    required("scales", Role::WeightScale, F16_FIRST, "[K / group, N]", "scale per group and output");

/// Outputs in a word.
const PER_WORD: u64 = 8;
/// The nibble of each of the eight outputs of a word: nibble i holds output 0, 2, 4, 6, 1, 3, 5, 7.
const NIBBLES: [u32; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

struct Awq;

/// The version that the config names, unless it is the one we know.
fn other_version<'a>(layer: &LayerView<'a>) -> Option<&'a str> {
    let version = layer.facts.config.get("version")?.as_str()?;
    (!version.eq_ignore_ascii_case("gemm")).then_some(version)
}

/// N and K.
fn sides(layer: &LayerView<'_>) -> Result<[u64; 2], Refusal> {
    let qweight = typed(layer, &QWEIGHT)?;
    let [inputs, word_columns] = matrix(qweight)?;
    let outputs = word_columns.checked_mul(PER_WORD);
    Ok([outputs.ok_or_else(|| misfit(qweight, "a matrix of a countable size"))?, inputs])
}

impl Scheme for Awq {
    fn about(&self) -> &'static About {
        const AWQ: About = About {
            id: "awq",
            place: 610,
            title: "AWQ: 4 bits in groups, with zero points",
            family: Family::Int,
            companions: &[QWEIGHT, QZEROS, SCALES],
            declared_by: "`quant_method` `awq`, `version` `gemm`",
            formula: &[
                "nibble i of a word holds output 8 c + (0, 2, 4, 6, 1, 3, 5, 7)[i]",
                "w[n, k] = scales[k / group, n] * (q[k, n] - qzeros[k / group, n])",
            ],
            source: "AutoAWQ 88e4c76",
            ..ABOUT
        };
        &AWQ
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let is_codes = |t: &Stored<'_>| t.dtype == Dtype::I32 && t.rank() == 2;
        let Some(qweight) = layer.get(QWEIGHT.leaf).filter(is_codes) else { return Match::No };
        let outputs = |t: Stored<'_>| t.shape.last().copied();
        let scales = layer.get(SCALES.leaf);
        let complete = scales.is_some() && layer.has(QZEROS.leaf);
        let by_shape = scales.and_then(outputs) == outputs(qweight).and_then(|n| n.checked_mul(PER_WORD));
        match (is_method(layer, "awq"), is_method(layer, "gptq")) {
            (_, true) => Match::No,
            (true, _) if complete => Match::Certain,
            (true, _) => Match::Partial,
            (false, _) if complete && by_shape => Match::Full,
            _ => Match::No,
        }
    }

    fn logical_shape(&self, layer: &LayerView<'_>) -> Vec<u64> {
        let stored = || layer.get(QWEIGHT.leaf).map(|t| t.shape.to_vec()).unwrap_or_default();
        let known = sides(layer).ok().filter(|_| other_version(layer).is_none());
        known.map_or_else(stored, |sides| sides.to_vec())
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        if other_version(layer).is_some() {
            return None;
        }
        let [outputs, inputs] = sides(layer).ok()?;
        let [stored_groups, _] = matrix(layer.get(SCALES.leaf)?).ok()?;
        let size = layer.facts.config_number("group_size").filter(|&g| g > 0);
        let groups = size.map_or(stored_groups, |g| inputs.div_ceil(g));
        match leaf {
            "qzeros" => Some(vec![vec![groups, outputs / PER_WORD]]),
            "scales" => Some(vec![vec![groups, outputs]]),
            _ => None,
        }
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Scales { scale: SCALES.leaf, signed: false }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        if let Some(version) = other_version(layer) {
            return Err(variant(&format!("AWQ's `{version}`")));
        }
        if let Some(bits) = layer.facts.config_number("bits").filter(|&b| b != 4) {
            return Err(variant(&format!("AWQ of {bits} bits")));
        }
        let sides = sides(layer)?;
        let scales = typed(layer, &SCALES)?;
        let zeros = typed(layer, &QZEROS)?;
        let expected = [matrix(scales)?[0], sides[0] / PER_WORD];
        if matrix(zeros)? != expected {
            return Err(misfit(zeros, &format!("{expected:?}")));
        }
        let group = Groups::equal(layer, sides[1], scales)?;
        let packing = Shuffled { word_columns: sides[0] / PER_WORD };
        Ok(Box::new(ColumnDecoder::new(packing, sides, scales, SCALES.leaf, group)?))
    }
}

/// Words of eight outputs.
struct Shuffled {
    /// Words in a row.
    word_columns: u64,
}

impl Shuffled {
    /// Words of a row that hold some outputs.
    fn words(outputs: &Range<u64>) -> Range<u64> {
        outputs.start / PER_WORD..outputs.end.div_ceil(PER_WORD)
    }

    fn slab(&self, leaf: &'static str, rows: Range<u64>, outputs: &Range<u64>) -> Slab {
        let words = Self::words(outputs);
        let bytes = words.start * 4..words.end.saturating_mul(4);
        Slab::rectangle(leaf, self.word_columns.saturating_mul(4), rows, bytes)
    }

    /// The nibble of an output in a row of a part.
    fn nibble(bytes: &[u8], outputs: &Range<u64>, row: u64, output: u64) -> Option<f32> {
        let words = Self::words(outputs);
        let width = words.end.checked_sub(words.start)?;
        let column = (output / PER_WORD).checked_sub(words.start)?;
        let word = word_at(bytes, row.checked_mul(width)?.checked_add(column)?)?;
        let slot = NIBBLES.get(usize::try_from(output % PER_WORD).ok()?)?;
        Some(small((word >> (4 * slot)) & 15))
    }
}

impl Packing for Shuffled {
    fn column_unit(&self) -> u64 {
        1
    }

    fn codes(&self, region: &Region) -> Slab {
        self.slab(QWEIGHT.leaf, region.cols.clone(), &region.rows)
    }

    fn zeros(&self, region: &Region, groups: u64) -> Slab {
        self.slab(QZEROS.leaf, 0..groups, &region.rows)
    }

    fn column(&self, region: &Region, bytes: &[u8], output: u64, codes: &mut Vec<u8>) {
        codes.clear();
        let words = Self::words(&region.rows);
        let width = index(words.end.saturating_sub(words.start)).max(1);
        let column = index((output / PER_WORD).saturating_sub(words.start));
        let Some(slot) = usize::try_from(output % PER_WORD).ok().and_then(|at| NIBBLES.get(at)) else {
            return;
        };
        // The nibble lies in the byte at half its number.
        let (byte, shift) = (usize::try_from(slot / 2).unwrap_or(0), 4 * (slot % 2));
        let nibble = |word: &[u8; 4]| word.get(byte).map_or(0, |&byte| (byte >> shift) & 15);
        codes.extend(bytes.as_chunks::<4>().0.iter().skip(column).step_by(width).map(nibble));
    }

    fn zero(&self, region: &Region, bytes: &[u8], group: u64, output: u64) -> Option<f32> {
        Self::nibble(bytes, &region.rows, group, output)
    }
}
