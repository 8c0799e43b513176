//! The CPU twin. It subtracts with the processor's own F32, which is IEEE 754 wherever Rust runs, and so the
//! same bits as the shader's integers.

use super::{EXPONENTS, ErrorMetrics, Squares};
use crate::element::{Bf16, Element, F16, F32};
use crate::engine::FloatType;
use crate::wide::{Stretch, run};
use std::marker::PhantomData;

const MAGNITUDE: u32 = 0x7fff_ffff;
const INFINITY: u32 = 0x7f80_0000;
/// The first magnitude that is not subnormal.
const NORMAL: u32 = 0x0080_0000;
/// Where the field of the exponent begins.
const FIELD: u32 = 23;

/// Elements that are taken in at a time: few enough that they stay in registers.
pub(crate) const RUN: usize = 16;

/// Runs of a chunk, whose 512 squares are added up at a time: their number bounds the sums in [`add_squares`].
const RUNS: usize = 32;

/// Leading bits of a magnitude that are squared.
const CUT_BITS: u32 = 16;

/// What is left of a magnitude when the others are cut.
const CUT: u32 = !0xff;

/// Takes in elements, and adds up a chunk of them at a time.
pub(crate) struct Taken {
    /// Magnitudes of the elements of a chunk, and of their errors.
    signal: [[u32; RUN]; RUNS],
    error: [[u32; RUN]; RUNS],
    /// Runs of the chunk that are there.
    runs: usize,
    /// Bits of a magnitude that can differ from zero, of those that are squared.
    signal_bits: u32,
    metrics: ErrorMetrics,
    any: Any,
}

impl Taken {
    /// For elements of a type.
    #[inline(always)]
    pub(crate) fn new(dtype: FloatType) -> Self {
        let signal_bits = match dtype {
            FloatType::F32 => CUT_BITS,
            FloatType::Bf16 => 8,
            FloatType::F16 => 11,
        };
        let (none, metrics, any) = ([[0; RUN]; RUNS], ErrorMetrics::default(), Any::default());
        Self { signal: none, error: none, runs: 0, signal_bits, metrics, any }
    }

    /// Takes in source values and as many decoded ones, both as bits.
    #[inline(always)]
    pub(crate) fn add(&mut self, source: &[u32; RUN], decoded: &[u32; RUN]) {
        if let (Some(signal), Some(error)) = (self.signal.get_mut(self.runs), self.error.get_mut(self.runs)) {
            *signal = source.map(|source| source & MAGNITUDE);
            for ((error, &source), &decoded) in error.iter_mut().zip(source).zip(decoded) {
                *error = (f32::from_bits(source) - f32::from_bits(decoded)).to_bits() & MAGNITUDE;
            }
        }
        self.runs += 1;
        if self.runs == RUNS {
            self.end_chunk();
        }
    }

    /// Adds the chunk up.
    #[inline(always)]
    fn end_chunk(&mut self) {
        let [signal, error] = [Bounds::of(&self.signal), Bounds::of(&self.error)];
        if signal.far_apart() || error.far_apart() {
            self.any.add(self.signal.as_flattened(), self.error.as_flattened());
        } else {
            self.metrics.max_abs_bits = self.metrics.max_abs_bits.max(error.largest);
            add_squares(&mut self.metrics.signal, &self.signal, signal, self.signal_bits);
            add_squares(&mut self.metrics.error, &self.error, error, CUT_BITS);
        }
        self.runs = 0;
    }

    /// The metrics of all that was taken in.
    #[inline(always)]
    pub(crate) fn finish(mut self) -> ErrorMetrics {
        if self.runs > 0 {
            for runs in [&mut self.signal, &mut self.error] {
                runs.iter_mut().skip(self.runs).for_each(|run| *run = [0; RUN]);
            }
            self.end_chunk();
        }
        self.metrics.add(&self.any.finish());
        self.metrics
    }
}

