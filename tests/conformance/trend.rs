//! Whether a measure grows: a straight line through its samples, by least squares.

/// A measure over time.
#[derive(Debug, Clone, Default)]
pub struct Trend {
    samples: Vec<(f64, f64)>,
}

/// A straight line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// What it grows by from the first sample to the last, in the unit of the measure.
    pub growth: f64,
    /// The mean of the measure.
    pub mean: f64,
}

impl Trend {
    /// Adds a sample: when, and how much.
    pub fn add(&mut self, at: f64, value: f64) {
        self.samples.push((at, value));
    }

    /// The line through the samples after the first `warm_up`, a part of the whole time. `None` if fewer than ten
    /// are left.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a count of samples")]
    pub fn line(&self, warm_up: f64) -> Option<Line> {
        let (first, last) = (self.samples.first()?.0, self.samples.last()?.0);
        let from = first + (last - first) * warm_up;
        let kept: Vec<(f64, f64)> = self.samples.iter().copied().filter(|(at, _)| *at >= from).collect();
        if kept.len() < 10 {
            return None;
        }
        let count = kept.len() as f64;
        let mean_at = kept.iter().map(|(at, _)| at).sum::<f64>() / count;
        let mean = kept.iter().map(|(_, value)| value).sum::<f64>() / count;
        let spread: f64 = kept.iter().map(|(at, _)| (at - mean_at).powi(2)).sum();
        let common: f64 = kept.iter().map(|(at, value)| (at - mean_at) * (value - mean)).sum();
        if spread == 0.0 {
            return None;
        }
        let length = kept.last()?.0 - kept.first()?.0;
        Some(Line { growth: common / spread * length, mean })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: impl Fn(f64) -> f64) -> Trend {
        let mut trend = Trend::default();
        (0..100).map(f64::from).for_each(|at| trend.add(at, value(at)));
        trend
    }

    #[test]
    fn growth_is_found_under_noise_and_warm_up_is_left_out() {
        let noise = |at: f64| (at * 37.0) % 7.0;
        let level = of(|at| 100.0 + noise(at)).line(0.2).unwrap();
        assert!(level.growth.abs() < 2.0, "{level:?}");
        let leak = of(|at| 100.0 + noise(at) + at / 4.0).line(0.2).unwrap();
        assert!((leak.growth - 20.0).abs() < 3.0, "{leak:?}");
        let warm = of(|at| if at < 20.0 { at } else { 100.0 }).line(0.25).unwrap();
        assert!(warm.growth.abs() < 1e-9 && (warm.mean - 100.0).abs() < 1e-9, "{warm:?}");
    }

    #[test]
    fn a_line_needs_samples() {
        assert_eq!(Trend::default().line(0.0), None);
        let mut short = Trend::default();
        (0..9).map(f64::from).for_each(|at| short.add(at, 1.0));
        assert_eq!(short.line(0.0), None);
    }
}
