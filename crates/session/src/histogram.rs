//! Counts of values in equal steps, with their moments.

use crate::api::Histogram;

/// Bins, an odd number, so that zero has one of its own.
const BINS: usize = 61;

/// Counts values in equal steps between the extremes, symmetric about zero.
pub(crate) fn histogram(values: &[f32]) -> Histogram {
    let finite = || values.iter().copied().filter(|v| v.is_finite()).map(f64::from);
    let extreme = finite().map(f64::abs).fold(0.0, f64::max);
    let extreme = if extreme > 0.0 { extreme } else { 1.0 };
    let mut histogram =
        Histogram { low: -extreme, high: extreme, bins: vec![0; BINS], ..Histogram::default() };
    let (mut sum, mut squares, mut number) = (0.0, 0.0, 0.0_f64);
    for value in finite() {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bin between 0 and 60")]
        let bin = ((value / extreme + 1.0) / 2.0 * BINS as f64) as usize;
        if let Some(slot) = histogram.bins.get_mut(bin.min(BINS - 1)) {
            *slot += 1;
        }
        histogram.zeros += u64::from(value == 0.0);
        (sum, squares, number) = (sum + value, squares + value * value, number + 1.0);
    }
    histogram.not_finite = crate::count(values.iter().filter(|v| !v.is_finite()).count());
    if number > 0.0 {
        histogram.mean = sum / number;
        histogram.std = (squares / number - histogram.mean * histogram.mean).max(0.0).sqrt();
    }
    histogram
}

#[cfg(test)]
mod tests {
    use super::{BINS, histogram};

    #[test]
    fn moments_and_places_are_right() {
        let h = histogram(&[-2.0, 0.0, 0.0, 1.0, 2.0, f32::NAN, f32::INFINITY]);
        assert_eq!((h.low, h.high, h.zeros, h.not_finite), (-2.0, 2.0, 2, 2));
        assert_eq!(h.bins.iter().sum::<u64>(), 5);
        assert_eq!((h.bins[0], h.bins[BINS / 2], h.bins[BINS - 1]), (1, 2, 1));
        // The mean is 0.2, the mean square 1.8.
        assert!((h.mean - 0.2).abs() < 1e-12 && (h.std - (1.8_f64 - 0.04).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn nothing_is_a_histogram_too() {
        assert_eq!(histogram(&[]).bins, vec![0; BINS]);
    }
}