/// How far the magnitudes of a chunk reach.
#[derive(Clone, Copy)]
struct Bounds {
    largest: u32,
    /// One less than the smallest; of zero that is the largest number.
    least: u32,
}

impl Bounds {
    #[inline(always)]
    fn of(runs: &[[u32; RUN]; RUNS]) -> Self {
        let mut bounds = Self { largest: 0, least: u32::MAX };
        for &magnitude in runs.as_flattened() {
            bounds.largest = magnitude.max(bounds.largest);
            bounds.least = magnitude.wrapping_sub(1).min(bounds.least);
        }
        bounds
    }

    /// The field of the exponent of whose power [`add_squares`] takes its units: the largest one, or a larger one where
    /// the unit of the sum would be above them.
    fn top(self) -> u32 {
        (self.largest >> FIELD).max(13)
    }

    /// Whether every magnitude that is not zero is at least the power of two `below` exponents further down.
    fn within(self, below: u32) -> bool {
        self.least >= (self.top().saturating_sub(below) << FIELD).saturating_sub(1)
    }

    /// Whether [`add_squares`] cannot add these up: not all are finite and normal, or they are too far apart.
    fn far_apart(self) -> bool {
        self.largest >= INFINITY || self.least < NORMAL - 1 || !self.within(FARTHEST)
    }
}

/// The number of exponents by which a magnitude may be below the largest of its chunk.
const FARTHEST: u32 = 35;

/// Adds the squares of a chunk, which are added up exactly, as whole numbers: by F64 they become such without a shift
/// of its own for each, which not every processor has.
///
/// In units of the power of two of the largest magnitude, a square is below 2^2. Each is cut in two: what is left of it
/// when 1.5 * 2^3 is added and taken away again is a multiple of 2^-49; the rest is at most half of that, and a multiple
/// of 2^-100, the last bit of 1.5 * 2^-48, as is any square of 16 bits that is no further down than 35 exponents. In
/// these units both have less than 55 bits, and the sums of 512 of them less than 64.
///
/// Squares of few bits that are not far apart need not be cut.
#[inline(always)]
fn add_squares(sum: &mut Squares, runs: &[[u32; RUN]; RUNS], bounds: Bounds, bits: u32) {
    const ABOVE: f64 = 1.5 * 8.0;
    const BELOW: f64 = 1.5 / (1_u64 << 48) as f64;
    const COUNT: u64 = (RUN * RUNS) as u64;
    let field = bounds.top();
    // The pattern of an F32, shifted to where the one of an F64 has its exponent, is 2^(127 - 1023) of the number.
    let unit = f64::from_bits(u64::from(2046 - field) << 52);
    let square = |magnitude: u32| {
        let cut = f64::from_bits(u64::from(magnitude & CUT) << (52 - FIELD)) * unit;
        cut * cut
    };
    let shift = 2 * field as usize;
    let (mut above, mut below) = (0_u64, 0_u64);
    if bounds.within(25 - bits) {
        for &magnitude in runs.as_flattened() {
            above = above.wrapping_add((square(magnitude) + ABOVE).to_bits());
        }
        let above = above.wrapping_sub(COUNT.wrapping_mul(ABOVE.to_bits()));
        sum.add_shifted(above.into(), shift + 25);
        return;
    }
    for &magnitude in runs.as_flattened() {
        let square = square(magnitude);
        let upper = square + ABOVE;
        above = above.wrapping_add(upper.to_bits());
        below = below.wrapping_add((square - (upper - ABOVE) + BELOW).to_bits());
    }
    let above = above.wrapping_sub(COUNT.wrapping_mul(ABOVE.to_bits()));
    let below = below.wrapping_sub(COUNT.wrapping_mul(BELOW.to_bits())).cast_signed();
    sum.add_shifted((u128::from(above) << 51).wrapping_add_signed(below.into()), shift - 26);
}

/// Takes in elements of any kind, one after another.
struct Any {
    signal: [u64; EXPONENTS],
    error: [u64; EXPONENTS],
    max_abs_bits: u32,
    not_finite: u64,
}

