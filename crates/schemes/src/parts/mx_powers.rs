//! Blocks of MXFP4 under NVFP4's scales: what a block of 16 codes becomes, given the powers of two of its tensor.
//!
//! Source: `formats.md` c (the cast). Each block of 32 becomes two of 16 under the same power of two. With m eight
//! below the largest power of the tensor, every power from 2^(m - 9) to 2^(m + 8) is an E4M3 scale over the global
//! scale 2^m, so that codes stay; a block further down is quantized by its own largest value.

use quantscope_numeric::{e2m1, e4m3, e8m0};

/// Bytes of codes of a block of 16.
pub(crate) const BYTES: u64 = 8;
/// Blocks of 16 in one of 32.
pub(crate) const HALVES: u64 = 2;
/// The byte of an E8M0 scale that is no number.
pub(crate) const NAN: u8 = 255;

/// What a cast says that has to quantize blocks anew.
pub(crate) const FAR: &str =
    "blocks whose power of two lies more than 2^17 below the largest are quantized anew";

/// The powers of two of a tensor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Powers {
    /// Largest and smallest power as stored, NaN left out.
    largest: u8,
    least: u8,
    is_seen: bool,
}

/// What a block becomes.
pub(crate) struct Block {
    pub(crate) scale: u8,
    pub(crate) codes: [u8; 8],
}

/// 2 to the power of `exponent`, which may be below what E8M0 holds: F32 has subnormals down to -149.
fn power(exponent: i32) -> f32 {
    let bits = |n: i32| u32::try_from(n).unwrap_or(0);
    let subnormal = exponent < -126;
    f32::from_bits(if subnormal {
        1_u32.checked_shl(bits(exponent + 149)).unwrap_or(0)
    } else {
        bits(exponent + 127) << 23
    })
}

impl Powers {
    /// Of a tensor of which nothing was seen.
    pub(crate) const UNSEEN: Self = Self { largest: 0, least: NAN, is_seen: false };

    /// Takes in powers as stored.
    pub(crate) fn survey(&mut self, bytes: &[u8]) {
        let numbers = || bytes.iter().copied().filter(|&b| b != NAN);
        self.largest = numbers().fold(self.largest, u8::max);
        self.least = numbers().fold(self.least, u8::min);
        self.is_seen = true;
    }

    /// The global scale's power.
    fn global_power(self) -> i32 {
        i32::from(self.largest) - 127 - 8
    }

    /// The global scale.
    pub(crate) fn global(self) -> f32 {
        power(self.global_power())
    }

    fn is_in_reach(self, byte: u8) -> bool {
        (-9..=8).contains(&(i32::from(byte) - 127 - self.global_power()))
    }

    /// Whether some block's codes may change.
    pub(crate) fn is_far(self) -> bool {
        self.least < NAN && !self.is_in_reach(self.least)
    }

    /// Whether it was seen that no block's codes change.
    pub(crate) fn is_near(self) -> bool {
        self.is_seen && !self.is_far()
    }

    /// A block of 16 codes under a power of two.
    pub(crate) fn block(self, byte: u8, stored: &[u8]) -> Block {
        let codes = eight(stored);
        if byte == NAN {
            return Block { scale: e4m3::NAN_BYTE, codes };
        }
        let global = self.global();
        if self.is_in_reach(byte) {
            let scale = e4m3::encode(power(i32::from(byte) - 127 - self.global_power()));
            // The reference has no negative zero: a weight that is none gets code 0.
            let plain = |nibble: u8| if nibble == 8 { 0 } else { nibble };
            return Block { scale, codes: codes.map(|b| e2m1::pack(plain(b & 15), plain(b >> 4))) };
        }
        let spread = e8m0::decode(byte);
        let value = |nibble: u8| e2m1::decode(nibble) * spread;
        let largest =
            codes.iter().flat_map(|&b| [value(b & 15), value(b >> 4)]).fold(0.0_f32, |m, v| m.max(v.abs()));
        let share = largest / 6.0;
        let share = if share == 0.0 { 1.0 } else { share };
        let ratio = (share * 448.0) / (448.0 * global);
        let scale = e4m3::encode(ratio.clamp(power(-9), 448.0));
        let divisor = e4m3::decode(scale) * global;
        let code = |nibble: u8| e2m1::encode_nvfp4(value(nibble) / divisor);
        Block { scale, codes: codes.map(|b| e2m1::pack(code(b & 15), code(b >> 4))) }
    }

    /// Whether a block decodes to the same values afterwards.
    pub(crate) fn is_exact(self, byte: u8, stored: &[u8]) -> bool {
        if byte == NAN || self.is_in_reach(byte) {
            return true;
        }
        let made = self.block(byte, stored);
        let (before, after) = (e8m0::decode(byte), e4m3::decode(made.scale) * self.global());
        let same = |a: u8, b: u8| e2m1::decode(a) * before == e2m1::decode(b) * after;
        eight(stored).into_iter().zip(made.codes).all(|(a, b)| same(a & 15, b & 15) && same(a >> 4, b >> 4))
    }
}

fn eight(stored: &[u8]) -> [u8; 8] {
    let mut codes = [0; 8];
    for (code, &from) in codes.iter_mut().zip(stored) {
        *code = from;
    }
    codes
}
