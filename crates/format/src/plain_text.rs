//! Text eight bytes at a time: how far a plain string goes, whether a byte comes twice, and what number digits make.

/// A byte in each place of a word.
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

const HIGH: u64 = each(0x80);

/// The upper bit of each byte that is zero; of the bytes above the first such one it may be wrong.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(each(1)) & !word & HIGH
}

/// How many bytes `text` begins with that are printing ASCII, and neither a quote nor a backslash.
pub(crate) fn plain_len(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(each(b' ')) & !word & HIGH;
        let marks = [b'"', b'\\', 0x7f].map(|mark| zeros(word ^ each(mark)));
        let ends = marks.into_iter().fold(control | (word & HIGH), |ends, mark| ends | mark);
        if ends != 0 {
            return 8 * place + (ends.trailing_zeros() / 8) as usize;
        }
    }
    let is_plain = |byte: &&u8| matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~');
    8 * words.len() + rest.iter().take_while(is_plain).count()
}

/// Whether this byte stands twice in a row.
pub(crate) fn has_pair(text: &[u8], byte: u8) -> bool {
    // The upper bit of each byte that is this one, of no other.
    let places = |eight: [u8; 8]| {
        let other = u64::from_le_bytes(eight) ^ each(byte);
        !(((other & !HIGH) + !HIGH) | other) & HIGH
    };
    let mut rest = text;
    // Steps of seven, so that each neighbour is seen beside the one before it.
    while let Some(eight) = rest.first_chunk() {
        let places = places(*eight);
        if places & (places >> 8) != 0 {
            return true;
        }
        rest = rest.get(7..).unwrap_or_default();
    }
    rest.windows(2).any(|pair| pair == [byte; 2])
}

/// The number that the digits at the beginning of `text` make, and how many they are; `None` if there are none, or if
/// it is more than 64 bits can count.
pub(crate) fn digits(text: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0_u64;
    let mut count = 0;
    while let Some(eight) =
        text.get(count..).and_then(<[u8]>::first_chunk).and_then(|word| eight_digits(*word))
    {
        number = number.checked_mul(100_000_000)?.checked_add(eight)?;
        count += 8;
    }
    while let Some(digit) = text.get(count).filter(|byte| byte.is_ascii_digit()) {
        number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        count += 1;
    }
    (count > 0).then_some((number, count))
}

/// The number that eight digits make; `None` if not all are digits.
fn eight_digits(text: [u8; 8]) -> Option<u64> {
    let word = u64::from_le_bytes(text);
    // A digit is 0x30 to 0x39: its upper half is 3, also if six are added.
    let upper = (word & each(0xf0)) | (word.wrapping_add(each(6)) & each(0xf0)) >> 4;
    if upper != each(0x33) {
        return None;
    }
    // Neighbours become pairs, pairs become fours, fours become the number; the first digit is the lowest byte.
    let ones = word & each(0x0f);
    let pairs = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::{digits, has_pair, plain_len};

    /// Every byte at every place among plain ones.
    #[test]
    fn strings_end_at_the_first_byte_that_is_not_plain() {
        // Miri is slow; a step of eight bytes and some more are enough for it.
        let longest = if cfg!(miri) { 10 } else { 20 };
        for byte in 0..=u8::MAX {
            let is_plain = (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
            for len in 0..longest {
                for at in 0..len {
                    let mut text = vec![b'a'; len];
                    text[at] = byte;
                    assert_eq!(
                        plain_len(&text),
                        if is_plain { len } else { at },
                        "{byte:#x} at {at} of {len}"
                    );
                    // A second end behind the first changes nothing.
                    text[len - 1] = b'"';
                    let expected = if is_plain { len - 1 } else { at };
                    assert_eq!(plain_len(&text), expected, "{byte:#x} at {at} of {len}");
                }
            }
        }
    }

    /// Two dots at every two places, and what comes near to them.
    #[test]
    fn two_in_a_row_are_found_wherever_they_are() {
        for len in 0..30 {
            for first in 0..len {
                for second in first + 1..len {
                    for fill in [b'a', b'/', b'-', 0, 0xae, 0xff] {
                        let mut text = vec![fill; len];
                        (text[first], text[second]) = (b'.', b'.');
                        let expected = text.windows(2).any(|pair| pair == b"..");
                        assert_eq!(has_pair(&text, b'.'), expected, "{text:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_are_those_of_the_library() {
        let mut text = String::new();
        for digit in "18446744073709551615".chars() {
            text.push(digit);
            for end in ["", ",", "]", " 1", "/", ":", "x23456789"] {
                let found = digits(format!("{text}{end}").as_bytes());
                assert_eq!(found, Some((text.parse().unwrap(), text.len())), "{text}{end}");
            }
        }
        assert_eq!(digits(b"000000000000000000000000x"), Some((0, 24)));
        for none in ["", "-1", "x", "18446744073709551616", "99999999999999999999"] {
            assert_eq!(digits(none.as_bytes()), None, "{none}");
        }
    }

    /// No byte but a digit passes for one, at any of the eight places.
    #[test]
    fn only_digits_are_digits() {
        for byte in 0..=u8::MAX {
            for at in 0..8 {
                let mut text = *b"12345678";
                text[at] = byte;
                let expected = if byte.is_ascii_digit() { 8 } else { at };
                assert_eq!(digits(&text).map_or(0, |(_, count)| count), expected, "{byte:#x} at {at}");
            }
        }
    }
}
