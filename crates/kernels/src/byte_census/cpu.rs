//! The CPU twin.

use super::ByteCensus;
use crate::histogram::Histogram;

/// Takes the census of `bytes`. Indices are of `bytes`.
pub(crate) fn census(bytes: &[u8]) -> ByteCensus {
    let mut histogram = Histogram::default();
    histogram.count(bytes);
    let mut census = ByteCensus { counts: histogram.totals(), ..ByteCensus::default() };
    let mut missing = census.counts.iter().filter(|count| **count > 0).count();
    for (&byte, at) in bytes.iter().zip(0_u64..) {
        if missing == 0 {
            break;
        }
        let first = &mut census.first[usize::from(byte)];
        if at < *first {
            *first = at;
            missing -= 1;
        }
    }
    census
}
