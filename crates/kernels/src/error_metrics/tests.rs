//! Tiles on which engines must find the same errors.

use super::random::{Random, SHAPES, TYPES, from_f32};
use super::reference::values;
use super::{Outcome, compare};
use quantscope_kernels::error_metrics::{EXPONENTS, ErrorMetrics, Squares};
use quantscope_kernels::{CpuEngine, Engine, FloatTile, FloatType, Fp4DecodeTable, Fp4Tile, Nibbles};

/// Seeded tiles of all types and shapes, decoded to the same values, to others nearby, to any finite ones, and
/// to some that are infinite or NaN.
pub(crate) async fn agree(expected: &dyn Engine, found: &dyn Engine) -> Outcome {
    let mut random = Random(13);
    let mut tiles = 0;
    for dtype in [FloatType::F32, FloatType::Bf16, FloatType::F16] {
        for (rows, cols) in SHAPES {
            let bytes = random.tile(dtype, rows, cols, 0.1);
            let tile = FloatTile { dtype, bytes: &bytes, rows, cols };
            let others = random.tile(FloatType::F32, rows, cols, 0.1);
            let others = others.as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word));
            let same: Vec<u32> = values(&tile).iter().map(|value| value.to_bits()).collect();
            let near = same.iter().map(|bits| match random.below(8) {
                0 => bits ^ 0x0040_0000,
                1 => bits & 0xffff_0000,
                2 => bits ^ 1,
                3 => bits ^ 0x8000_0000,
                _ => bits & 0xfff0_0000,
            });
            let near: Vec<u32> = near.collect();
            let not_finite = near.iter().map(|bits| match random.below(16) {
                0 => 0x7f80_0000,
                1 => 0xff80_0000,
                2 => 0xffc0_0001,
                _ => *bits,
            });
            for decoded in [not_finite.collect(), others.collect(), near, same] {
                let what = format!("error_metrics {dtype:?} {rows}x{cols}");
                let expected = expected.error_metrics(tile, &decoded).await;
                let found = found.error_metrics(tile, &decoded).await;
                if expected != found {
                    // The sums are long; the summary comes first.
                    let brief = |m: &ErrorMetrics| (m.not_finite, m.max_abs(), m.sqnr_db());
                    compare::results(
                        &what,
                        &expected.as_ref().map(brief).map_err(Clone::clone),
                        &found.as_ref().map(brief).map_err(Clone::clone),
                    )?;
                    return compare::results(&what, &expected, &found).map(|()| 0);
                }
                tiles += 1;
            }
        }
    }
    tiles += reaches_agree(expected, found, &mut random).await?;
    Ok(tiles + packed_agree(expected, found, &mut random).await?)
}

/// Tiles of normal numbers that reach from a largest exponent down to one so much below, both of them there, with the
/// longest and the shortest mantissas.
async fn reaches_agree(expected: &dyn Engine, found: &dyn Engine, random: &mut Random) -> Outcome {
    let mut tiles = 0;
    for dtype in TYPES {
        for (top, reach) in REACHES {
            for (rows, cols) in [(1, 511), (2, 256), (3, 700)] {
                let count = u64::from(rows * cols);
                let exponents = (0..count).map(|at| match at % 64 {
                    0 => top,
                    1 => top - reach,
                    _ => top - i32::try_from(random.below(u64::from(reach.unsigned_abs()) + 1)).unwrap_or(0),
                });
                let exponents: Vec<i32> = exponents.collect();
                let mut value = |exponent: i32| {
                    let mantissa = match random.below(4) {
                        0 => 0x7f_ffff,
                        1 => 0,
                        _ => random.below(1 << 23),
                    };
                    let bits = (u64::from((exponent + 127).unsigned_abs()) << 23) | mantissa;
                    f32::from_bits(u32::try_from(bits | (random.below(2) << 31)).unwrap_or(0))
                };
                let bytes: Vec<u8> = exponents.iter().flat_map(|&e| from_f32(dtype, value(e))).collect();
                let tile = FloatTile { dtype, bytes: &bytes, rows, cols };
                let nothing = vec![0; exponents.len()];
                let others = exponents.iter().map(|&exponent| value(exponent).to_bits()).collect();
                let near = values(&tile).iter().map(|value| (value * 1.015_625).to_bits()).collect();
                for decoded in [nothing, others, near] {
                    let what = format!("error_metrics {dtype:?} {rows}x{cols} from 2^{top} down by {reach}");
                    let [expected, found] = [
                        expected.error_metrics(tile, &decoded).await,
                        found.error_metrics(tile, &decoded).await,
                    ];
                    compare::results(&what, &expected, &found)?;
                    tiles += 1;
                }
            }
        }
    }
    Ok(tiles)
}

/// Largest exponents, and by how many the smallest are below them.
const REACHES: [(i32, i32); 24] = [
    (0, 0),
    (1, 3),
    (0, 8),
    (-1, 9),
    (-2, 10),
    (3, 13),
    (3, 14),
    (3, 15),
    (4, 16),
    (4, 17),
    (4, 18),
    (12, 24),
    (10, 33),
    (10, 34),
    (10, 35),
    (10, 36),
    (10, 60),
    (126, 0),
    (126, 34),
    (127, 35),
    (-126, 0),
    (-120, 6),
    (-113, 13),
    (-91, 35),
];

