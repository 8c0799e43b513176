//! Tiles on which engines must find the same scales, and what narrowing may do to a search.

use super::random::{Random, SHAPES};
use super::reference::{blocks_of, scale_byte};
use super::{Outcome, compare};
use quantscope_kernels::nvfp4_quantize::{Nvfp4Block, ScaleRange, ScaleRule};
use quantscope_kernels::nvfp4_search::{ScaleSearch, SearchMethod, WHOLE, settle, slack};
use quantscope_kernels::{CpuEngine, Engine, FloatTile, FloatType};
use quantscope_numeric::{e2m1, e4m3};

const METHODS: [SearchMethod; 2] = [SearchMethod::SweepE4m3, SearchMethod::FourOverSix];

/// Global maxima that fit a tile of elements around 0.1, are too small or large, have divisors or squares at the
/// ends of F32, and zero.
const GLOBALS: [f32; 8] = [0.1, 1.0e-20, 1.0e-3, 1.0e-43, 3.0e4, 1.0e38, 2.0e-12, 0.0];

/// Seeded tiles of all types and shapes, each with half of the global maxima.
pub(crate) async fn agree(expected: &dyn Engine, found: &dyn Engine) -> Outcome {
    let mut random = Random(10);
    let mut tiles = 0;
    for dtype in [FloatType::F32, FloatType::Bf16, FloatType::F16] {
        for (i, (rows, cols)) in SHAPES.into_iter().enumerate() {
            let bytes = random.tile(dtype, rows, cols, 0.1);
            let tile = FloatTile { dtype, bytes: &bytes, rows, cols };
            for method in METHODS {
                for global in GLOBALS.into_iter().skip(i % 2).step_by(2) {
                    agree_on(expected, found, tile, ScaleSearch { method, global }).await?;
                    tiles += 1;
                }
            }
        }
        let (rows, cols) = (64, 33);
        let bytes = ties(&mut random, dtype, rows, cols);
        let tile = FloatTile { dtype, bytes: &bytes, rows, cols };
        for method in METHODS {
            agree_on(expected, found, tile, ScaleSearch { method, global: 448.0 }).await?;
            tiles += 1;
        }
    }
    Ok(tiles)
}

async fn agree_on(
    expected: &dyn Engine,
    found: &dyn Engine,
    tile: FloatTile<'_>,
    search: ScaleSearch,
) -> Result<(), String> {
    let what = format!("{:?} {}x{} {search:?}", tile.dtype, tile.rows, tile.cols);
    let blocks = tile.rows as usize * tile.row_blocks(Nvfp4Block::Of16) as usize;
    let mut results = Vec::new();
    for (engine, fill) in [(expected, 0xa5), (found, 0x5a)] {
        let mut scales = vec![fill; blocks];
        engine.nvfp4_search(tile, &search, &mut scales).await.map_err(|e| format!("{what}: {e}"))?;
        results.push(scales);
    }
    compare::scales(&what, &results[0], &results[1])
}

/// Small whole numbers: many candidates represent a block exactly, or equally badly.
fn ties(random: &mut Random, dtype: FloatType, rows: u32, cols: u32) -> Vec<u8> {
    let whole =
        |i: u32| f32::from(u8::try_from(random.below(if i.is_multiple_of(3) { 13 } else { 5 })).unwrap());
    signed_tile(dtype, rows * cols, whole)
}

/// Weights as a layer has them: sums of a few uniform numbers, none of them special, below 0.1.
pub(crate) fn weights(random: &mut Random, dtype: FloatType, rows: u32, cols: u32) -> Vec<u8> {
    let mut sum = |_| (0..3).map(|_| f32::from(u16::try_from(random.below(30_000)).unwrap())).sum::<f32>();
    signed_tile(dtype, rows * cols, |i| (sum(i) - 45_000.0) / 900_000.0)
}

fn signed_tile(dtype: FloatType, elements: u32, mut value: impl FnMut(u32) -> f32) -> Vec<u8> {
    let bytes = |i: u32| {
        let value = if i.is_multiple_of(2) { value(i) } else { -value(i) };
        match dtype {
            FloatType::F32 => value.to_le_bytes().to_vec(),
            FloatType::Bf16 => quantscope_numeric::bf16::from_f32(value).to_le_bytes().to_vec(),
            FloatType::F16 => quantscope_numeric::f16::from_f32(value).to_le_bytes().to_vec(),
        }
    };
    (0..elements).flat_map(bytes).collect()
}

/// The loss of a block under a divisor (`formats.md` c).
fn loss(block: &[f32], divisor: f32) -> f64 {
    block.iter().fold(0.0, |sum, weight| {
        let q = e2m1::decode(e2m1::encode_nvfp4(weight.abs() / divisor));
        let e = weight.abs() - q * divisor;
        sum + f64::from(e * e)
    })
}

