//! The part of a matrix that a picture shows: zooming and moving within bounds.

/// A rectangle of rows and columns; without a length it is the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Area {
    /// First row.
    pub(crate) row: u64,
    /// First column.
    pub(crate) col: u64,
    /// Rows; 0 for all.
    pub(crate) rows: u64,
    /// Columns; 0 for all.
    pub(crate) cols: u64,
}

/// Rows of the closest look.
const FEWEST_ROWS: u64 = 8;
/// Columns of the closest look: wide enough that numbers can be read.
const FEWEST_COLS: u64 = 6;

/// First and length after zooming one side around `at`.
fn zoomed(first: u64, length: u64, at: u64, inward: bool, fewest: u64, all: u64) -> (u64, u64) {
    let next = if inward { (length / 2).max(fewest) } else { length.saturating_mul(2) }.min(all);
    // What is under the pointer stays under it.
    let before = u128::from(at.saturating_sub(first));
    let kept = u64::try_from(before * u128::from(next) / u128::from(length.max(1))).unwrap_or(u64::MAX);
    (at.saturating_sub(kept).min(all.saturating_sub(next)), next)
}

fn moved(first: u64, length: u64, steps: i64, all: u64) -> u64 {
    first.saturating_add_signed(steps).min(all.saturating_sub(length))
}

/// First after moving so far that `at` is inside.
fn holding(first: u64, length: u64, at: u64) -> u64 {
    if at < first { at } else { first.max((at.saturating_add(1)).saturating_sub(length)) }
}

impl Area {
    /// The same within a matrix of `all` rows and columns.
    pub(crate) fn within(self, (rows, cols): (u64, u64)) -> Self {
        let side = |first: u64, length: u64, all: u64| {
            let length = if length == 0 { all } else { length.min(all) };
            (first.min(all.saturating_sub(length)), length)
        };
        let ((row, rows), (col, cols)) = (side(self.row, self.rows, rows), side(self.col, self.cols, cols));
        Self { row, col, rows, cols }
    }

    /// Twice as close, or half as close, around a row and column.
    pub(crate) fn zoomed(self, inward: bool, (row, col): (u64, u64), all: (u64, u64)) -> Self {
        let now = self.within(all);
        let (row, rows) = zoomed(now.row, now.rows, row, inward, FEWEST_ROWS, all.0);
        let (col, cols) = zoomed(now.col, now.cols, col, inward, FEWEST_COLS, all.1);
        Self { row, col, rows, cols }
    }

    /// Moved by rows and columns, as far as there are any.
    pub(crate) fn moved(self, down: i64, right: i64, all: (u64, u64)) -> Self {
        let now = self.within(all);
        let (row, col) = (moved(now.row, now.rows, down, all.0), moved(now.col, now.cols, right, all.1));
        Self { row, col, ..now }
    }

    /// Moved so far that a row and column are in it.
    pub(crate) fn holding(self, (row, col): (u64, u64), all: (u64, u64)) -> Self {
        let now = self.within(all);
        Self { row: holding(now.row, now.rows, row), col: holding(now.col, now.cols, col), ..now }.within(all)
    }

    /// The closest look at a row and column.
    pub(crate) fn around((row, col): (u64, u64), all: (u64, u64)) -> Self {
        let (rows, cols) = (FEWEST_ROWS.min(all.0), FEWEST_COLS.min(all.1));
        let area = Self { row: row.saturating_sub(rows / 2), col: col.saturating_sub(cols / 2), rows, cols };
        area.within(all)
    }
}

#[cfg(test)]
mod tests {
    use super::Area;

    const ALL: (u64, u64) = (4096, 14336);

    fn area(row: u64, col: u64, rows: u64, cols: u64) -> Area {
        Area { row, col, rows, cols }
    }

    #[test]
    fn zooming_keeps_the_place_and_ends_at_single_values() {
        let at = (1000, 14000);
        let mut now = Area::default();
        for _ in 0..40 {
            now = now.zoomed(true, at, ALL);
            assert!(
                (now.row..now.row + now.rows).contains(&at.0)
                    && (now.col..now.col + now.cols).contains(&at.1)
            );
        }
        assert_eq!((now.rows, now.cols), (8, 6));
        for _ in 0..40 {
            now = now.zoomed(false, at, ALL);
        }
        assert_eq!(now, area(0, 0, 4096, 14336));
        // What is smaller than the closest look is shown whole.
        assert_eq!(Area::default().zoomed(true, (0, 0), (1, 3)), area(0, 0, 1, 3));
    }

    #[test]
    fn moving_stops_at_the_edges() {
        let now = area(10, 10, 8, 6);
        assert_eq!(now.moved(-100, 3, ALL), area(0, 13, 8, 6));
        assert_eq!(now.moved(i64::MAX, i64::MAX, ALL), area(4088, 14330, 8, 6));
        assert_eq!(now.holding((9, 16), ALL), area(9, 11, 8, 6));
        assert_eq!(now.holding((12, 12), ALL), now);
        assert_eq!(Area::around((4095, 0), ALL), area(4088, 0, 8, 6));
        assert_eq!(area(u64::MAX, 5, u64::MAX, 3).within((4, 4)), area(0, 1, 4, 3));
        assert_eq!(area(1, 1, 5, 5).within((0, 0)), Area::default());
    }
}
