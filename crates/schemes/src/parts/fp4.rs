//! Decoding E2M1 codes, two to a byte with the even column in the low nibble, under the scales of blocks:
//! rows of blocks, with scales beside them, padded or in tiles; and stacks whose blocks run down the columns.
//!
//! Source: `formats.md` b (dequant, stacks) and e (MX), f (padding and tiles).

use crate::decode::{Decoder, Refusal, Region, Slab};
use crate::layer::LayerView;
use crate::parts::bytes::{index, part, scalar};
use crate::parts::shapes::{expect_elements, expect_type, matrix, needed, round_up, text};
use futures_util::future::{LocalBoxFuture, ready};
use quantscope_kernels::{Engine, EngineError, Fp4DecodeTable, Fp4Tile, Nibbles};
use quantscope_numeric::{Dtype, e2m1, e4m3};

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

/// Where the scale of a block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Row-major, so many scales a row; the last may be padding.
    Rows(u64),
    /// In tiles of 128 rows by 4 columns, so many columns.
    Tiles(u64),
}

impl Placement {
    /// How scales of shape `stored` lie beside `rows` rows of `blocks` blocks.
    pub(crate) fn of(stored: &[u64], rows: u64, blocks: u64) -> Option<Self> {
        match *stored {
            [r, c] if r == rows && (c == blocks || c == round_up(blocks, 16)) => Some(Self::Rows(c)),
            [r, c] if r == round_up(rows, 128) && (c == round_up(blocks, 4) || c == round_up(blocks, 16)) => {
                Some(Self::Tiles(c))
            }
            [r, c] if r == round_up(rows, 16) && (c == blocks || c == round_up(blocks, 16)) => {
                Some(Self::Rows(c))
            }
            _ => None,
        }
    }

    fn needs(self, leaf: &'static str, rows: &std::ops::Range<u64>, blocks: &std::ops::Range<u64>) -> Slab {
        match self {
            Self::Rows(stride) => Slab::rectangle(leaf, stride, rows.clone(), blocks.clone()),
            Self::Tiles(wide) => {
                // 512 bytes a tile, tiles of a band side by side.
                let bands = rows.start / 128..rows.end.div_ceil(128);
                let tiles = blocks.start / 4..blocks.end.div_ceil(4);
                let bytes = tiles.start.saturating_mul(512)..tiles.end.saturating_mul(512);
                Slab::rectangle(leaf, (wide / 4).saturating_mul(512), bands, bytes)
            }
        }
    }

    /// The scales of a region row by row, out of the bytes of [`Self::needs`].
    fn gather(self, rows: &std::ops::Range<u64>, blocks: &std::ops::Range<u64>, bytes: &[u8]) -> Vec<u8> {
        if let Self::Rows(_) = self {
            return bytes.to_vec();
        }
        let (first_band, first_tile) = (rows.start / 128, blocks.start / 4);
        let tiles = blocks.end.div_ceil(4).saturating_sub(first_tile);
        let mut gathered = Vec::new();
        for row in rows.clone() {
            for block in blocks.clone() {
                let tile = (row / 128 - first_band) * tiles + (block / 4 - first_tile);
                let at = tile * 512 + (row % 32) * 16 + (row % 128) / 32 * 4 + block % 4;
                // What is not there is NaN, so that nothing is decoded by accident.
                gathered.push(bytes.get(index(at)).copied().unwrap_or(e4m3::NAN_BYTE));
            }
        }
        gathered
    }
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

/// Decodes rows of blocks.
pub(crate) struct RowBlocks {
    shape: Vec<u64>,
    rows: u64,
    cols: u64,
    block: u64,
    weight: &'static str,
    scale: &'static str,
    factor: Factor,
    global: Option<(&'static str, Dtype)>,
    placement: Placement,
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
        let mut shape = codes.shape.to_vec();
        let (rows, row_bytes) = match *codes.shape {
            [experts, rows, row_bytes] => (experts.saturating_mul(rows), row_bytes),
            _ => matrix(codes)?.into(),
        };
        let cols = row_bytes.saturating_mul(2);
        if let Some(last) = shape.last_mut() {
            *last = cols;
        }
        let blocks = Some(cols / block).filter(|_| cols.is_multiple_of(block));
        let placement = blocks.and_then(|blocks| match *scales.shape {
            [experts, rows, count] if codes.shape.get(..2) == Some(&[experts, rows]) && count == blocks => {
                Some(Placement::Rows(blocks))
            }
            _ if codes.shape.len() == 2 => Placement::of(scales.shape, rows, blocks),
            _ => None,
        });
        let placement = placement.ok_or_else(|| {
            let (codes, scales) = (text(codes.shape), text(scales.shape));
            let reason = format!("has `{scale}` {scales} beside `{weight}` {codes}, in blocks of {block}");
            Refusal::new(reason, "export the layer again")
        })?;
        let global = global_dtype(layer, factor)?;
        Ok(Self { shape, rows, cols, block, weight, scale, factor, global, placement })
    }

    fn blocks(&self, region: &Region) -> std::ops::Range<u64> {
        region.cols.start / self.block..region.cols.end.div_ceil(self.block)
    }
}

impl Decoder for RowBlocks {
    fn shape(&self) -> Vec<u64> {
        self.shape.clone()
    }

    fn extent(&self) -> [u64; 2] {
        [self.rows, self.cols]
    }

    fn column_unit(&self) -> u64 {
        self.block
    }

    fn needs(&self, region: &Region) -> Vec<Slab> {
        let (rows, cols) = (&region.rows, &region.cols);
        let bytes = cols.start / 2..cols.end.div_ceil(2);
        let mut slabs = vec![
            Slab::rectangle(self.weight, self.cols / 2, rows.clone(), bytes),
            self.placement.needs(self.scale, rows, &self.blocks(region)),
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
            let blocks = self.blocks(region);
            let scales = self.placement.gather(&region.rows, &blocks, part(parts, 1));
            let global = self.global.map_or(1.0, |(_, dtype)| scalar(dtype, parts.get(2)));
            let codes = part(parts, 0);
            let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
            let tile = Fp4Tile {
                codes,
                scales: &scales,
                rows: narrow(region.rows.end.saturating_sub(region.rows.start)),
                blocks: narrow(blocks.end.saturating_sub(blocks.start)),
                block: narrow(self.block),
            };
            let mut bits = vec![0; codes.len().saturating_mul(2)];
            engine.fp4_decode(tile, &table(self.factor, global), &mut bits).await?;
            out.extend(bits.into_iter().map(f32::from_bits));
            Ok(())
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
        let global = scalar(self.global.1, parts.get(2));
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
