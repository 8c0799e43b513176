//! How the tensors of one module are cut: a stack into its experts, a fused matrix into its parts, each companion of
//! a quantized weight along with it.
//!
//! Source: `formats.md` i, "Split leaves", and e and f for how scales lie beside rows. Other than the reference, whose
//! splits leave `pre_quant_scale` behind and cut scale tiles, companions all come along, and what would not mean the
//! same afterwards is refused.

use quantscope_format::TensorInfo;
use quantscope_schemes::Role;
use std::ops::Range;

/// How a module is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Number of experts, where the module is a stack of them: the first dimension of its tensors.
    pub(crate) experts: Option<u64>,
    /// Number of parts that the rows of each are cut into.
    pub(crate) parts: u64,
    /// Rows of the logical weight, those of one expert in a stack.
    pub(crate) rows: u64,
    /// Columns of the logical weight.
    pub(crate) cols: u64,
    /// Rows of weights that share a row of scales; `None` if one scale serves them all.
    pub(crate) scale_rows: Option<u64>,
}

/// A part of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slice {
    /// Which expert has it; 0 where there are none.
    pub(crate) expert: u64,
    /// Which part of the rows it is.
    pub(crate) part: u64,
    /// Dimensions.
    pub(crate) shape: Vec<u64>,
    /// Bytes within the tensor.
    pub(crate) bytes: Range<u64>,
}

/// What the rows of a weight do to a tensor beside it.
enum Along {
    /// Each part has all of it.
    Whole,
    /// Each part has its share of the first dimension, an entry of which stands for so many rows.
    Rows(u64),
}

fn shape_text(shape: &[u64]) -> String {
    format!("{shape:?}")
}

impl Cut {
    /// Cuts a tensor.
    ///
    /// # Errors
    /// Why it cannot be cut so that each part means what it meant in the whole.
    pub(crate) fn slices(
        &self,
        role: Role,
        leaf: &str,
        tensor: TensorInfo<'_>,
    ) -> Result<Vec<Slice>, String> {
        let experts = self.experts.unwrap_or(1);
        let is_scalar = matches!(tensor.shape, [] | [1]);
        // A single number serves all experts, unless there is but one.
        let stacked = self.experts.is_some() && !is_scalar;
        let own: &[u64] = match (stacked, tensor.shape.split_first()) {
            (true, Some((&first, rest))) if first == experts => rest,
            (true, _) => {
                return Err(format!(
                    "has `{leaf}` {} beside {experts} experts, which is not one for each",
                    shape_text(tensor.shape)
                ));
            }
            (false, _) => tensor.shape,
        };
        let shares = if stacked { experts } else { 1 };
        let (pieces, shape) = match self.along(role, leaf, own)? {
            // A single number of an expert has no dimensions of its own.
            Along::Whole if stacked && role != Role::Correction => (1, Vec::new()),
            Along::Whole => (1, own.to_vec()),
            Along::Rows(entry_rows) => (self.parts, self.part_shape(leaf, own, entry_rows)?),
        };
        let length = shares.checked_mul(pieces).filter(|&n| n > 0 && tensor.byte_len().is_multiple_of(n));
        let Some(length) = length.map(|n| tensor.byte_len() / n) else {
            return Err(format!("has `{leaf}` {}, which cannot be divided", shape_text(tensor.shape)));
        };
        let slices = (0..experts).flat_map(|expert| (0..self.parts).map(move |part| (expert, part)));
        Ok(slices
            .map(|(expert, part)| {
                let at = expert.min(shares - 1).saturating_mul(pieces).saturating_add(part.min(pieces - 1));
                let bytes = at.saturating_mul(length)..at.saturating_add(1).saturating_mul(length);
                Slice { expert, part, shape: shape.clone(), bytes }
            })
            .collect())
    }