impl Default for Any {
    fn default() -> Self {
        Self { signal: [0; EXPONENTS], error: [0; EXPONENTS], max_abs_bits: 0, not_finite: 0 }
    }
}

impl Any {
    /// Adds the squares of elements and of their errors.
    fn add(&mut self, signal: &[u32], error: &[u32]) {
        for (&signal, &error) in signal.iter().zip(error) {
            if error >= INFINITY {
                self.not_finite += 1;
                continue;
            }
            self.max_abs_bits = self.max_abs_bits.max(error);
            count(&mut self.signal, signal);
            count(&mut self.error, error);
        }
    }

    /// The metrics.
    fn finish(&self) -> ErrorMetrics {
        let [signal, error] = [self.signal, self.error].map(Squares::new);
        ErrorMetrics { not_finite: self.not_finite, max_abs_bits: self.max_abs_bits, signal, error }
    }
}

/// Adds the square of the leading 16 bits of a finite magnitude to the sum of its exponent.
fn count(sums: &mut [u64; EXPONENTS], magnitude: u32) {
    // Of zero the shift is 9 and the significand 0, which adds nothing to the first sum.
    let field = magnitude >> FIELD;
    let (exponent, significand) = if field != 0 {
        (field + 22, (magnitude & (NORMAL - 1)) | NORMAL)
    } else {
        let shift = (magnitude | 1).leading_zeros() - 8;
        (23 - shift, magnitude << shift)
    };
    let leading = u64::from(significand >> 8);
    if let Some(sum) = sums.get_mut(exponent as usize) {
        *sum += leading * leading;
    }
}

/// The metrics of whole elements in `source` and as many decoded ones.
pub(crate) fn metrics(dtype: FloatType, source: &[u8], decoded: &[u32]) -> ErrorMetrics {
    match dtype {
        FloatType::F32 => metrics_of::<F32>(dtype, source, decoded),
        FloatType::Bf16 => metrics_of::<Bf16>(dtype, source, decoded),
        FloatType::F16 => metrics_of::<F16>(dtype, source, decoded),
    }
}

fn metrics_of<E: Element>(dtype: FloatType, source: &[u8], decoded: &[u32]) -> ErrorMetrics {
    run(Decoded::<E> { dtype, source, decoded, kind: PhantomData })
}

/// Elements and what they were decoded to.
struct Decoded<'a, E> {
    dtype: FloatType,
    source: &'a [u8],
    decoded: &'a [u32],
    kind: PhantomData<E>,
}

impl<E: Element> Stretch for Decoded<'_, E> {
    type Output = ErrorMetrics;

    #[inline(always)]
    fn run(self) -> ErrorMetrics {
        let mut taken = Taken::new(self.dtype);
        for (source, decoded) in self.source.chunks(RUN * E::BYTES).zip(self.decoded.chunks(RUN)) {
            let mut values = [0; RUN];
            widen::<E>(source, &mut values);
            match decoded.as_array() {
                Some(decoded) => taken.add(&values, decoded),
                // What is missing is zero on both sides, which counts for nothing.
                None => {
                    let mut padded = [0; RUN];
                    padded.iter_mut().zip(decoded).for_each(|(into, from)| *into = *from);
                    taken.add(&values, &padded);
                }
            }
        }
        taken.finish()
    }
}

/// The bits in F32 of as many elements as there are.
#[inline(always)]
pub(crate) fn widen<E: Element>(bytes: &[u8], bits: &mut [u32; RUN]) {
    let (blocks, rest) = E::blocks(bytes);
    let mut places = bits.as_chunks_mut::<16>().0.iter_mut();
    for (block, place) in blocks.iter().zip(places.by_ref()) {
        *place = E::patterns(block).map(|pattern| E::value(pattern).to_bits());
    }
    if let (Some(place), false) = (places.next(), rest.is_empty()) {
        *place = E::patterns(&E::padded(rest)).map(|pattern| E::value(pattern).to_bits());
    }
}
