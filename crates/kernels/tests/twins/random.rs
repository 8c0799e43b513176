//! Seeded tiles: the same on every machine.

use quantscope_kernels::FloatType;
use quantscope_numeric::{bf16, f16};

/// Rows and columns that are awkward: nothing, one, a block less and more than one element, an odd number
/// of narrow elements a row, a shader's share of blocks less and more than one, several workgroups.
pub(crate) const SHAPES: [(u32, u32); 20] = [
    (0, 0),
    (0, 16),
    (3, 0),
    (1, 1),
    (1, 2),
    (3, 1),
    (1, 15),
    (1, 16),
    (1, 17),
    (5, 7),
    (2, 31),
    (3, 33),
    (1, 63 * 16),
    (1, 64 * 16 + 1),
    (63, 64),
    (65, 64),
    (255, 17),
    (257, 16),
    (129, 131),
    (300, 517),
];

/// The element types.
pub(crate) const TYPES: [FloatType; 3] = [FloatType::F32, FloatType::Bf16, FloatType::F16];

/// The little-endian bytes of a value in a type.
pub(crate) fn from_f32(dtype: FloatType, value: f32) -> Vec<u8> {
    match dtype {
        FloatType::F32 => value.to_le_bytes().to_vec(),
        FloatType::Bf16 => bf16::from_f32(value).to_le_bytes().to_vec(),
        FloatType::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next 64 bits.
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.word() % end
    }

    /// Bytes of any value.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.word().to_le_bytes()[3]).collect()
    }

    /// A value between -1 and 1, small ones likelier, as weights are.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "any value will do")]
    fn weight(&mut self) -> f32 {
        let unit = |word: u64| (word >> 11) as f32 / (1_u64 << 53) as f32;
        (unit(self.word()) - 0.5) * (unit(self.word()) + unit(self.word()))
    }

    /// A finite element, little-endian: mostly a weight, sometimes a zero of either sign, a tiny or huge
    /// value, or any finite pattern.
    pub(crate) fn element(&mut self, dtype: FloatType, unit: f32) -> Vec<u8> {
        let value = match self.below(16) {
            0 => 0.0,
            1 => -0.0,
            2 => self.weight() * unit * 1.0e-6,
            3 => self.weight() * 1.0e-42,
            4 => return self.finite_pattern(dtype),
            _ => self.weight() * unit,
        };
        from_f32(dtype, value)
    }

    /// The bits of a scale around `unit`; sometimes zero, subnormal, negative, infinite, NaN, or anything.
    pub(crate) fn scale(&mut self, unit: f32) -> u32 {
        match self.below(16) {
            0 => [0, 0x8000_0000, 1, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffff_ffff, 0x0080_0000]
                [usize::try_from(self.below(8)).unwrap()],
            1 | 2 => u32::try_from(self.word() >> 32).unwrap(),
            3 => (self.weight() * 1.0e-38).to_bits(),
            _ => (self.weight().abs() * unit).to_bits(),
        }
    }

    fn finite_pattern(&mut self, dtype: FloatType) -> Vec<u8> {
        let [a, b, c, d, ..] = self.word().to_le_bytes();
        match dtype {
            FloatType::F32 if f32::from_le_bytes([a, b, c, d]).is_finite() => vec![a, b, c, d],
            FloatType::Bf16 if bf16::from_le_bytes([a, b]).is_finite() => vec![a, b],
            FloatType::F16 if f16::from_le_bytes([a, b]).is_finite() => vec![a, b],
            _ => vec![0; dtype.bytes()],
        }
    }

    /// A tile of finite elements around `unit`. Some runs of 32 elements are all zero or all tiny.
    pub(crate) fn tile(&mut self, dtype: FloatType, rows: u32, cols: u32, unit: f32) -> Vec<u8> {
        let elements = rows as usize * cols as usize;
        let mut bytes = Vec::with_capacity(elements * dtype.bytes());
        let mut scale = 1.0;
        for i in 0..elements {
            if i % 32 == 0 {
                scale = [1.0, 1.0, 1.0, 0.01, 1.0e-5, 0.0][usize::try_from(self.below(6)).unwrap()];
            }
            if scale == 0.0 {
                bytes.extend(vec![0; dtype.bytes()]);
            } else {
                bytes.extend(self.element(dtype, unit * scale));
            }
        }
        bytes
    }
}
