//! Kernel `nvfp4_search`: the block scales of NVFP4 under which the rounding errors of a block are least.
//!
//! Two searches, both over blocks of 16 and over the source values in F32 (`formats.md` c):
//!
//! - the sweep tries all 126 positive scales of E4M3 as the share of the global maximum;
//! - four-over-six tries the block's maximum once and one and a half times.
//!
//! ```text
//! q    = E2M1(|w| / sc)              sc: the candidate's divisor
//! e    = |w| - q * sc                F32, rounded after each step
//! loss = sum of e * e                squares in F32, summed in F64 in the order of the elements
//! ```
//!
//! The first candidate with the smallest loss wins, and the static rule makes its byte.
//!
//! **Who decides.** The losses are sums of rounded products, which a shader must not be trusted with: it may
//! fuse, reorder and flush. So the shader only *narrows*: for each block it names the first and the last
//! candidate whose loss, as it sees it, is close enough to the best; the CPU twin decides among those from
//! one to the other. The result is the CPU twin's, byte for byte, whatever the adapter.
//!
//! **How close is close enough.** Let `u = 2^-23`, `L` a candidate's loss as the CPU has it, `L'` as the
//! shader has it, `S` the sum of the squares of the block. WGSL gives sums and products either neighbour of
//! the exact value, fused or not.
//!
//! - The shader's quotient is off by at most `1.6 u` (the reciprocal is rounded on the CPU, then one
//!   product), the CPU's by `u / 2`: the two choose different codes only where the quotient is within
//!   `2.1 u` of a boundary `B` between codes that lie `2 h` apart. There both errors are `h * sc`, but for
//!   `4.2 u * B * sc`; as `B <= 7 h` for every boundary, that is at most `30 u |e|`.
//! - With `p = q * sc`, at most twice `|w|`, rounding `p` and the difference costs both sides together at
//!   most `1.5 u (p + |e|)`. So an element's two errors differ by at most `32 u |e| + 3.3 u |w|`.
//! - Squared and summed (Cauchy and Schwarz), with `17 u L` for the rounding of squares and sums:
//!   `|L' - L| <= 82 u L + 6.6 u sqrt(L S) + 23 u^2 S`.
//!
//! If candidate `a` wins and `g` has the smallest `L'`, then `L'(a) - L'(g)` is at most twice that bound.
//! [`slack`] is wider: `256 u L' + 16 u sqrt(L' S) + 256 u^2 S`, which leaves room for its own rounding, for
//! the bound being a function of `L'` instead of `L`, and for what is flushed to zero: less than `2^-120` in
//! a loss, while blocks with a best loss below `2^-100` are left to the CPU whole. So are blocks with an
//! element beyond the global maximum (NaN and infinity among them), and all blocks if the global maximum is
//! not within `2^-40` and `2^60`, where divisors and squares stay in the range of normal numbers.

mod candidates;
pub(crate) mod cpu;

pub use candidates::Candidates;

use crate::engine::{EngineError, FloatTile, FloatType};
use crate::nvfp4_quantize::{BLOCK, Nvfp4Block};
use crate::spec::{Binding, Exactness, KernelSpec, params};
use crate::{cpu_engine, parts};
use serde::{Deserialize, Serialize};

/// Which scales are tried for a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SearchMethod {
    /// All 126 positive finite values of E4M3 (`nvfp4-mse`).
    SweepE4m3,
    /// The block's maximum, and one and a half times that (`nvfp4-four-over-six`).
    FourOverSix,
}

/// A search for the scales of one tensor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScaleSearch {
    /// Which scales are tried.
    pub method: SearchMethod,
    /// The largest magnitude of the tensor or of its fused group, finite and not negative.
    pub global: f32,
}

/// Invocations that share a block.
const LANES: u32 = 16;

/// Blocks a workgroup of the shader narrows.
pub const BLOCKS_PER_GROUP: u32 = 4;

/// Candidates an invocation tries in the sweep; numbers 0 and 127 are none.
const CANDIDATES_PER_LANE: u32 = 8;

/// What the shader says of a block that the CPU must decide alone.
pub const WHOLE: u32 = 0;

const LOSS_SLACK: f32 = 1.0 / (1 << 15) as f32;
const ROOT_SLACK: f32 = 1.0 / (1 << 19) as f32;
const ENERGY_SLACK: f32 = 1.0 / (1_u64 << 38) as f32;
/// 2^-100.
const LEAST_LOSS_BITS: u32 = (127 - 100) << 23;
/// 2^-40 and 2^60.
const NARROWING_RANGE: std::ops::RangeInclusive<f32> = 1.0 / (1_u64 << 40) as f32..=(1_u64 << 60) as f32;

