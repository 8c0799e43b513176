//! Decoding E2M1 codes, two to a byte with the even column in the low nibble, under the scales of blocks:
//! rows of blocks, with scales beside them, padded or in tiles; and stacks whose blocks run down the columns.
//!
//! Source: `formats.md` b (dequant, stacks) and e (MX), f (padding and tiles).

use crate::arrangement::{Arrangement, PackedForm, TILE_COLS, TILE_ROWS, tiled_offset};
use crate::decode::{Decoder, Refusal, Region, Slab};
use crate::layer::{LayerView, Stored};
use crate::layout_note::LayoutNote;
use crate::parts::bytes::{index, part, room, scalar};
use crate::parts::shapes::{expect_elements, expect_type, matrix, needed, text};
use futures_util::future::{LocalBoxFuture, ready};
use quantscope_kernels::error_metrics::ErrorMetrics;
use quantscope_kernels::{Engine, EngineError, FloatTile, Fp4DecodeTable, Fp4Tile, Nibbles};
use quantscope_numeric::{Dtype, e2m1, e4m3};
use std::borrow::Cow;
use std::ops::Range;

/// What a scale byte stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Factor {
    /// E4M3, times one F32 for the tensor that stands under a leaf.
    E4m3(&'static str),
    /// E8M0.
    E8m0,
}

impl Factor {
    /// Types of the scale bytes.
    fn types(self) -> &'static [Dtype] {
        match self {
            Self::E4m3(_) => &[Dtype::F8_E4M3],
            Self::E8m0 => &[Dtype::U8, Dtype::F8_E8M0],
        }
    }
}

/// The bytes of scales that a region of rows and blocks needs.
fn scale_slab(lie: Arrangement, leaf: &'static str, rows: &Range<u64>, blocks: &Range<u64>) -> Slab {
    if !lie.is_tiled {
        return Slab::rectangle(leaf, lie.cols, rows.clone(), blocks.clone());
    }
    // Tiles of a band stand side by side.
    let tile = TILE_ROWS * TILE_COLS;
    let bands = rows.start / TILE_ROWS..rows.end.div_ceil(TILE_ROWS);
    let tiles = blocks.start / TILE_COLS..blocks.end.div_ceil(TILE_COLS);
    let bytes = tiles.start.saturating_mul(tile)..tiles.end.saturating_mul(tile);
    Slab::rectangle(leaf, (lie.cols / TILE_COLS).saturating_mul(tile), bands, bytes)
}

/// The scales of a region row by row, out of the bytes of [`scale_slab`].
fn scales_of<'a>(lie: Arrangement, rows: &Range<u64>, blocks: &Range<u64>, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    if !lie.is_tiled {
        return Cow::Borrowed(bytes);
    }
    let (first_row, first_block) = (rows.start / TILE_ROWS * TILE_ROWS, blocks.start / TILE_COLS * TILE_COLS);
    let wide = (blocks.end.div_ceil(TILE_COLS) * TILE_COLS).saturating_sub(first_block);
    let mut gathered = Vec::new();
    for row in rows.clone() {
        for block in blocks.clone() {
            let at = tiled_offset(row - first_row, block - first_block, wide);
            // What is not there is NaN, so that nothing is decoded by accident.
            gathered.push(bytes.get(index(at)).copied().unwrap_or(e4m3::NAN_BYTE));
        }
    }
    Cow::Owned(gathered)
}

/// The table of a tensor's codes under each scale byte.
fn table(factor: Factor, global: f32) -> Fp4DecodeTable {
    match factor {
        Factor::E4m3(_) => Fp4DecodeTable::e4m3(global, Nibbles::LowFirst),
        Factor::E8m0 => Fp4DecodeTable::e8m0(Nibbles::LowFirst),
    }
}

/// Checks the one number of a tensor; answers its type.
fn global_dtype(layer: &LayerView<'_>, factor: Factor) -> Result<Option<(&'static str, Dtype)>, Refusal> {
    let Factor::E4m3(leaf) = factor else { return Ok(None) };
    let stored = needed(layer, leaf)?;
    expect_elements(stored, Some(1))?;
    expect_type(stored, &[Dtype::F32])?;
    Ok(Some((leaf, stored.dtype)))
}

