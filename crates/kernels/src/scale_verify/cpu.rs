//! The CPU twin.

use crate::engine::{NONE, ScaleCensus};

/// Takes the census of scales given as bits.
pub(crate) fn census(scales: &[u32]) -> ScaleCensus {
    let mut census = ScaleCensus::default();
    for (i, &bits) in scales.iter().enumerate() {
        let magnitude = bits & 0x7fff_ffff;
        let is_finite = magnitude < 0x7f80_0000;
        let is_negative = is_finite && bits > 0x8000_0000;
        census.not_finite += u64::from(!is_finite);
        census.negative += u64::from(is_negative);
        census.zero += u64::from(magnitude == 0);
        census.subnormal += u64::from(magnitude != 0 && magnitude < 0x0080_0000);
        if (!is_finite || is_negative) && census.first_bad == NONE {
            census.first_bad = i as u64;
        }
    }
    census
}
