//! The values furthest from zero, and where they are.

use serde::{Deserialize, Serialize};

/// Values that are kept.
const KEPT: usize = 12;

/// One value and its place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outlier {
    /// Place in the logical weight, one index for each dimension.
    pub at: Vec<u64>,
    /// Row of the matrix that is stored.
    pub row: u64,
    /// Column of it.
    pub col: u64,
    /// The value.
    pub value: f32,
}

/// Keeps the largest magnitudes; what is not finite comes before all that is.
#[derive(Default)]
pub(crate) struct Largest(Vec<(f32, u64, u64)>);

fn magnitude(value: f32) -> f32 {
    if value.is_finite() { value.abs() } else { f32::INFINITY }
}

impl Largest {
    /// Takes the values of a row that begins at the column `from`.
    pub(crate) fn add(&mut self, row: u64, from: u64, values: &[f32]) {
        for (col, &value) in (from..).zip(values) {
            let least =
                if self.0.len() < KEPT { -1.0 } else { self.0.last().map_or(-1.0, |l| magnitude(l.0)) };
            if value != 0.0 && magnitude(value) > least {
                let place = self.0.partition_point(|known| magnitude(known.0) >= magnitude(value));
                self.0.insert(place, (value, row, col));
                self.0.truncate(KEPT);
            }
        }
    }

    /// The values with their places in a weight of this shape.
    pub(crate) fn places(self, shape: &[u64], cols: u64) -> Vec<Outlier> {
        let of_row = shape.iter().skip(1).fold(1_u64, |n, &d| n.saturating_mul(d));
        self.0
            .into_iter()
            .map(|(value, row, col)| Outlier { at: place(shape, of_row == cols, row, col), row, col, value })
            .collect()
    }
}

/// Indices in the logical weight; row and column where its rows are not those of the matrix.
fn place(shape: &[u64], fits: bool, row: u64, col: u64) -> Vec<u64> {
    if !fits || shape.len() < 2 {
        return vec![row, col];
    }
    let mut rest = col;
    let mut inner: Vec<u64> = Vec::with_capacity(shape.len());
    for &dimension in shape.iter().skip(1).rev() {
        let dimension = dimension.max(1);
        inner.push(rest % dimension);
        rest /= dimension;
    }
    inner.push(row);
    inner.reverse();
    inner
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Largest};

    #[test]
    fn the_largest_stay_in_order_and_what_is_not_finite_comes_first() {
        let mut largest = Largest::default();
        let row: Vec<f32> = (0..100_u8).map(f32::from).collect();
        largest.add(0, 0, &row);
        largest.add(1, 10, &[-200.0, 99.0, f32::NAN, 0.0]);
        let found = largest.places(&[2, 4, 25], 100);
        assert_eq!(found.len(), KEPT);
        assert!(found[0].value.is_nan() && found[0].at == [1, 0, 12]);
        assert_eq!((found[1].value, found[1].at.as_slice()), (-200.0, &[1, 0, 10][..]));
        // Of equal ones the first comes first: 99 at column 99 of the first row is [0, 3, 24].
        assert_eq!((found[2].value, found[2].at.as_slice()), (99.0, &[0, 3, 24][..]));
        assert_eq!((found[3].value, found[3].row), (99.0, 1));
    }

    #[test]
    fn places_are_rows_and_columns_where_the_shape_does_not_fit() {
        let mut largest = Largest::default();
        largest.add(7, 3, &[1.0]);
        assert_eq!(largest.places(&[8, 5], 16)[0].at, [7, 3]);
    }
}
