//! Counting the sixteen codes of four bits in packed bytes.
//!
//! A counter for each code would take a store for each byte. Here bits are counted side by side instead: for every set
//! of the four bits, the codes that have all bits of it. How often each code occurs follows from these fifteen numbers.
//! The loop does nothing but ands, shifts and sums of words, so it becomes vectors everywhere.

use crate::wide::{self, Stretch};

/// Words side by side.
const LANES: usize = 8;
/// Words below each other: as many as a field of four bits counts.
const DEEP: usize = 15;
/// Bytes of a slab of words.
const SLAB: usize = 8 * LANES * DEEP;
/// Slabs whose counts fit in a byte: each adds at most twice `DEEP`.
const SLABS: usize = 8;

/// The lowest bit of every half byte.
const LOWEST: u64 = 0x1111_1111_1111_1111;
/// The low half of every byte.
const HALVES: u64 = 0x0f0f_0f0f_0f0f_0f0f;

/// A loop unrolled by hand: of one inside the loop over lanes the compiler would make no vectors where they are not those
/// that the whole program was built for.
macro_rules! for_each {
    ($($value:literal)* => |$name:ident| $body:block) => { $({ const $name: usize = $value; $body })* };
}

/// How often each code occurs in `bytes`, two of them in a byte.
pub(crate) fn count(bytes: &[u8]) -> [u64; 16] {
    let (slabs, rest) = bytes.as_chunks::<SLAB>();
    let mut counts = wide::run(Slabs(slabs));
    for &byte in rest {
        counts[usize::from(byte & 0xf)] += 1;
        counts[usize::from(byte >> 4)] += 1;
    }
    counts
}

/// Whole slabs.
struct Slabs<'a>(&'a [[u8; SLAB]]);

impl Stretch for Slabs<'_> {
    type Output = [u64; 16];

    #[inline(always)]
    fn run(self) -> [u64; 16] {
        // By set of bits: the codes that have all of them. The empty set has all codes.
        let mut having = [0; 16];
        for slabs in self.0.chunks(SLABS) {
            let mut sums = [[0; LANES]; 16];
            for slab in slabs {
                add_slab(&mut sums, slab);
            }
            for (having, sums) in having.iter_mut().zip(&sums).skip(1) {
                let bytes: &[u8; 8 * LANES] = bytemuck::cast_ref(sums);
                *having += bytes.iter().map(|&sum| u64::from(sum)).sum::<u64>();
            }
            having[0] += (slabs.len() * 2 * SLAB) as u64;
        }
        // Whoever has more bits than those of a set is taken from it, a bit at a time.
        for bit in [1, 2, 4, 8] {
            for set in (0..16).filter(|set| set & bit == 0) {
                having[set] -= having[set | bit];
            }
        }
        having
    }
}

/// Adds the counts of a slab to sums of bytes.
#[inline(always)]
fn add_slab(sums: &mut [[u64; LANES]; 16], slab: &[u8; SLAB]) {
    let (words, _) = slab.as_chunks::<8>();
    let (rows, _) = words.as_chunks::<LANES>();
    let Some(rows) = rows.as_array::<DEEP>() else { return };
    for lane in 0..LANES {
        let mut fields = [0; 16];
        for_each!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 => |ROW| {
            fields = with_word(fields, u64::from_le_bytes(rows[ROW][lane]));
        });
        for_each!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 => |SET| {
            sums[SET][lane] += (fields[SET] & HALVES) + ((fields[SET] >> 4) & HALVES);
        });
    }
}

/// Adds, for every set of bits, one to the fields of those codes that have all of them.
#[inline(always)]
fn with_word(mut fields: [u64; 16], word: u64) -> [u64; 16] {
    let [a, b, c, d] = [word & LOWEST, (word >> 1) & LOWEST, (word >> 2) & LOWEST, (word >> 3) & LOWEST];
    let (ab, ac, bc) = (a & b, a & c, b & c);
    let abc = ab & c;
    let having = [0, a, b, ab, c, ac, bc, abc, d, a & d, b & d, ab & d, c & d, ac & d, bc & d, abc & d];
    for_each!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 => |SET| {
        fields[SET] += having[SET];
    });
    fields
}

#[cfg(test)]
mod tests {
    use super::{SLAB, SLABS, count};

    fn expected(bytes: &[u8]) -> [u64; 16] {
        let mut counts = [0; 16];
        for byte in bytes {
            counts[usize::from(byte % 16)] += 1;
            counts[usize::from(byte / 16)] += 1;
        }
        counts
    }

    #[test]
    fn counts_are_those_of_a_loop() {
        let mut state = 1_u32;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24).to_le_bytes()[0]
        })
        .take(3 * SLABS * SLAB)
        .collect();
        for len in [0, 1, 7, SLAB - 1, SLAB, SLAB + 1, SLABS * SLAB - 1, SLABS * SLAB + SLAB + 3, bytes.len()]
        {
            assert_eq!(count(&bytes[..len]), expected(&bytes[..len]), "{len}");
            assert_eq!(count(&bytes[bytes.len() - len..]), expected(&bytes[bytes.len() - len..]), "{len}");
        }
    }

    /// Sums are the largest where all codes are one.
    #[test]
    fn no_sum_overflows() {
        for byte in [0x00, 0x11, 0x7f, 0xf0, 0xff] {
            let bytes = vec![byte; 2 * SLABS * SLAB + SLAB + 5];
            assert_eq!(count(&bytes), expected(&bytes), "{byte:#x}");
        }
    }
}
