//! Integers stored by columns, as GPTQ and AWQ do: `[K, N]` packed in words, zero points and scales `[G, N]`.
//!
//! w[n, k] = scales[g, n] * (q[k, n] - z[g, n]), the difference exact, the product rounded once.

use crate::decode::{Decoder, Refusal, Region, Slab};
use crate::layer::{LayerView, Stored};
use crate::parts::bytes::{floats, index, part};
use crate::parts::foreign::misfit;
use crate::parts::shapes::{expect_elements, matrix};
use futures_util::future::{LocalBoxFuture, ready};
use quantscope_kernels::{Engine, EngineError};
use quantscope_numeric::Dtype;
use std::ops::Range;

/// How codes and zero points lie in words. A region's rows are outputs (N), its columns inputs (K).
pub(crate) trait Packing {
    /// Inputs at whose multiples a region may begin.
    fn column_unit(&self) -> u64;
    /// The bytes that hold the codes of a region.
    fn codes(&self, region: &Region) -> Slab;
    /// The bytes that hold its zero points, of all groups.
    fn zeros(&self, region: &Region, groups: u64) -> Slab;
    /// Codes of an output for all inputs of a region, from the bytes of [`Self::codes`]; fewer where bytes are
    /// missing.
    fn column(&self, region: &Region, bytes: &[u8], output: u64, codes: &mut Vec<u8>);
    /// A zero point, from the bytes of [`Self::zeros`].
    fn zero(&self, region: &Region, bytes: &[u8], group: u64, output: u64) -> Option<f32>;
}

/// The word at a place of a tensor's part.
pub(crate) fn word_at(bytes: &[u8], place: u64) -> Option<u32> {
    let from = index(place.checked_mul(4)?);
    bytes.get(from..from.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

/// A code or a zero point, which has at most eight bits, as F32.
pub(crate) fn small(value: u32) -> f32 {
    u8::try_from(value).map_or(f32::NAN, f32::from)
}

/// Which group an input is of.
pub(crate) enum Groups {
    /// As a tensor says.
    Stored(&'static str),
    /// So many neighbours each.
    Equal(u64),
}

impl Groups {
    /// A stored map, which must have an entry for each input.
    pub(crate) fn stored(map: Stored<'_>, leaf: &'static str, inputs: u64) -> Result<Self, Refusal> {
        expect_elements(map, Some(inputs))?;
        Ok(Self::Stored(leaf))
    }

    /// Neighbours: as many as the config says, if that many fit the rows of `scales`; else equal parts.
    pub(crate) fn equal(layer: &LayerView<'_>, inputs: u64, scales: Stored<'_>) -> Result<Self, Refusal> {
        let groups = scales.shape.first().copied().unwrap_or(0);
        let stated = layer.facts.config_number("group_size").filter(|&g| g > 0);
        if let Some(size) = stated.filter(|&g| inputs.div_ceil(g) == groups) {
            return Ok(Self::Equal(size));
        }
        let size = inputs.checked_div(groups).filter(|&size| size > 0 && inputs.is_multiple_of(groups));
        let size = size.ok_or_else(|| misfit(scales, &format!("equal groups of {inputs} inputs")))?;
        Ok(Self::Equal(size))
    }

    fn slab(&self, inputs: &Range<u64>) -> Option<Slab> {
        let Self::Stored(leaf) = self else { return None };
        let len = inputs.end.saturating_sub(inputs.start).saturating_mul(4);
        Some(Slab::range(*leaf, inputs.start.saturating_mul(4), len))
    }

    /// The group of an input; `None` where the map says a negative one.
    fn of(&self, inputs: &Range<u64>, map: &[u8], input: u64) -> Option<u64> {
        match self {
            Self::Equal(size) => input.checked_div(*size),
            Self::Stored(_) => {
                let group = word_at(map, input.checked_sub(inputs.start)?)?.cast_signed();
                u64::try_from(group).ok()
            }
        }
    }
}

/// Decodes such a layer.
pub(crate) struct ColumnDecoder<P> {
    packing: P,
    /// Outputs and inputs.
    sides: [u64; 2],
    groups: u64,
    group: Groups,
    scales: &'static str,
    scale_dtype: Dtype,
}

impl<P: Packing> ColumnDecoder<P> {
    /// `scales` must be `[G, N]`.
    pub(crate) fn new(
        packing: P,
        sides: [u64; 2],
        scales: Stored<'_>,
        leaf: &'static str,
        group: Groups,
    ) -> Result<Self, Refusal> {
        let [groups, outputs] = matrix(scales)?;
        if outputs != sides[0] {
            return Err(misfit(scales, &format!("[{groups}, {}]", sides[0])));
        }
        Ok(Self { packing, sides, groups, group, scales: leaf, scale_dtype: scales.dtype })
    }

    fn decode_region(&self, region: &Region, parts: &[Vec<u8>], out: &mut Vec<f32>) {
        let (codes, zero_words) = (part(parts, 0), part(parts, 1));
        let (scales, map) = (floats(self.scale_dtype, part(parts, 2)), part(parts, 3));
        let groups: Vec<Option<u64>> = region
            .cols
            .clone()
            .map(|input| self.group.of(&region.cols, map, input).filter(|&g| g < self.groups))
            .collect();
        let width = region.rows.end.saturating_sub(region.rows.start);
        let mut column = Vec::new();
        for output in region.rows.clone() {
            self.packing.column(region, codes, output, &mut column);
            let mut last = None;
            let (mut zero, mut scale) = (f32::NAN, f32::NAN);
            for (at, &group) in groups.iter().enumerate() {
                if group != last || group.is_none() {
                    last = group;
                    let zero_of = |g| self.packing.zero(region, zero_words, g, output);
                    let place = |g: u64| g.checked_mul(width)?.checked_add(output - region.rows.start);
                    let scale_of = |g| scales.get(index(place(g)?)).copied();
                    zero = group.and_then(zero_of).unwrap_or(f32::NAN);
                    scale = group.and_then(scale_of).unwrap_or(f32::NAN);
                }
                let code = column.get(at).map_or(f32::NAN, |&code| f32::from(code));
                out.push((code - zero) * scale);
            }
        }
    }
}

impl<P: Packing> Decoder for ColumnDecoder<P> {
    fn shape(&self) -> Vec<u64> {
        self.sides.to_vec()
    }

    fn extent(&self) -> [u64; 2] {
        self.sides
    }

    fn column_unit(&self) -> u64 {
        self.packing.column_unit()
    }

    fn needs(&self, region: &Region) -> Vec<Slab> {
        let width = self.scale_dtype.bits() / 8;
        let outputs = region.rows.start.saturating_mul(width)..region.rows.end.saturating_mul(width);
        let row = self.sides[0].saturating_mul(width);
        let mut slabs = vec![
            self.packing.codes(region),
            self.packing.zeros(region, self.groups),
            Slab::rectangle(self.scales, row, 0..self.groups, outputs),
        ];
        slabs.extend(self.group.slab(&region.cols));
        slabs
    }

    fn decode<'a>(
        &'a self,
        _engine: &'a dyn Engine,
        region: &'a Region,
        parts: &'a [Vec<u8>],
        out: &'a mut Vec<f32>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        self.decode_region(region, parts, out);
        Box::pin(ready(Ok(())))
    }
}
