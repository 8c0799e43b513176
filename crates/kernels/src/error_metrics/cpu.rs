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

/// Elements that are taken in at a time: few enough that they stay in registers.
pub(crate) const RUN: usize = 16;

/// Sums by exponent are kept several times over: neighbours mostly have the same exponent, and would otherwise wait
/// for each other's sum.
const LANES: usize = 8;

/// The field of the exponent in an F32.
const FIELDS: usize = 256;

/// What takes in elements.
pub(crate) trait Take: Default {
    /// Takes in source values and as many decoded ones, both as bits.
    fn add(&mut self, source: &[u32; RUN], decoded: &[u32; RUN]);
}

/// The magnitudes of differences.
#[inline(always)]
fn differences(source: &[u32; RUN], decoded: &[u32; RUN]) -> [u32; RUN] {
    let mut differences = [0; RUN];
    for ((difference, &source), &decoded) in differences.iter_mut().zip(source).zip(decoded) {
        *difference = (f32::from_bits(source) - f32::from_bits(decoded)).to_bits() & MAGNITUDE;
    }
    differences
}

/// Takes in elements side by side, as if all of them and their errors were zeros and normal numbers, which nearly
/// always they are; and finds out whether they were.
pub(crate) struct Normal {
    /// Squares by the field of the exponent. What zeros add to the first is not looked at.
    signal: [[u64; FIELDS]; LANES],
    error: [[u64; FIELDS]; LANES],
    /// The largest error of each eighth element.
    largest: [u32; 8],
    /// One less than the smallest magnitude; of zero that is the largest number.
    least: [u32; 8],
}

impl Default for Normal {
    fn default() -> Self {
        let sums = [[0; FIELDS]; LANES];
        Self { signal: sums, error: sums, largest: [0; 8], least: [u32::MAX; 8] }
    }
}

impl Take for Normal {
    #[inline(always)]
    fn add(&mut self, source: &[u32; RUN], decoded: &[u32; RUN]) {
        let error = differences(source, decoded);
        let signal = source.map(|source| source & MAGNITUDE);
        for (signal, error) in signal.as_chunks::<8>().0.iter().zip(error.as_chunks::<8>().0) {
            let bounds = self.largest.iter_mut().zip(&mut self.least);
            for (((largest, least), &signal), &error) in bounds.zip(signal).zip(error) {
                *largest = error.max(*largest);
                *least = signal.wrapping_sub(1).min(error.wrapping_sub(1)).min(*least);
            }
        }
        scatter(&mut self.signal, &signal);
        scatter(&mut self.error, &error);
    }
}

impl Normal {
    /// The metrics; `None` if something was not normal.
    pub(crate) fn finish(&self) -> Option<ErrorMetrics> {
        let max_abs_bits = self.largest.into_iter().fold(0, u32::max);
        let least = self.least.into_iter().fold(u32::MAX, u32::min);
        // The difference of what is not finite is not finite.
        if max_abs_bits >= INFINITY || least < NORMAL - 1 {
            return None;
        }
        let summed = |lanes: &[[u64; FIELDS]; LANES]| {
            let mut sums = [0; EXPONENTS];
            for [_, lane @ ..] in lanes {
                // The smallest normal numbers have the exponent that is the 24th.
                sums.iter_mut().skip(23).zip(lane).for_each(|(sum, more)| *sum += more);
            }
            Squares::new(sums)
        };
        let [signal, error] = [&self.signal, &self.error].map(summed);
        Some(ErrorMetrics { not_finite: 0, max_abs_bits, signal, error })
    }
}

/// Takes in elements of any kind, one after another.
pub(crate) struct Any {
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

impl Take for Any {
    #[inline(always)]
    fn add(&mut self, source: &[u32; RUN], decoded: &[u32; RUN]) {
        for (&source, &difference) in source.iter().zip(&differences(source, decoded)) {
            if difference >= INFINITY {
                self.not_finite += 1;
                continue;
            }
            self.max_abs_bits = self.max_abs_bits.max(difference);
            count(&mut self.signal, source & MAGNITUDE);
            count(&mut self.error, difference);
        }
    }
}

impl Any {
    /// The metrics.
    pub(crate) fn finish(&self) -> ErrorMetrics {
        let [signal, error] = [self.signal, self.error].map(Squares::new);
        ErrorMetrics { not_finite: self.not_finite, max_abs_bits: self.max_abs_bits, signal, error }
    }
}

/// Adds the squares of the leading 16 bits of normal magnitudes to the sums of their exponents.
#[inline(always)]
fn scatter(sums: &mut [[u64; FIELDS]; LANES], magnitudes: &[u32; RUN]) {
    let (mut fields, mut squares) = ([0_u32; RUN], [0_u32; RUN]);
    for ((field, square), &magnitude) in fields.iter_mut().zip(&mut squares).zip(magnitudes) {
        let leading = ((magnitude & (NORMAL - 1)) | NORMAL) >> 8;
        (*field, *square) = (magnitude >> 23, leading.wrapping_mul(leading));
    }
    let chunks = fields.as_chunks::<LANES>().0.iter().zip(squares.as_chunks::<LANES>().0);
    for (fields, squares) in chunks {
        for ((lane, &field), &square) in sums.iter_mut().zip(fields).zip(squares) {
            lane[field as usize % FIELDS] += u64::from(square);
        }
    }
}

/// Adds the square of the leading 16 bits of a finite magnitude to the sum of its exponent.
fn count(sums: &mut [u64; EXPONENTS], magnitude: u32) {
    // Of zero the shift is 9 and the significand 0, which adds nothing to the first sum.
    let field = magnitude >> 23;
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
        FloatType::F32 => metrics_of::<F32>(source, decoded),
        FloatType::Bf16 => metrics_of::<Bf16>(source, decoded),
        FloatType::F16 => metrics_of::<F16>(source, decoded),
    }
}

fn metrics_of<E: Element>(source: &[u8], decoded: &[u32]) -> ErrorMetrics {
    let normal: Normal = run(Decoded::<E, _> { source, decoded, kinds: PhantomData });
    let any = || run(Decoded::<E, Any> { source, decoded, kinds: PhantomData }).finish();
    normal.finish().unwrap_or_else(any)
}

/// Elements and what they were decoded to.
struct Decoded<'a, E, T> {
    source: &'a [u8],
    decoded: &'a [u32],
    kinds: PhantomData<(E, T)>,
}

impl<E: Element, T: Take> Stretch for Decoded<'_, E, T> {
    type Output = T;

    #[inline(always)]
    fn run(self) -> T {
        let mut taken = T::default();
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
        taken
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
