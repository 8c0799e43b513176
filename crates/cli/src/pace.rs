//! How long a job took, and how many bytes a second that is.

use serde::Serialize;
use std::time::Duration;

/// The pace of a finished job.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Pace {
    /// Time from the first byte read to the last one synced.
    pub(crate) seconds: f64,
    /// Bytes of the source's tensors in a second of it.
    pub(crate) bytes_per_second: u64,
}

impl Pace {
    /// The pace of working through so many bytes.
    pub(crate) fn new(bytes: u64, took: Duration) -> Self {
        let nanoseconds = took.as_nanos().max(1);
        let rate = u128::from(bytes).saturating_mul(1_000_000_000) / nanoseconds;
        Self { seconds: took.as_secs_f64(), bytes_per_second: u64::try_from(rate).unwrap_or(u64::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use std::time::Duration;

    #[test]
    fn bytes_go_by_in_seconds() {
        let pace = Pace::new(3_000_000_000, Duration::from_millis(1500));
        assert_eq!(pace, Pace { seconds: 1.5, bytes_per_second: 2_000_000_000 });
        assert_eq!(Pace::new(u64::MAX, Duration::ZERO).bytes_per_second, u64::MAX);
    }
}