/// The same of packed FP4 with all its codes and scales, whole rows and padded ones, under both orders of nibbles.
async fn packed_agree(expected: &dyn Engine, found: &dyn Engine, random: &mut Random) -> Outcome {
    let mut tiles = 0;
    let tables = [
        Fp4DecodeTable::e4m3(1.7e-3, Nibbles::LowFirst),
        Fp4DecodeTable::e4m3(1.1e-41, Nibbles::HighFirst),
        Fp4DecodeTable::e8m0(Nibbles::LowFirst),
    ];
    for (table, block) in tables.iter().zip([16_u32, 16, 32]) {
        for dtype in [FloatType::F32, FloatType::Bf16, FloatType::F16] {
            for (rows, cols) in SHAPES {
                let blocks = cols.div_ceil(block);
                let count = rows as usize * blocks as usize;
                let bytes = random.tile(dtype, rows, cols, 0.1);
                let source = FloatTile { dtype, bytes: &bytes, rows, cols };
                let (codes, scales) = (random.bytes(count * block as usize / 2), random.bytes(count));
                let packed = Fp4Tile { codes: &codes, scales: &scales, rows, blocks, block };
                let what = format!("fp4_errors {dtype:?} {rows}x{cols} in blocks of {block}");
                let [expected, found] = [
                    expected.fp4_errors(source, packed, table).await,
                    found.fp4_errors(source, packed, table).await,
                ];
                compare::results(&what, &expected, &found)?;
                tiles += 1;
            }
        }
    }
    Ok(tiles)
}

/// The metrics by their definition, in F64: the difference of two F32 numbers is rounded to F64 and then to
/// F32, which is the same as once to F32; the exponent is read from the F64 pattern.
pub(crate) fn reference(tile: &FloatTile<'_>, decoded: &[u32]) -> ErrorMetrics {
    let mut metrics = ErrorMetrics::default();
    let (mut signal, mut error) = (vec![0; EXPONENTS], vec![0; EXPONENTS]);
    for (value, decoded) in values(tile).into_iter().zip(decoded) {
        let decoded = f32::from_bits(*decoded);
        #[allow(clippy::cast_possible_truncation, reason = "rounded to F32")]
        let difference = (f64::from(value) - f64::from(decoded)) as f32;
        if !difference.is_finite() {
            metrics.not_finite += 1;
            continue;
        }
        metrics.max_abs_bits = metrics.max_abs_bits.max(difference.abs().to_bits());
        for (sums, value) in [(&mut signal, value), (&mut error, difference)] {
            let value = f64::from(value.abs());
            if value > 0.0 {
                let exponent = i32::try_from(value.to_bits() >> 52).unwrap() - 1023;
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "16 bits")]
                let leading = (value / 2.0_f64.powi(exponent - 15)) as u64;
                assert_eq!(leading >> 15, 1);
                sums[usize::try_from(exponent + 149).unwrap()] += leading * leading;
            }
        }
    }
    metrics.signal = Squares::new(signal);
    metrics.error = Squares::new(error);
    metrics
}

/// The decibels of tiles that add up, against sums in F64: within what the kernel promises. Among them errors
/// a million times smaller than the signal, and a signal with elements a million times larger than most.
pub(crate) async fn decibels_are_within_the_resolution() {
    let mut random = Random(14);
    for (outlier, error_size) in [(1.0, 0.1), (1.0, 1.0e-6), (1.0e6, 0.1), (1.0e-30, 1.0e-3), (1.0, 3.0)] {
        let mut metrics = ErrorMetrics::default();
        let (mut signal, mut error, mut max_abs) = (0.0, 0.0, 0.0_f32);
        for _ in 0..4 {
            let mut unit = || f32::from(i16::try_from(random.below(20_001)).unwrap() - 10_000) / 10_000.0;
            let (mut bytes, mut decoded) = (Vec::new(), Vec::new());
            for i in 0..3000 {
                let value = if i % 500 == 7 { unit() * outlier } else { unit() * outlier.min(1.0) };
                let near = value + unit() * error_size * outlier.min(1.0);
                bytes.extend(value.to_le_bytes());
                decoded.push(near.to_bits());
                signal += f64::from(value) * f64::from(value);
                let difference = f64::from(value) - f64::from(near);
                error += difference * difference;
                max_abs = max_abs.max((value - near).abs());
            }
            let tile = FloatTile { dtype: FloatType::F32, bytes: &bytes, rows: 3, cols: 1000 };
            metrics.add(&CpuEngine::new().error_metrics(tile, &decoded).await.unwrap());
        }
        let expected = 10.0 * (signal / error).log10();
        let found = metrics.sqnr_db();
        assert!((found - expected).abs() < 0.0003, "{found} dB, expected {expected}");
        assert_eq!(metrics.max_abs(), max_abs);
    }
    assert_eq!(ErrorMetrics::default().sqnr_db(), f64::INFINITY);
}
