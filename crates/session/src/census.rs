//! How often each code, or each exponent, occurs in the stored weights.

use quantscope_audit::LayerInfo;
use quantscope_numeric::{Dtype, e2m1};
use quantscope_schemes::ScaleLayout;
use serde::{Deserialize, Serialize};

/// Counts of the codes that were read, padding included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// What is counted, such as `E2M1 codes`.
    pub of: String,
    /// A word for each code or exponent, and how often it occurs.
    pub counts: Vec<(String, u64)>,
    /// Codes counted.
    pub total: u64,
    /// Codes of the largest magnitude, whatever their sign.
    pub largest: u64,
}

/// The codes that a census knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codes {
    /// Two to a byte.
    E2m1,
    /// One to a byte.
    E4m3,
}

/// Counts codes as they are read.
pub(crate) struct Counter {
    codes: Codes,
    bytes: [u64; 256],
}

impl Codes {
    /// The codes of a layer; `None` where they are of another kind.
    pub(crate) fn of(layer: &LayerInfo, layout: ScaleLayout, dtype: Dtype) -> Option<Self> {
        let fp4 = match layout {
            ScaleLayout::Fp4Blocks { .. } => true,
            ScaleLayout::MxBlocks { .. } => matches!(dtype, Dtype::U8 | Dtype::F4),
            _ => false,
        };
        match dtype {
            _ if fp4 && layer.is_quantized() => Some(Self::E2m1),
            Dtype::F8_E4M3 => Some(Self::E4m3),
            _ => None,
        }
    }
}

impl Counter {
    pub(crate) fn new(codes: Codes) -> Self {
        Self { codes, bytes: [0; 256] }
    }

    /// Counts stored bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if let Some(count) = self.bytes.get_mut(usize::from(byte)) {
                *count += 1;
            }
        }
    }

    /// The counts in words.
    pub(crate) fn census(&self) -> Census {
        let all = || (0_u8..=u8::MAX).zip(self.bytes);
        let sum = |keep: &dyn Fn(u8) -> bool| all().filter(|(b, _)| keep(*b)).map(|(_, n)| n).sum::<u64>();
        match self.codes {
            Codes::E2m1 => {
                let of = |code: u8| sum(&|b| b & 15 == code) + sum(&|b| b >> 4 == code);
                let word = |code: u8| match code {
                    8 => "-0".to_string(),
                    _ => e2m1::decode(code).to_string(),
                };
                let counts: Vec<(String, u64)> = (0..16).map(|code| (word(code), of(code))).collect();
                let total = counts.iter().map(|(_, n)| n).sum();
                Census { of: "E2M1 codes".into(), counts, total, largest: of(7) + of(15) }
            }
            Codes::E4m3 => {
                let exponent = |b: u8| (b >> 3) & 15;
                let magnitude = |b: u8| b & 0x7f;
                let mut counts = vec![
                    ("0".to_string(), sum(&|b| magnitude(b) == 0)),
                    ("below 2^-6".to_string(), sum(&|b| exponent(b) == 0 && magnitude(b) != 0)),
                ];
                counts.extend((1..16_u8).map(|e| {
                    let power = i32::from(e) - 7;
                    (format!("2^{power}"), sum(&|b| exponent(b) == e && magnitude(b) != 0x7f))
                }));
                counts.push(("NaN".to_string(), sum(&|b| magnitude(b) == 0x7f)));
                let total = counts.iter().map(|(_, n)| n).sum();
                Census { of: "E4M3 exponents".into(), counts, total, largest: sum(&|b| magnitude(b) == 0x7e) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Codes, Counter};

    fn counted(codes: Codes, bytes: &[u8]) -> Vec<(String, u64)> {
        let mut counter = Counter::new(codes);
        counter.add(bytes);
        let census = counter.census();
        assert_eq!(census.total, census.counts.iter().map(|(_, n)| n).sum::<u64>());
        census.counts.into_iter().filter(|(_, n)| *n > 0).collect()
    }

    /// The sixteen values of OCP MX 1.0, table 5, in the order of their codes.
    #[test]
    fn every_fp4_code_has_its_value() {
        let bytes: Vec<u8> = (0..8).map(|i| (2 * i) | ((2 * i + 1) << 4)).collect();
        let words: Vec<String> = counted(Codes::E2m1, &bytes).into_iter().map(|(word, _)| word).collect();
        let expected =
            ["0", "0.5", "1", "1.5", "2", "3", "4", "6", "-0", "-0.5", "-1", "-1.5", "-2", "-3", "-4", "-6"];
        assert_eq!(words, expected);
        assert_eq!(counted(Codes::E2m1, &[0xf7, 0x77]), [("6".into(), 3), ("-6".into(), 1)]);
    }

    #[test]
    fn fp8_codes_are_counted_by_their_exponent() {
        // 0, -0, the smallest subnormal, 1.0, -1.5, 448, NaN of either sign.
        let bytes = [0x00, 0x80, 0x01, 0x38, 0xbc, 0x7e, 0x7f, 0xff];
        let expected = [("0", 2), ("below 2^-6", 1), ("2^0", 2), ("2^8", 1), ("NaN", 2)];
        assert_eq!(counted(Codes::E4m3, &bytes), expected.map(|(word, n)| (word.to_string(), n)));
        let mut counter = Counter::new(Codes::E4m3);
        counter.add(&bytes);
        assert_eq!(counter.census().largest, 1);
    }
}
