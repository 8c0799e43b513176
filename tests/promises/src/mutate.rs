//! Changes to bytes, the same on every machine: a fuzzer's moves without a fuzzer.

use crate::header::framed;

/// What upsets parsers of the texts we read.
const WORDS: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "null",
    "true",
    "0",
    "-1",
    "-0",
    "1.0",
    "1e999",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775808",
    "4294967296",
    "\\u0000",
    "\\ud800",
    "\\u202e",
    "\\\\",
    "../",
    "/",
    "__metadata__",
    "__proto__",
    "\"dtype\"",
    "\"shape\"",
    "\"data_offsets\"",
    "\"U8\"",
    "\"F4\"",
    "\"BF16\"",
    "weight_map",
    "weight_scale",
    "*",
    "?",
    "[!",
    "\n",
    "\u{feff}",
    " ",
];

/// A source of changed inputs that gives the same ones for the same seed.
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// Begins with that seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number (splitmix64, by Sebastiano Vigna, in the public domain).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `n`, or 0.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap_or(usize::MAX) % n.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }

    /// One of the seeds with up to five changes, no longer than `longest`.
    pub fn changed(&mut self, seeds: &[Vec<u8>], longest: usize) -> Vec<u8> {
        let mut bytes = seeds.get(self.below(seeds.len())).cloned().unwrap_or_default();
        for _ in 0..=self.below(5) {
            self.change(&mut bytes, seeds);
        }
        bytes.truncate(longest);
        bytes
    }

    /// A file of one of the seeds' headers with one change in it and the length put right, so that more than the
    /// parser's first look is tried.
    pub fn header(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let seed = framed(seeds.get(self.below(seeds.len())).map_or(&[], Vec::as_slice));
        let (length, rest) = seed.split_at(seed.len().min(8));
        let length = length.try_into().map_or(0, u64::from_le_bytes);
        let (json, data) = rest.split_at(usize::try_from(length).unwrap_or(0).min(rest.len()));
        let mut json = json.to_vec();
        self.change(&mut json, seeds);
        let mut file = u64::try_from(json.len()).unwrap_or(0).to_le_bytes().to_vec();
        file.extend_from_slice(&json);
        file.extend_from_slice(data);
        file
    }

    fn change(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        let len = self.below(24).min(bytes.len() - at);
        match self.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = self.byte(),
            2 => drop(bytes.drain(at..at + len)),
            3 => {
                let piece = bytes[at..at + len].to_vec();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            4 => {
                let word = WORDS[self.below(WORDS.len())];
                bytes.splice(at..at + len.min(3), word.bytes());
            }
            5 => self.change_digit(bytes),
            6 => bytes.truncate(at),
            _ => {
                let Some(other) = seeds.get(self.below(seeds.len())) else { return };
                let from = self.below(other.len() + 1);
                let piece = other[from..(from + len).min(other.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }

    /// Most of what a header says is said with digits.
    fn change_digit(&mut self, bytes: &mut [u8]) {
        let digits: Vec<usize> = (0..bytes.len()).filter(|&i| bytes[i].is_ascii_digit()).collect();
        if let Some(&at) = digits.get(self.below(digits.len())) {
            bytes[at] = b'0' + self.byte() % 10;
        }
    }
}
