//! The patterns of a block's largest magnitude at which the scale byte changes.
//!
//! The byte grows with the magnitude: a division, a logarithm, its rounding to F32 and the ceiling all keep
//! the order. So each byte begins at one pattern, found here by bisection on the float formula.

use super::MxElement;
use quantscope_numeric::e8m0;
use std::sync::OnceLock;

/// The pattern of infinity.
const INFINITY: u32 = 0x7f80_0000;

/// Thresholds of the scale bytes of one element type.
#[derive(Debug)]
pub struct ScaleTable {
    /// Element `i` is the last pattern of a block's largest magnitude whose byte is at most `i`; the last one
    /// is never exceeded.
    last: [u32; 256],
}

impl ScaleTable {
    /// The thresholds of an element type, found when they are first asked for.
    #[must_use]
    pub fn of(element: MxElement) -> &'static Self {
        static E2M1: OnceLock<ScaleTable> = OnceLock::new();
        static E4M3: OnceLock<ScaleTable> = OnceLock::new();
        let table = match element {
            MxElement::E2m1 => &E2M1,
            MxElement::E4m3 => &E4M3,
        };
        table.get_or_init(|| Self::new(element.max()))
    }

    fn new(largest: f32) -> Self {
        let byte_of = |pattern: u32| e8m0::encode_quotient(f32::from_bits(pattern) / largest);
        let mut last = [u32::MAX; 256];
        let mut low = 0;
        for (byte, last) in (0..=253).zip(&mut last) {
            // `low` has at most this byte, as it had at most the one before; infinity has 254.
            let mut high = INFINITY;
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                if byte_of(middle) > byte {
                    high = middle;
                } else {
                    low = middle;
                }
            }
            *last = low;
        }
        Self { last }
    }

    /// The scale byte of a block whose largest magnitude has the F32 pattern `bits`: how many thresholds it
    /// exceeds.
    #[must_use]
    pub fn scale_byte(&self, bits: u32) -> u8 {
        let below = self.last.partition_point(|&last| bits > last);
        u8::try_from(below).unwrap_or(u8::MAX)
    }

    /// The thresholds, for the shader's `scale_last`.
    #[must_use]
    pub fn words(&self) -> &[u32; 256] {
        &self.last
    }
}
