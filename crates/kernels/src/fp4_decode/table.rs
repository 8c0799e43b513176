//! The value of every code under every scale byte.

use crate::values;
use quantscope_numeric::{e2m1, e4m3, e8m0};
use serde::{Deserialize, Serialize};

/// In which half of a byte the even column's code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Nibbles {
    /// In the low one: ModelOpt, compressed-tensors, gpt-oss.
    LowFirst,
    /// In the high one: ComfyUI.
    HighFirst,
}

/// The values of the sixteen codes under each of the 256 scale bytes, as F32 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fp4DecodeTable {
    nibbles: Nibbles,
    products: Vec<[u32; 16]>,
}

impl Fp4DecodeTable {
    /// The factor of a block with scale byte `byte` being `factor(byte)`.
    #[must_use]
    pub fn new(nibbles: Nibbles, factor: impl Fn(u8) -> f32) -> Self {
        let products = (0..=u8::MAX).map(|byte| {
            let factor = factor(byte);
            std::array::from_fn(|code| {
                values::bits(factor * e2m1::decode(u8::try_from(code).unwrap_or_default()))
            })
        });
        Self { nibbles, products: products.collect() }
    }

    /// Scale bytes are E4M3, and all are multiplied with `ws2` (`weight_scale_2`) first: NVFP4.
    #[must_use]
    pub fn e4m3(ws2: f32, nibbles: Nibbles) -> Self {
        Self::new(nibbles, |byte| e4m3::decode(byte) * ws2)
    }

    /// Scale bytes are E8M0, of which 255 is NaN: MXFP4.
    #[must_use]
    pub fn e8m0(nibbles: Nibbles) -> Self {
        Self::new(nibbles, e8m0::decode)
    }

    /// A table whose words are those that [`Self::words`] gives. Scale bytes that are missing decode to NaN.
    #[must_use]
    pub fn from_words(nibbles: Nibbles, words: &[u32]) -> Self {
        Self { nibbles, products: words.as_chunks::<16>().0.to_vec() }
    }

    /// Where the even column's code is.
    #[must_use]
    pub fn nibbles(&self) -> Nibbles {
        self.nibbles
    }

    /// The values of the codes under a scale byte.
    pub(crate) fn values(&self, scale: u8) -> &[u32; 16] {
        const NAN: &[u32; 16] = &[values::NAN_BITS; 16];
        self.products.get(usize::from(scale)).unwrap_or(NAN)
    }

    /// What codes are multiplied with under a scale byte.
    pub(crate) fn factor(&self, scale: u8) -> f32 {
        const ONE: usize = 2;
        f32::from_bits(self.values(scale)[ONE])
    }

    /// The values by scale byte and code, for the shader's `products`.
    #[must_use]
    pub fn words(&self) -> &[u32] {
        self.products.as_flattened()
    }
}