/// How the codes and scales of a layer of matrices lie, in blocks of `block` weights.
///
/// # Errors
/// If not every block has its scale.
pub(crate) fn packed_form(
    layer: &LayerView<'_>,
    [weight, scale]: [&'static str; 2],
    block: u64,
) -> Result<PackedForm, Refusal> {
    let (codes, scales) = (needed(layer, weight)?, needed(layer, scale)?);
    let [rows, bytes] = matrix(codes)?;
    let cols = bytes.saturating_mul(2);
    let note = LayoutNote::of(layer);
    let lie = matrix(scales)
        .ok()
        .filter(|_| cols.is_multiple_of(block))
        .and_then(|sides| Arrangement::of_scales(sides, [rows, cols / block], note.map(|n| n.is_tiled)));
    let lie = lie.ok_or_else(|| unfit(codes, scales, block))?;
    let within = |[n, k]: [u64; 2]| n <= rows && k <= cols && k.is_multiple_of(block) && n > 0 && k > 0;
    let noted = note.map(|n| n.shape).filter(|&shape| within(shape));
    Ok(PackedForm {
        codes: (weight, Arrangement::plain([rows, bytes])),
        scales: (scale, lie),
        shape: noted.unwrap_or([rows, cols]),
        is_shape_known: noted.is_some(),
        block,
    })
}

fn unfit(codes: Stored<'_>, scales: Stored<'_>, block: u64) -> Refusal {
    let reason = format!(
        "has `{}` {} beside `{}` {}, in blocks of {block}",
        scales.leaf,
        text(scales.shape),
        codes.leaf,
        text(codes.shape)
    );
    Refusal::new(reason, "export the layer again")
}

/// Decodes rows of blocks.
pub(crate) struct RowBlocks {
    shape: Vec<u64>,
    /// Rows and columns without padding.
    extent: [u64; 2],
    /// Bytes of a row of codes as stored.
    row_bytes: u64,
    block: u64,
    weight: &'static str,
    scale: &'static str,
    factor: Factor,
    global: Option<(&'static str, Dtype)>,
    scales: Arrangement,
}

impl RowBlocks {
    /// Checks that every block has its scale. Weights `[N, bytes]`, or `[E, N, bytes]` with plain scales.
    pub(crate) fn new(
        layer: &LayerView<'_>,
        [weight, scale]: [&'static str; 2],
        factor: Factor,
        block: u64,
    ) -> Result<Self, Refusal> {
        let (codes, scales) = (needed(layer, weight)?, needed(layer, scale)?);
        expect_type(codes, &[Dtype::U8])?;
        expect_type(scales, factor.types())?;
        let global = global_dtype(layer, factor)?;
        if let [experts, rows, row_bytes] = *codes.shape {
            let cols = row_bytes.saturating_mul(2);
            let blocks = cols / block;
            if !cols.is_multiple_of(block) || scales.shape != [experts, rows, blocks] {
                return Err(unfit(codes, scales, block));
            }
            let all = experts.saturating_mul(rows);
            let (shape, extent) = (vec![experts, rows, cols], [all, cols]);
            let scales = Arrangement::plain([all, blocks]);
            return Ok(Self { shape, extent, row_bytes, block, weight, scale, factor, global, scales });
        }
        let form = packed_form(layer, [weight, scale], block)?;
        let (shape, extent) = (form.shape.to_vec(), form.shape);
        let (row_bytes, scales) = (form.codes.1.cols, form.scales.1);
        Ok(Self { shape, extent, row_bytes, block, weight, scale, factor, global, scales })
    }

    fn blocks(&self, region: &Region) -> Range<u64> {
        region.cols.start / self.block..region.cols.end.div_ceil(self.block)
    }

    /// The tile of a region.
    fn tile<'a>(&self, region: &Region, codes: &'a [u8], scales: &'a [u8]) -> Fp4Tile<'a> {
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let blocks = self.blocks(region);
        Fp4Tile {
            codes,
            scales,
            rows: narrow(region.rows.end.saturating_sub(region.rows.start)),
            blocks: narrow(blocks.end.saturating_sub(blocks.start)),
            block: narrow(self.block),
        }
    }

    /// The values of codes, under the part that holds the tensor's one number.
    fn table(&self, global: Option<&[u8]>) -> Fp4DecodeTable {
        table(self.factor, self.global.map_or(1.0, |(_, dtype)| scalar(dtype, global)))
    }
}

impl Decoder for RowBlocks {
    fn shape(&self) -> Vec<u64> {
        self.shape.clone()
    }

    fn extent(&self) -> [u64; 2] {
        self.extent
    }

    fn column_unit(&self) -> u64 {
        self.block
    }

    fn needs(&self, region: &Region) -> Vec<Slab> {
        let (rows, cols) = (&region.rows, &region.cols);
        let bytes = cols.start / 2..cols.end.div_ceil(2);
        let mut slabs = vec![
            Slab::rectangle(self.weight, self.row_bytes, rows.clone(), bytes),
            scale_slab(self.scales, self.scale, rows, &self.blocks(region)),
        ];
        slabs.extend(self.global.map(|(leaf, dtype)| Slab::range(leaf, 0, dtype.bits() / 8)));
        slabs
    }

    fn decode<'a>(
        &'a self,
        engine: &'a dyn Engine,
        region: &'a Region,
        parts: &'a [Vec<u8>],
        out: &'a mut Vec<f32>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            let codes = part(parts, 0);
            let scales = scales_of(self.scales, &region.rows, &self.blocks(region), part(parts, 1));
            let tile = self.tile(region, codes, &scales);
            let bits = room(out, codes.len().saturating_mul(2));
            engine.fp4_decode(tile, &self.table(parts.get(2).map(Vec::as_slice)), bits).await?;
            Ok(())
        })
    }

    fn errors<'a>(
        &'a self,
        engine: &'a dyn Engine,
        region: &'a Region,
        parts: &'a [Cow<'a, [u8]>],
        source: FloatTile<'a>,
    ) -> LocalBoxFuture<'a, Result<Option<ErrorMetrics>, EngineError>> {
        Box::pin(async move {
            let part = |at: usize| parts.get(at).map(Cow::as_ref);
            let codes = part(0).unwrap_or_default();
            let stored = part(1).unwrap_or_default();
            let scales = scales_of(self.scales, &region.rows, &self.blocks(region), stored);
            let tile = self.tile(region, codes, &scales);
            engine.fp4_errors(source, tile, &self.table(part(2))).await.map(Some)
        })
    }
}