/// How much more than the smallest loss a candidate may have for the shader not to drop it: see the head of
/// this file. `energy` is the sum of the squares of the block.
#[must_use]
pub fn slack(loss: f32, energy: f32) -> f32 {
    LOSS_SLACK * loss + ROOT_SLACK * (loss.sqrt() * energy.sqrt()) + ENERGY_SLACK * energy
}

params! {
    /// What the shader is told of a tile.
    pub struct Params {
        /// Elements in a row.
        cols,
        /// Blocks in a row.
        row_blocks,
        /// Blocks in the tile.
        block_count,
        /// The type of the source elements, as `shared/source.wgsl` numbers them.
        dtype,
        /// 1 for four-over-six, 0 for the sweep.
        four_over_six,
        /// The F32 pattern of the global maximum.
        global_bits,
    }
}

/// The shader's description. `divisors` has a divisor and its reciprocal for each of 128 candidates,
/// `amax_last` the 256 thresholds of [`Candidates::amax_words`]. `ranges` gets a word a block: the number of
/// the first candidate that is left, and that of the last shifted up by 8; or [`WHOLE`].
pub static SPEC: KernelSpec = KernelSpec {
    name: "nvfp4_search",
    exactness: Exactness::Narrows,
    shader: include_str!("shader.wgsl"),
    shared: &["invocation", "softfloat", "source"],
    constants: &[
        ("LANES", LANES),
        ("BLOCK", BLOCK),
        ("BLOCKS_PER_GROUP", BLOCKS_PER_GROUP),
        ("CANDIDATES_PER_LANE", CANDIDATES_PER_LANE),
        ("WHOLE", WHOLE),
        ("LOSS_SLACK_BITS", LOSS_SLACK.to_bits()),
        ("ROOT_SLACK_BITS", ROOT_SLACK.to_bits()),
        ("ENERGY_SLACK_BITS", ENERGY_SLACK.to_bits()),
        ("LEAST_LOSS_BITS", LEAST_LOSS_BITS),
    ],
    workgroup_size: LANES * BLOCKS_PER_GROUP,
    params: Params::FIELDS,
    bindings: &[
        Binding::read("source"),
        Binding::read("divisors"),
        Binding::read("amax_last"),
        Binding::write("ranges"),
    ],
};

impl ScaleSearch {
    /// Whether the shader's losses are within the bound; if not, the CPU twin does all of the search.
    #[must_use]
    pub fn narrows(&self) -> bool {
        NARROWING_RANGE.contains(&self.global)
    }

    /// The shader's parameters for a part of a tile.
    #[must_use]
    pub fn params(&self, cols: u32, row_blocks: u32, block_count: u32, dtype: FloatType) -> Params {
        Params {
            cols,
            row_blocks,
            block_count,
            dtype: dtype.number(),
            four_over_six: u32::from(self.method == SearchMethod::FourOverSix),
            global_bits: self.global.to_bits(),
        }
    }
}

/// Decides each block among the candidates that the shader left: `ranges` has a word a block as
/// [`SPEC`] describes. With [`WHOLE`] everywhere this is the CPU twin's own search.
///
/// # Errors
/// [`EngineError::TileSize`] if the tile has not the bytes of its shape, or `ranges` or `scales` not one entry
/// a block.
pub fn settle(
    tile: &FloatTile<'_>,
    search: &ScaleSearch,
    ranges: &[u32],
    scales: &mut [u8],
) -> Result<(), EngineError> {
    tile.check_scales(Nvfp4Block::Of16, scales)?;
    if ranges.len() != scales.len() {
        let length = |of: usize| u64::try_from(of).unwrap_or(u64::MAX);
        return Err(EngineError::TileSize { expected: length(scales.len()), found: length(ranges.len()) });
    }
    let candidates = Candidates::new(*search);
    let blocks = cpu_engine::PART_BYTES / BLOCK as usize / tile.dtype.bytes();
    let places = scales.chunks_mut(blocks).zip(ranges.chunks(blocks)).enumerate();
    parts::map(places, |(i, (scales, ranges))| {
        cpu::search(tile, &candidates, i * blocks, Some(ranges), scales);
    });
    Ok(())
}
