//! Cutting a tile into parts that a buffer holds.

use std::ops::Range;

/// A part of a tile: whole rows, or a piece of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Rows of the tile.
    pub(crate) rows: Range<u64>,
    /// Units (blocks, or elements) of each row.
    pub(crate) units: Range<u64>,
}

impl Part {
    /// Number of the part's first unit in a tile with `row_units` units a row.
    pub(crate) fn first_unit(&self, row_units: u64) -> u64 {
        self.rows.start * row_units + self.units.start
    }

    /// Units in the part.
    pub(crate) fn unit_count(&self) -> u64 {
        (self.rows.end - self.rows.start) * (self.units.end - self.units.start)
    }
}

/// Cuts `rows` rows of `row_units` units into parts of at most `most_units` units, in order. Whole rows if
/// one fits.
pub(crate) fn split(rows: u64, row_units: u64, most_units: u64) -> Vec<Part> {
    let most_units = most_units.max(1);
    if rows == 0 || row_units == 0 {
        return Vec::new();
    }
    let part_rows = (most_units / row_units).max(1);
    let part_units = most_units.min(row_units);
    let mut parts = Vec::new();
    for rows in pieces(rows, part_rows) {
        for units in pieces(row_units, part_units) {
            parts.push(Part { rows: rows.clone(), units });
        }
    }
    parts
}

fn pieces(whole: u64, piece: u64) -> impl Iterator<Item = Range<u64>> {
    (0..whole.div_ceil(piece)).map(move |i| i * piece..whole.min((i + 1) * piece))
}

#[cfg(test)]
mod tests {
    use super::{Part, split};

    fn part(rows: std::ops::Range<u64>, units: std::ops::Range<u64>) -> Part {
        Part { rows, units }
    }

    #[test]
    fn whole_rows_where_one_fits() {
        assert_eq!(split(5, 3, 7), [part(0..2, 0..3), part(2..4, 0..3), part(4..5, 0..3)]);
        assert_eq!(split(2, 3, 100), [part(0..2, 0..3)]);
    }

    #[test]
    fn pieces_of_rows_where_none_does() {
        let parts = [part(0..1, 0..3), part(0..1, 3..4), part(1..2, 0..3), part(1..2, 3..4)];
        assert_eq!(split(2, 4, 3), parts);
    }

    #[test]
    fn parts_cover_the_tile_once_and_in_order() {
        for (rows, row_units, most) in [(7, 5, 1), (7, 5, 4), (7, 5, 5), (7, 5, 11), (1, 1, 1), (3, 9, 0)] {
            let mut next = 0;
            for part in split(rows, row_units, most) {
                assert_eq!(part.first_unit(row_units), next);
                assert!(part.unit_count() <= most.max(1));
                next += part.unit_count();
            }
            assert_eq!(next, rows * row_units);
        }
        assert_eq!(split(0, 5, 3), []);
        assert_eq!(split(5, 0, 3), []);
    }
}