    /// What the parts have of a tensor of shape `own`, the experts' dimension taken off.
    fn along(&self, role: Role, leaf: &str, own: &[u64]) -> Result<Along, String> {
        let rows_of = |role: &str| -> Result<Along, String> {
            match own.first() {
                Some(&first) if first == self.rows => Ok(Along::Rows(1)),
                _ => Err(format!(
                    "has `{leaf}` {} beside {} rows, which is no {role} of each row",
                    shape_text(own),
                    self.rows
                )),
            }
        };
        let is_scalar = matches!(own, [] | [1]);
        match role {
            // Packed rows stand two to an entry in row-packed INT4, one in all else.
            Role::Weight => match own.first() {
                Some(&first) if first > 0 && self.rows.is_multiple_of(first) => {
                    Ok(Along::Rows(self.rows / first))
                }
                _ => Err(format!(
                    "has `{leaf}` {} for {} rows, which do not go with each other",
                    shape_text(own),
                    self.rows
                )),
            },
            Role::WeightScale | Role::ZeroPoint if !is_scalar => match self.scale_rows {
                Some(1) => rows_of("scale"),
                Some(tile) if own.first() == Some(&self.rows.div_ceil(tile.max(1))) => Ok(Along::Rows(tile)),
                Some(tile) => Err(format!(
                    "has `{leaf}` {} for {} rows in tiles of {tile}, which do not go with each other",
                    shape_text(own),
                    self.rows
                )),
                None if own.iter().all(|&side| side == 1) => Ok(Along::Whole),
                None => rows_of("scale"),
            },
            Role::Bias => rows_of("bias"),
            // Factors on columns are the same for all rows; others, such as the second of two low-rank matrices,
            // have a row for each.
            Role::Correction if own.last() != Some(&self.cols) => rows_of("correction"),
            Role::Correction | Role::WeightScale | Role::ZeroPoint => Ok(Along::Whole),
            Role::GlobalScale | Role::InputScale | Role::Other if own.iter().all(|&side| side == 1) => {
                Ok(Along::Whole)
            }
            Role::GlobalScale | Role::InputScale | Role::Other => Err(format!(
                "has `{leaf}` {}, of which nobody can tell how it goes with rows",
                shape_text(own)
            )),
            Role::Layout | Role::KvScale | Role::QuantizerState => {
                Err(format!("has `{leaf}`, which is of the whole and means nothing for a part"))
            }
        }
    }

    /// The shape of a part of a tensor, an entry of whose first dimension stands for `entry_rows` rows.
    fn part_shape(&self, leaf: &str, own: &[u64], entry_rows: u64) -> Result<Vec<u64>, String> {
        if self.parts < 2 {
            return Ok(own.to_vec());
        }
        if !self.rows.is_multiple_of(self.parts) {
            return Err(format!("has {} rows, which are not {} equal parts", self.rows, self.parts));
        }
        let part_rows = self.rows / self.parts;
        if !part_rows.is_multiple_of(entry_rows) {
            return Err(format!(
                "would be cut after row {part_rows}, inside one of the entries of `{leaf}`, which stand for \
                 {entry_rows} rows each"
            ));
        }
        let mut shape = own.to_vec();
        if let Some(first) = shape.first_mut() {
            *first = part_rows / entry_rows;
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quantscope_numeric::Dtype;

    fn tensor(dtype: Dtype, shape: &[u64]) -> TensorInfo<'_> {
        let elements: u64 = shape.iter().product();
        let length = elements * dtype.bits() / 8;
        TensorInfo { name: "t", dtype, shape, begin: 1000, end: 1000 + length }
    }

    fn cut(rows: u64, parts: u64, scale_rows: Option<u64>) -> Cut {
        Cut { experts: None, parts, rows, cols: 32, scale_rows }
    }

    /// Shapes and bytes of the parts of a tensor, by hand.
    #[test]
    fn rows_are_cut_and_numbers_copied() {
        let halves = |role, t: TensorInfo<'_>| {
            let slices = cut(96, 2, Some(1)).slices(role, "x", t).unwrap();
            slices.into_iter().map(|s| (s.shape, s.bytes)).collect::<Vec<_>>()
        };
        let weight = tensor(Dtype::U8, &[96, 16]);
        assert_eq!(halves(Role::Weight, weight), [(vec![48, 16], 0..768), (vec![48, 16], 768..1536)]);
        let packed = tensor(Dtype::U8, &[48, 32]);
        assert_eq!(halves(Role::Weight, packed), [(vec![24, 32], 0..768), (vec![24, 32], 768..1536)]);
        let scale = tensor(Dtype::F8_E4M3, &[96, 2]);
        assert_eq!(halves(Role::WeightScale, scale), [(vec![48, 2], 0..96), (vec![48, 2], 96..192)]);
        let number = tensor(Dtype::F32, &[]);
        for role in [Role::GlobalScale, Role::InputScale, Role::WeightScale, Role::Other] {
            assert_eq!(halves(role, number), [(vec![], 0..4), (vec![], 0..4)]);
        }
        let factors = tensor(Dtype::BF16, &[32]);
        assert_eq!(halves(Role::Correction, factors), [(vec![32], 0..64), (vec![32], 0..64)]);
        let low_rank = tensor(Dtype::BF16, &[96, 4]);
        assert_eq!(halves(Role::Correction, low_rank), [(vec![48, 4], 0..384), (vec![48, 4], 384..768)]);
        assert_eq!(halves(Role::Bias, tensor(Dtype::BF16, &[96]))[1], (vec![48], 96..192));
    }