/// Decodes a stack `[E, in / 2, out]` whose blocks run along `in`, with scales `[E, in / block, out]`: to
/// `[E, in, out]`.
pub(crate) struct ColumnBlocks {
    shape: [u64; 3],
    block: u64,
    weight: &'static str,
    scale: &'static str,
    global: (&'static str, Dtype),
}

impl ColumnBlocks {
    /// Whether the scales of a stack lie so.
    pub(crate) fn fits(weight: &[u64], scale: &[u64], block: u64) -> bool {
        match (weight, scale) {
            (&[experts, half, out], &[e, blocks, o]) => {
                experts == e && out == o && half.checked_mul(2) == blocks.checked_mul(block)
            }
            _ => false,
        }
    }

    /// Makes a stack ready for which [`Self::fits`] holds.
    pub(crate) fn new(
        layer: &LayerView<'_>,
        [weight, scale, global]: [&'static str; 3],
        block: u64,
    ) -> Result<Self, Refusal> {
        let (codes, whole) = (needed(layer, weight)?, needed(layer, global)?);
        expect_type(codes, &[Dtype::U8])?;
        expect_type(needed(layer, scale)?, Factor::E4m3(global).types())?;
        expect_type(whole, &[Dtype::F32])?;
        let &[experts, half, out] = codes.shape else {
            let reason = format!("has `{weight}` {}, where a stack is expected", text(codes.shape));
            return Err(Refusal::new(reason, "export the layer again"));
        };
        expect_elements(whole, Some(1))?;
        let shape = [experts, half.saturating_mul(2), out];
        Ok(Self { shape, block, weight, scale, global: (global, whole.dtype) })
    }
}

impl Decoder for ColumnBlocks {
    fn shape(&self) -> Vec<u64> {
        self.shape.to_vec()
    }

    fn extent(&self) -> [u64; 2] {
        let [experts, rows, cols] = self.shape;
        [experts.saturating_mul(rows), cols]
    }

    // An expert's rows are whole blocks and whole bytes, so those of all experts count on.
    fn needs(&self, region: &Region) -> Vec<Slab> {
        let (rows, [.., out]) = (&region.rows, self.shape);
        let pairs = rows.start / 2..rows.end.div_ceil(2);
        let blocks = rows.start / self.block..rows.end.div_ceil(self.block);
        vec![
            Slab::rectangle(self.weight, out, pairs, region.cols.clone()),
            Slab::rectangle(self.scale, out, blocks, region.cols.clone()),
            Slab::range(self.global.0, 0, self.global.1.bits() / 8),
        ]
    }

    fn decode<'a>(
        &'a self,
        _engine: &'a dyn Engine,
        region: &'a Region,
        parts: &'a [Vec<u8>],
        out: &'a mut Vec<f32>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        let global = scalar(self.global.1, parts.get(2).map(Vec::as_slice));
        let width = index(region.cols.end.saturating_sub(region.cols.start)).max(1);
        let line = |at: usize, row: u64, first: u64| {
            part(parts, at).chunks(width).nth(index(row.saturating_sub(first))).unwrap_or_default()
        };
        for row in region.rows.clone() {
            let codes = line(0, row / 2, region.rows.start / 2);
            let scales = line(1, row / self.block, region.rows.start / self.block);
            for (&byte, &scale) in codes.iter().zip(scales) {
                let code = if row % 2 == 0 { byte & 15 } else { byte >> 4 };
                out.push(e2m1::decode(code) * (e4m3::decode(scale) * global));
            }
        }
        Box::pin(ready(Ok(())))
    }
}
