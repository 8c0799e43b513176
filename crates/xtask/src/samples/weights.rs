//! Pseudo-random weights that are the same on every machine.
//!
//! Only integer arithmetic and exactly rounded operations (`+`, `*`, `/`, `sqrt`) are used, so the samples
//! have the same bytes everywhere.

use super::vae::{Part, Tensor};
use half::bf16;

/// `SplitMix64` (Steele, Lea, Flood 2014).
pub(crate) struct Random(u64);

impl Random {
    /// A stream of its own for each name (FNV-1a of it), so that adding a tensor changes no other.
    pub(crate) fn of(name: &str) -> Self {
        Self(
            name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            }),
        )
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1), in steps of 2^-32.
    pub(crate) fn uniform(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap_or(0)) / 4_294_967_296.0
    }

    /// Nearly standard normal: the sum of twelve uniforms (Irwin-Hall), less six.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// BF16 values of one tensor, little-endian.
pub(crate) fn bf16_bytes(tensor: &Tensor) -> Vec<u8> {
    let mut random = Random::of(&tensor.name);
    let count: u64 = tensor.shape.iter().product();
    let out = tensor.shape.first().copied().unwrap_or(1).max(1);
    let per_row = count / out;
    let mut bytes = Vec::new();
    for _ in 0..out {
        // Output channels of trained convolutions differ in size; it makes the scales worth a look.
        let row = 0.5 + 1.5 * random.uniform() * random.uniform();
        for _ in 0..per_row {
            let value = match tensor.part {
                // As He initialisation has it: 1 / sqrt(fan-in).
                Part::Kernel => random.normal() * row / f64::from(u32::try_from(per_row).unwrap_or(1)).sqrt(),
                Part::Bias => random.normal() * 0.02,
                Part::Gain => 1.0 + random.normal() * 0.1,
            };
            bytes.extend(bf16::from_f64(value).to_le_bytes());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // First outputs for seed 1234567, from the reference C program (https://prng.di.unimi.it/splitmix64.c).
        let mut random = Random(1_234_567);
        let first = [random.next(), random.next(), random.next()];
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn kernels_have_the_spread_of_their_fan_in() {
        let tensor = Tensor { name: "a.weight".into(), shape: vec![40, 40, 3, 3, 3], part: Part::Kernel };
        let values: Vec<f64> = bf16_bytes(&tensor)
            .chunks_exact(2)
            .map(|pair| bf16::from_le_bytes([pair[0], pair[1]]).to_f64())
            .collect();
        assert_eq!(values.len(), 40 * 40 * 27);
        let power = values.iter().map(|v| v * v).sum::<f64>() / 43_200.0;
        // row^2 averages 0.25 + 2 * 0.5 * 1.5 / 4 + 2.25 / 9 = 0.875.
        assert!((power * 1080.0 - 0.875).abs() < 0.2, "{power}");
    }
}