    #[test]
    fn what_a_cut_would_break_is_refused() {
        let refused =
            |cut: Cut, role, shape: &[u64]| cut.slices(role, "x", tensor(Dtype::U8, shape)).unwrap_err();
        assert!(refused(cut(7, 2, Some(1)), Role::Weight, &[7, 8]).contains("7 rows"));
        // Two tiles of 128 rows, cut after row 96.
        let tiles = refused(cut(192, 2, Some(128)), Role::WeightScale, &[2, 1]);
        assert!(tiles.contains("after row 96") && tiles.contains("128 rows each"), "{tiles}");
        // One tile that serves both parts is no whole tile of either.
        assert!(refused(cut(128, 2, Some(128)), Role::WeightScale, &[1, 1]).contains("after row 64"));
        // Rows packed two by two, cut after row 3.
        assert!(refused(cut(6, 2, Some(1)), Role::Weight, &[3, 8]).contains("2 rows each"));
        assert!(refused(cut(96, 2, Some(1)), Role::WeightScale, &[95, 2]).contains("95"));
        assert!(refused(cut(96, 2, Some(128)), Role::WeightScale, &[3, 2]).contains("tiles of 128"));
        assert!(refused(cut(96, 2, Some(1)), Role::Other, &[3]).contains("nobody can tell"));
        assert!(refused(cut(96, 2, Some(1)), Role::Layout, &[2]).contains("means nothing"));
        for hostile in [0, 1, u64::MAX] {
            let hostile = Cut { experts: Some(hostile), ..cut(u64::MAX, 2, Some(0)) };
            assert!(hostile.slices(Role::WeightScale, "x", tensor(Dtype::U8, &[2, 3])).is_err());
        }
    }

    #[test]
    fn experts_take_their_own() {
        let stack = Cut { experts: Some(3), parts: 2, rows: 256, cols: 32, scale_rows: Some(128) };
        let bytes = |role, t: TensorInfo<'_>| {
            let slices = stack.slices(role, "x", t).unwrap();
            slices.into_iter().map(|s| (s.expert, s.part, s.shape, s.bytes)).collect::<Vec<_>>()
        };
        let weight = bytes(Role::Weight, tensor(Dtype::F8_E4M3, &[3, 256, 32]));
        assert_eq!(weight.len(), 6);
        assert_eq!(weight[3], (1, 1, vec![128, 32], 3 * 4096..4 * 4096));
        let scale = bytes(Role::WeightScale, tensor(Dtype::F32, &[3, 2, 1]));
        assert_eq!(scale[4], (2, 0, vec![1, 1], 16..20));
        // A number for each expert, and one for all.
        assert_eq!(bytes(Role::GlobalScale, tensor(Dtype::F32, &[3]))[3], (1, 1, vec![], 4..8));
        assert_eq!(bytes(Role::GlobalScale, tensor(Dtype::F32, &[3, 1, 1]))[5], (2, 1, vec![], 8..12));
        assert_eq!(bytes(Role::InputScale, tensor(Dtype::F32, &[]))[3], (1, 1, vec![], 0..4));
        let error = stack.slices(Role::Weight, "x", tensor(Dtype::U8, &[4, 256, 16])).unwrap_err();
        assert!(error.contains("3 experts"), "{error}");
    }
}
