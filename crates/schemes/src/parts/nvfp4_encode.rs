//! Encoding NVFP4 blocks: scales from each block's maximum by the dynamic or the static rule, from given
//! maxima, or from a search; then codes under those scales.
//!
//! Source: `formats.md` b and c. The arithmetic is in the kernels.

use crate::encode::{EncodeInput, Encoded, Encoder};
use futures_util::future::LocalBoxFuture;
use quantscope_format::Buffer;
use quantscope_kernels::nvfp4_quantize::{CodeCast, Nvfp4Block, Nvfp4Table, ScaleRange, ScaleRule};
use quantscope_kernels::nvfp4_search::{ScaleSearch, SearchMethod};
use quantscope_kernels::{Engine, EngineError, FloatTile, Nvfp4Out};
use std::cell::OnceCell;

/// How block scales are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// From each block's maximum and the global scale.
    Dynamic,
    /// From block maxima, each block's own unless others are given.
    Static,
    /// The best of the 126 scales that E4M3 has.
    Sweep,
    /// The better of two, unless block maxima are given, which are the outcome of such a choice.
    FourOverSix,
}

/// Makes scales and codes of one tensor.
pub(crate) struct BlockEncoder {
    rule: ScaleRule,
    block: Nvfp4Block,
    cast: CodeCast,
    /// Made with the first tile: the global scale is asked for on its own, and needs no table.
    table: OnceCell<Nvfp4Table>,
    search: Option<ScaleSearch>,
}

impl BlockEncoder {
    /// The encoder of a tensor with the largest magnitude `input.maximum`.
    pub(crate) fn new(input: &EncodeInput, rule: Rule, block: Nvfp4Block) -> Self {
        // What codes and block scales reach together: 6 * 448, or 448 under FP8 activations.
        let largest = match block {
            Nvfp4Block::Of16 => 2688.0,
            Nvfp4Block::Of32 => 448.0,
        };
        let fixed = |range| ScaleRule::Static { global: input.maximum, range };
        let scale_rule = match rule {
            Rule::Dynamic => ScaleRule::Dynamic { ws2: input.maximum / largest },
            Rule::Static | Rule::Sweep => fixed(ScaleRange::Full),
            Rule::FourOverSix => fixed(ScaleRange::FourOverSix),
        };
        let search = |method| Some(ScaleSearch { method, global: input.maximum });
        let search = match rule {
            Rule::Dynamic | Rule::Static => None,
            Rule::Sweep => search(SearchMethod::SweepE4m3),
            Rule::FourOverSix => search(SearchMethod::FourOverSix),
        };
        Self { rule: scale_rule, block, cast: input.cast, table: OnceCell::new(), search }
    }

    fn table(&self) -> &Nvfp4Table {
        self.table.get_or_init(|| Nvfp4Table::new(self.rule, self.block, self.cast))
    }

    /// Blocks of a tile, and bytes of their codes.
    fn room(&self, tile: &FloatTile<'_>) -> [usize; 2] {
        let block = self.block.elems();
        let blocks = u64::from(tile.rows) * u64::from(tile.cols.div_ceil(block));
        let length = |n: u64| usize::try_from(n).unwrap_or(0);
        [length(blocks), length(blocks.saturating_mul(u64::from(block / 2)))]
    }
}

impl Encoder for BlockEncoder {
    fn scalars(&self) -> Vec<(&'static str, f32)> {
        vec![("weight_scale_2", self.rule.ws2())]
    }

    fn scales(&self, maxima: &[u32]) -> Vec<u8> {
        let table = self.table();
        maxima.iter().map(|&bits| table.scale_byte(bits)).collect()
    }

    fn codes<'a>(
        &'a self,
        engine: &'a dyn Engine,
        tile: FloatTile<'a>,
        _first_row: u32,
        scales: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<Vec<u8>, EngineError>> {
        Box::pin(async move {
            let mut codes = Buffer::of(self.room(&tile)[1]).into_vec();
            engine.nvfp4_encode(tile, self.table(), scales, &mut codes).await?;
            Ok(codes)
        })
    }

    fn encode<'a>(
        &'a self,
        engine: &'a dyn Engine,
        tile: FloatTile<'a>,
    ) -> LocalBoxFuture<'a, Result<Encoded, EngineError>> {
        Box::pin(async move {
            let [blocks, bytes] = self.room(&tile);
            let [codes, scales] = [bytes, blocks].map(|len| Buffer::of(len).into_vec());
            let mut encoded = Encoded { codes, scales };
            if let Some(search) = &self.search {
                engine.nvfp4_search(tile, search, &mut encoded.scales).await?;
                engine.nvfp4_encode(tile, self.table(), &encoded.scales, &mut encoded.codes).await?;
                return Ok(encoded);
            }
            let out = Nvfp4Out { codes: &mut encoded.codes, scales: &mut encoded.scales };
            engine.nvfp4_quantize(tile, self.table(), out).await?;
            Ok(encoded)
        })
    }
}
