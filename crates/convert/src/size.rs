//! Sizes as people write them: `5GB`, `512MiB`.

use crate::error::ConvertError;

/// Units and their bytes: powers of 1000, and with an `i` of 1024.
const UNITS: [(&str, u64); 9] = [
    ("KIB", 1 << 10),
    ("MIB", 1 << 20),
    ("GIB", 1 << 30),
    ("TIB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// Bytes of a size: a whole number and a unit, in letters of either case; without a unit, bytes.
///
/// # Errors
/// If it is no such size, or 0, or over 64 bits.
pub fn parse(text: &str) -> Result<u64, ConvertError> {
    let upper = text.trim().to_ascii_uppercase();
    let unit = UNITS.iter().find_map(|&(unit, bytes)| Some((upper.strip_suffix(unit)?, bytes)));
    let (number, bytes) = unit.unwrap_or((&upper, 1));
    let number = number.trim();
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let size = number.parse::<u64>().ok().filter(|_| digits).and_then(|n| n.checked_mul(bytes));
    size.filter(|&size| size > 0).ok_or_else(|| {
        ConvertError::Refused(format!(
            "{text:?} is no size; write a whole number with KB, MB, GB, KiB, MiB or GiB"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn units_are_powers_of_1000_and_of_1024() {
        for (text, bytes) in [
            ("5GB", 5_000_000_000),
            ("5 GiB", 5_368_709_120),
            ("3kb", 3_000),
            ("2KiB", 2_048),
            ("7MB", 7_000_000),
            ("1mib", 1_048_576),
            ("12", 12),
            ("12B", 12),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for wrong in
            ["", "GB", "-1GB", "+1GB", "1.5GB", "0", "5 G", "99999999999999999999", "18446744073709552KB"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
