//! How a block's largest magnitude becomes its scale byte: the two rules, in floats as the reference
//! computes them (`formats.md` b and c; ModelOpt `NVFP4QTensor.get_weights_scaling_factor`).

use super::threshold::{ALWAYS, NEVER, last_below};
use quantscope_numeric::e4m3;
use serde::{Deserialize, Serialize};

/// The largest block scale that a tensor's second scale makes room for under the static rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScaleRange {
    /// 448, the largest of E4M3.
    Full,
    /// 256: room for scales of 1.5 times their block's share (four-over-six).
    FourOverSix,
}

impl ScaleRange {
    /// The largest block scale.
    #[must_use]
    pub const fn most(self) -> f32 {
        match self {
            Self::Full => 448.0,
            Self::FourOverSix => 256.0,
        }
    }
}

/// What the scale of a block is made of beside the block's largest magnitude.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum ScaleRule {
    /// `s = amax / (6 * ws2)`, 1 if that is 0; `E4M3(clamp(s, 2^-9, 448))`. Each step rounded to F32.
    Dynamic {
        /// The second scale of the tensor.
        ws2: f32,
    },
    /// `s = amax / 6`, 1 if that is 0; `s = (s * M) / (global / 6)`; `E4M3(clamp(s, 2^-9, 448))`. Each step
    /// rounded to F32. The second scale is `global / (6 * M)`.
    Static {
        /// The largest magnitude of the tensor or of its fused group.
        global: f32,
        /// Which `M`.
        range: ScaleRange,
    },
}

impl ScaleRule {
    /// The second scale of the tensor (`weight_scale_2`).
    #[must_use]
    pub fn ws2(self) -> f32 {
        match self {
            Self::Dynamic { ws2 } => ws2,
            Self::Static { global, range } => global / (6.0 * range.most()),
        }
    }

    /// The scale byte of a block whose largest magnitude is `amax`.
    #[must_use]
    pub fn scale_byte(self, amax: f32) -> u8 {
        self.byte(amax).unwrap_or_else(|| self.zero_scale())
    }

    /// The scale byte of a block whose largest magnitude is `amax`; `None` where the first quotient is zero
    /// and gives way to 1. Of the two NaN bytes always the positive one: which of them 0/0 gives depends on
    /// the processor.
    fn byte(self, amax: f32) -> Option<u8> {
        let quotient = match self {
            Self::Dynamic { ws2 } => amax / (6.0 * ws2),
            Self::Static { .. } => amax / 6.0,
        };
        (quotient != 0.0).then(|| self.byte_of_quotient(quotient))
    }

    fn byte_of_quotient(self, quotient: f32) -> u8 {
        let scale = match self {
            Self::Dynamic { .. } => quotient,
            Self::Static { global, range } => (quotient * range.most()) / (global / 6.0),
        };
        if scale.is_nan() {
            return e4m3::NAN_BYTE;
        }
        e4m3::encode(scale.clamp(e4m3::MIN_POSITIVE, e4m3::MAX))
    }

    /// The byte of a block of zeros, and of all blocks whose first quotient is zero.
    pub(super) fn zero_scale(self) -> u8 {
        self.byte(0.0).unwrap_or_else(|| self.byte_of_quotient(1.0))
    }

    /// The largest magnitude of a block whose scale is `scale`, about.
    fn amax(self, scale: f32) -> f32 {
        match self {
            Self::Dynamic { ws2 } => scale * (6.0 * ws2),
            Self::Static { global, range } => scale / range.most() * global,
        }
    }

    /// The last F32 pattern of a block maximum whose scale byte is below `i`, for 1 to 126. Entry 0 is not
    /// used, entry 127 is never exceeded.
    pub(super) fn scale_last(self) -> [i32; 128] {
        let mut scale_last = [NEVER; 128];
        scale_last[0] = ALWAYS;
        for byte in 1..=0x7e_u8 {
            scale_last[usize::from(byte)] = last_below(self.amax(e4m3::decode(byte)), |amax| {
                self.byte(amax).is_some_and(|b| b != e4m3::NAN_BYTE && b >= byte)
            });
        }
        scale_last
    }
}