/// Divisor and exported byte of each candidate for a block, in order.
fn candidates(search: &ScaleSearch, block: &[f32]) -> Vec<(f32, u8)> {
    let global = search.global;
    let or_one = |divisor: f32| if divisor == 0.0 { 1.0 } else { divisor };
    match search.method {
        SearchMethod::SweepE4m3 => (1..=126)
            .map(|byte| {
                let c = e4m3::decode(byte) / 448.0;
                let rule = ScaleRule::Static { global, range: ScaleRange::Full };
                (or_one((c * global) / 6.0), scale_byte(global * c, rule))
            })
            .collect(),
        SearchMethod::FourOverSix => [1.0, 1.5]
            .into_iter()
            .map(|multiple| {
                let amax = block.iter().fold(0.0_f32, |amax, w| amax.max(w.abs())) * multiple;
                let k = 448.0 / ((global * 448.0 / 256.0) / 6.0);
                let rounded = e4m3::decode(e4m3::encode(((amax / 6.0) * k).clamp(-448.0, 448.0)));
                let rule = ScaleRule::Static { global, range: ScaleRange::FourOverSix };
                (or_one(rounded * (1.0 / k)), scale_byte(amax, rule))
            })
            .collect(),
    }
}

/// The first candidate of each block with the strictly smallest loss.
pub(crate) fn reference(tile: &FloatTile<'_>, search: &ScaleSearch, scales: &mut [u8]) {
    for (block, scale) in blocks_of(tile, Nvfp4Block::Of16).iter().zip(scales) {
        let mut least = f64::INFINITY;
        let candidates = candidates(search, block);
        *scale = candidates[0].1;
        for (divisor, byte) in candidates {
            let loss = loss(block, divisor);
            if loss < least {
                (least, *scale) = (loss, byte);
            }
        }
    }
}

/// What a narrowing sees whose losses are wrong by `error`, as a share of the bound, up or down; the range it
/// leaves.
fn narrowed(search: &ScaleSearch, block: &[f32], random: &mut Random, error: f64) -> u32 {
    const UNIT: f64 = 1.0 / (1 << 23) as f64;
    let energy: f64 = block.iter().map(|w| f64::from(*w) * f64::from(*w)).sum();
    let losses: Vec<f64> = candidates(search, block)
        .into_iter()
        .map(|(divisor, _)| {
            let loss = loss(block, divisor);
            let bound =
                82.0 * UNIT * loss + 6.6 * UNIT * (loss * energy).sqrt() + 23.0 * UNIT * UNIT * energy;
            let sign = if random.below(2) == 0 { 1.0 } else { -1.0 };
            (loss + sign * error * bound).max(0.0)
        })
        .collect();
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    if least < 1.0e-30 {
        return WHOLE;
    }
    #[allow(clippy::cast_possible_truncation, reason = "the shader's losses are F32")]
    let limit = least + f64::from(slack(least as f32, energy as f32));
    let first = losses.iter().position(|loss| *loss <= limit).unwrap();
    let last = losses.iter().rposition(|loss| *loss <= limit).unwrap();
    u32::try_from((first + 1) | ((last + 1) << 8)).unwrap()
}

/// A narrowing that is as wrong as the bound allows changes no scale, and leaves most blocks one candidate; one
/// that is far more wrong does change some.
pub(crate) async fn a_perturbed_narrowing_changes_nothing() {
    let mut random = Random(11);
    let (rows, cols) = (96, 512);
    let weights = weights(&mut random, FloatType::Bf16, rows, cols);
    let ties = ties(&mut random, FloatType::Bf16, rows, cols);
    for method in METHODS {
        for (bytes, global) in [(&weights, 0.1), (&ties, 448.0)] {
            let tile = FloatTile { dtype: FloatType::Bf16, bytes, rows, cols };
            let search = ScaleSearch { method, global };
            let blocks = blocks_of(&tile, Nvfp4Block::Of16);
            let mut expected = vec![0; blocks.len()];
            CpuEngine::new().nvfp4_search(tile, &search, &mut expected).await.unwrap();
            let mut differing = |error: f64| {
                let ranges: Vec<u32> =
                    blocks.iter().map(|block| narrowed(&search, block, &mut random, error)).collect();
                let mut found = vec![0xa5; blocks.len()];
                settle(&tile, &search, &ranges, &mut found).unwrap();
                let decided = ranges.iter().filter(|range| *range & 0xff == *range >> 8).count();
                (expected.iter().zip(&found).filter(|(e, f)| e != f).count(), decided)
            };
            for error in [0.0, 1.0] {
                let (wrong, decided) = differing(error);
                assert_eq!(wrong, 0, "{search:?}, error {error}");
                let undecided = blocks.len() - decided;
                assert!(bytes == &ties || undecided * 4 < blocks.len(), "{search:?}: {undecided} undecided");
            }
            let (wrong, _) = differing(10_000.0);
            assert_ne!(wrong, 0, "{search:?}: no narrowing is too wrong");
        }
    }
}
