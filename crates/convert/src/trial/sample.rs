//! Which rows of a large layer stand for all of it: bands of whole blocks, spread evenly.

use std::ops::Range;

/// Bands of a sample: each costs a read.
const BANDS: u64 = 64;

/// Bands of rows that stay under a budget together, each a multiple of `unit` rows and inside one part of
/// `part_rows`; all rows of a small matrix. A band has at most `band_bytes`, where `unit` rows have that few.
pub(crate) fn bands(
    [rows, part_rows]: [u64; 2],
    unit: u64,
    row_bytes: u64,
    sample_bytes: u64,
    band_bytes: u64,
) -> Vec<Range<u64>> {
    let (unit, row_bytes, part_rows) = (unit.max(1), row_bytes.max(1), part_rows.max(1));
    let longest = (band_bytes / row_bytes / unit).max(1).saturating_mul(unit);
    let fit = sample_bytes / row_bytes;
    let mut found = Vec::new();
    if fit >= rows {
        let mut row = 0;
        while row < rows {
            let part_end = (row / part_rows).saturating_add(1).saturating_mul(part_rows);
            let end = row.saturating_add(longest).min(part_end).min(rows);
            found.push(row..end);
            row = end;
        }
        return found;
    }
    let units = (fit / unit).max(1);
    let count = BANDS.min(units);
    let length = (units / count).max(1).saturating_mul(unit).min(longest);
    for i in 0..count {
        // Begins at a whole block of its part.
        let at = u128::from(rows) * u128::from(i) / u128::from(count);
        let at = u64::try_from(at).unwrap_or(0);
        let (part, within) = (at / part_rows, at % part_rows);
        let start = part.saturating_mul(part_rows).saturating_add(within / unit * unit);
        let part_end = part.saturating_add(1).saturating_mul(part_rows).min(rows);
        let end = start.saturating_add(length).min(part_end);
        if found.last().is_none_or(|last: &Range<u64>| last.end <= start) {
            found.push(start..end);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{BANDS, bands};

    #[test]
    fn small_layers_are_taken_whole() {
        for (rows, part, unit) in [(1, 1, 128), (300, 300, 128), (96, 12, 2), (7, 7, 1)] {
            let bands = bands([rows, part], unit, 10, 10_000, 500);
            assert_eq!((bands[0].start, bands[bands.len() - 1].end), (0, rows));
            assert!(bands.windows(2).all(|w| w[0].end == w[1].start), "{bands:?}");
            for band in bands {
                assert_eq!(band.start / part, (band.end - 1) / part, "{band:?}");
                assert!(band.start % part % unit == 0, "{band:?}");
            }
        }
    }

    #[test]
    fn large_ones_in_a_few_bands_of_whole_blocks() {
        for (rows, part, unit) in [(1 << 40, 1 << 40, 128), (1 << 20, 1000, 16), (u64::MAX, u64::MAX, 2)] {
            let bands = bands([rows, part], unit, 1 << 10, 16 << 20, 4 << 20);
            assert!(bands.len() as u64 <= BANDS && bands.len() > 32, "{}", bands.len());
            let total: u64 = bands.iter().map(|b| b.end - b.start).sum();
            assert!(total << 10 <= 16 << 20);
            assert!(bands.windows(2).all(|w| w[0].end <= w[1].start), "{bands:?}");
            assert!(bands.iter().all(|b| b.start % part % unit == 0 && b.start < b.end), "{bands:?}");
            assert!(bands[bands.len() - 1].start > rows / 100 * 90, "{bands:?}");
        }
    }
}
