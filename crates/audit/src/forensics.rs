//! Statistics that tell one layout of bytes from another where names, types and shapes are the same.
//!
//! Each answers with a likelihood and its evidence, or with nothing where the evidence is thin. Real
//! weights have structure - rows of different size, smooth kernels, input columns that several layers
//! weight alike - and the wrong order of bytes destroys it. Weights without structure tell nothing.

use quantscope_numeric::{e2m1, e4m3};

/// A suspicion: how likely, and why.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Evidence {
    /// From 0.95 to 0.99; never certain.
    pub(crate) likelihood: f64,
    /// What was measured, in words.
    pub(crate) words: String,
}

/// Standard deviations below which a difference is called chance.
const LEAST: f64 = 6.0;

/// The likelihood of a difference of `z` standard deviations. Never more than 0.99: what is measured is a
/// habit of weights, not a law.
fn likelihood(z: f64) -> f64 {
    (1.0 / (1.0 + (LEAST / 2.0 - z).exp())).min(0.99)
}

#[allow(clippy::cast_precision_loss, reason = "counts of a bounded sample")]
fn count(n: usize) -> f64 {
    n as f64
}

#[allow(clippy::cast_precision_loss, reason = "only ratios of sums are looked at")]
fn size_of_sum(sum: i128) -> f64 {
    sum as f64
}

/// Rows of a tile of scales under the 128 x 4 order.
pub(crate) const TILE_ROWS: usize = 128;
/// Columns of such a tile.
pub(crate) const TILE_COLS: usize = 4;

/// Where the tiled order keeps the scale of a row and a column, within a group of 128 rows
/// (`formats.md` f): tiles of 512 bytes side by side, in each the rows in steps of 32.
pub(crate) fn tiled_index(row: usize, col: usize) -> usize {
    (col / TILE_COLS) * (TILE_ROWS * TILE_COLS) + (row % 32) * 16 + (row / 32) * TILE_COLS + col % TILE_COLS
}

/// How the scales of a group lie: by rows, or in tiles of 128 x 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Row after row.
    Linear,
    /// In tiles.
    Tiled,
}

/// Groups of 128 rows of E4M3 scales, `cols` a row, as stored; the first `rows` rows of a group and the first
/// `blocks` columns belong to weights.
pub(crate) struct ScaleSample<'a> {
    /// Bytes of one group after the other.
    pub(crate) bytes: &'a [u8],
    /// Columns as stored, a multiple of 4.
    pub(crate) cols: usize,
    /// Rows that belong to weights, of each group.
    pub(crate) rows: Vec<usize>,
    /// Columns that belong to weights.
    pub(crate) blocks: usize,
}

/// Which order the scales are in.
pub(crate) fn scale_order(sample: &ScaleSample<'_>) -> Option<(Order, Evidence)> {
    by_padding(sample).or_else(|| by_rows(sample))
}

fn at(group: &[u8], cols: usize, row: usize, col: usize, order: Order) -> u8 {
    let index = if order == Order::Linear { row * cols + col } else { tiled_index(row, col) };
    group.get(index).copied().unwrap_or(0)
}

/// Padding is zero, so its place shows the order.
fn by_padding(sample: &ScaleSample<'_>) -> Option<(Order, Evidence)> {
    let mut wrong = [0_usize; 2];
    let mut padding = 0;
    for (group, &rows) in sample.bytes.chunks_exact(TILE_ROWS * sample.cols).zip(&sample.rows) {
        for row in 0..TILE_ROWS {
            for col in 0..sample.cols {
                let is_padding = row >= rows || col >= sample.blocks;
                padding += usize::from(is_padding);
                for (wrong, order) in wrong.iter_mut().zip([Order::Linear, Order::Tiled]) {
                    let zero = at(group, sample.cols, row, col, order) == 0;
                    *wrong += usize::from(is_padding && !zero);
                }
            }
        }
    }
    let [linear, tiled] = wrong;
    let (order, right, other) =
        if linear < tiled { (Order::Linear, linear, tiled) } else { (Order::Tiled, tiled, linear) };
    if padding < 16 || right * 20 > padding || other < right * 4 + 16 {
        return None;
    }
    let words = format!(
        "{} of {padding} padding scales lie where that order has them, {} in the other",
        padding.saturating_sub(right),
        padding.saturating_sub(other)
    );
    Some((order, Evidence { likelihood: 0.99, words }))
}

/// Steps of a logarithm of base 2. Sums of whole steps are exact, in whatever order they are taken.
const LOG_STEPS: f64 = 65_536.0;

/// The logarithm of every scale in steps. It takes longer than all that is done with it, and there are 256.
#[allow(
    clippy::cast_possible_truncation,
    reason = "logarithms of E4M3 are below ten, and so are those of zero here"
)]
fn logarithms() -> [i32; 256] {
    std::array::from_fn(|byte| {
        let scale = e4m3::decode(u8::try_from(byte).unwrap_or(u8::MAX));
        let logarithm = if scale > 0.0 { f64::from(scale).log2() } else { -10.0 };
        (logarithm * LOG_STEPS).round() as i32
    })
}

/// Sums of the logarithms of a group by row and by column.
struct Margins {
    rows: [i64; TILE_ROWS],
    cols: Vec<i64>,
}

impl Margins {
    /// Of a group of `cols` columns, as stored.
    fn of(group: &[i32], cols: usize, order: Order) -> Self {
        let mut sums = Self { rows: [0; TILE_ROWS], cols: vec![0; cols] };
        match order {
            Order::Linear => {
                for (row, sum) in group.chunks_exact(cols.max(1)).zip(&mut sums.rows) {
                    for (value, col) in row.iter().zip(&mut sums.cols) {
                        *col += i64::from(*value);
                    }
                    *sum = row.iter().copied().map(i64::from).sum();
                }
            }
            Order::Tiled => {
                let tiles = group.chunks_exact(TILE_ROWS * TILE_COLS);
                for (tile, cols) in tiles.zip(sums.cols.chunks_exact_mut(TILE_COLS)) {
                    for (i, quad) in tile.chunks_exact(TILE_COLS).enumerate() {
                        for (value, col) in quad.iter().zip(&mut *cols) {
                            *col += i64::from(*value);
                        }
                        if let Some(sum) = sums.rows.get_mut(i % 4 * 32 + i / 4) {
                            *sum += quad.iter().copied().map(i64::from).sum::<i64>();
                        }
                    }
                }
            }
        }
        sums
    }

    /// The squares of the sums of rows and of columns, each times the number of the others.
    fn squares(&self) -> i128 {
        let squared = |sums: &[i64]| sums.iter().map(|&sum| i128::from(sum) * i128::from(sum)).sum::<i128>();
        let times = |count: usize, sum: i128| sum * i128::try_from(count).unwrap_or(0);
        times(self.rows.len(), squared(&self.rows)) + times(self.cols.len(), squared(&self.cols))
    }
}

/// What rows and columns leave unexplained of the logarithms in either order, linear first, and all there is to be
/// explained. Groups are full; each sum of squares is times the scales of a group.
fn residuals(sample: &ScaleSample<'_>) -> ([i128; 2], i128) {
    let logarithms = logarithms();
    let size = i128::try_from(TILE_ROWS * sample.cols).unwrap_or(0);
    let (mut rest, mut total) = ([0; 2], 0);
    let mut values = Vec::new();
    for group in sample.bytes.chunks_exact(TILE_ROWS * sample.cols) {
        values.clear();
        values.extend(group.iter().filter_map(|&byte| logarithms.get(usize::from(byte))));
        let squares: i64 = values.iter().map(|&value| i64::from(value) * i64::from(value)).sum();
        let sum = i128::from(values.iter().copied().map(i64::from).sum::<i64>());
        total += size * i128::from(squares) - sum * sum;
        for (rest, order) in rest.iter_mut().zip([Order::Linear, Order::Tiled]) {
            let explained = Margins::of(&values, sample.cols, order).squares();
            *rest += size * i128::from(squares) - explained + sum * sum;
        }
    }
    (rest, total)
}

/// Rows and columns of weights differ in size: under the right order they explain more of the scales.
fn by_rows(sample: &ScaleSample<'_>) -> Option<(Order, Evidence)> {
    // Both orders must cover the same bytes, so that their sums can be compared.
    let full = sample.rows.iter().all(|&r| r == TILE_ROWS) && sample.blocks == sample.cols;
    if !full || sample.blocks < 8 || sample.rows.is_empty() {
        return None;
    }
    let ([linear, tiled], total) = residuals(sample);
    if linear <= 0 || tiled <= 0 || total <= 0 {
        return None;
    }
    let [linear, tiled, total] = [linear, tiled, total].map(size_of_sum);
    let n = count(sample.rows.len()) * count(TILE_ROWS) * count(sample.cols);
    let parameters = count(sample.rows.len()) * (count(TILE_ROWS) + count(sample.cols));
    let z = n / 2.0 * (linear / tiled).ln() / parameters.sqrt();
    if z.abs() < LEAST {
        return None;
    }
    let order = if z > 0.0 { Order::Tiled } else { Order::Linear };
    let (explains, other) = if z > 0.0 { (tiled, linear) } else { (linear, tiled) };
    let words = format!(
        "rows and columns explain {:.0} % of the scales in that order, {:.0} % in the other",
        100.0 * (1.0 - explains / total),
        100.0 * (1.0 - other / total)
    );
    Some((order, Evidence { likelihood: likelihood(z.abs()), words }))
}

/// Rows of packed codes, `row_bytes` each, read with the even column in the low nibble.
pub(crate) struct CodeSample<'a> {
    /// The bytes.
    pub(crate) bytes: &'a [u8],
    /// Bytes of a row.
    pub(crate) row_bytes: usize,
}

/// Whether the nibbles of each byte look exchanged, from the codes alone.
pub(crate) fn nibbles_look_exchanged(sample: &CodeSample<'_>) -> Option<Evidence> {
    by_last_column(sample).unwrap_or_else(|| by_neighbours(sample))
}

/// A row of an odd number of weights ends in the first half of a byte. `None` if rows end otherwise;
/// the answer may be that all is well.
fn by_last_column(sample: &CodeSample<'_>) -> Option<Option<Evidence>> {
    let rows: Vec<&[u8]> = sample.bytes.chunks_exact(sample.row_bytes.max(1)).collect();
    if rows.len() < 32 {
        return None;
    }
    let used = |byte: usize, shift: u8| {
        rows.iter().filter(|row| row.get(byte).is_some_and(|b| (b >> shift) & 7 != 0)).count()
    };
    let last = (0..sample.row_bytes).rev().find(|&byte| used(byte, 0) + used(byte, 4) > 0)?;
    let (low, high) = (used(last, 0), used(last, 4));
    if low.max(high) * 2 < rows.len() || low.min(high) > 0 {
        return None;
    }
    let words = format!(
        "the last used byte of {} rows holds codes in its high half and nothing in its low half",
        rows.len()
    );
    Some((high > 0).then_some(Evidence { likelihood: 0.99, words }))
}

/// Sums of a correlation.
#[derive(Default)]
struct Moments {
    n: f64,
    xy: f64,
    xx: f64,
    yy: f64,
}

impl Moments {
    fn add(&mut self, x: f64, y: f64) {
        self.n += 1.0;
        self.xy += x * y;
        self.xx += x * x;
        self.yy += y * y;
    }

    fn correlation(&self) -> f64 {
        let size = (self.xx * self.yy).sqrt();
        if size > 0.0 { self.xy / size } else { 0.0 }
    }
}

fn code(byte: u8, high: bool) -> f64 {
    f64::from(e2m1::decode(if high { byte >> 4 } else { byte & 0xf }))
}

/// Kernels are smooth: neighbours are alike. Across the border of two bytes, columns are neighbours in the
/// right order and three apart in the other.
fn by_neighbours(sample: &CodeSample<'_>) -> Option<Evidence> {
    let (mut inside, mut near, mut far) = (Moments::default(), Moments::default(), Moments::default());
    for row in sample.bytes.chunks_exact(sample.row_bytes.max(1)) {
        for pair in row.windows(2) {
            let &[a, b] = pair else { continue };
            inside.add(code(a, false), code(a, true));
            near.add(code(a, true), code(b, false));
            far.add(code(a, false), code(b, true));
        }
    }
    if inside.n < 2048.0 {
        return None;
    }
    let [inside_r, near_r, far_r] = [&inside, &near, &far].map(Moments::correlation);
    // Standard deviations of one correlation, and of the difference of two.
    let (one, two) = (inside.n.sqrt(), (inside.n / 2.0).sqrt());
    let z = (far_r - near_r) * two;
    let smooth = inside_r * one >= LEAST && far_r * one >= LEAST;
    if !smooth || z < LEAST {
        return None;
    }
    let words = format!(
        "neighbours inside a byte correlate by {inside_r:.2}; across bytes {far_r:.2} if exchanged, {near_r:.2} as \
         stored"
    );
    Some(Evidence { likelihood: likelihood(z), words })
}

/// The mean size of each column's codes, relative to the block that shares a scale.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ColumnProfile(Vec<f64>);

impl ColumnProfile {
    /// Of packed codes in blocks of `block` columns.
    pub(crate) fn of(sample: &CodeSample<'_>, block: usize) -> Self {
        let mut sums = vec![0.0; sample.row_bytes * 2];
        for row in sample.bytes.chunks_exact(sample.row_bytes.max(1)) {
            for (pair, &byte) in sums.chunks_exact_mut(2).zip(row) {
                if let [even, odd] = pair {
                    *even += code(byte, false).abs();
                    *odd += code(byte, true).abs();
                }
            }
        }
        for block in sums.chunks_mut(block.max(1)) {
            let mean = block.iter().sum::<f64>() / count(block.len());
            for sum in block {
                *sum -= mean;
            }
        }
        Self(sums)
    }

    /// Correlations with another profile, in the same order and with pairs exchanged.
    fn compared(&self, other: &Self) -> (f64, f64) {
        let (mut same, mut exchanged) = (Moments::default(), Moments::default());
        for (a, b) in self.0.chunks_exact(2).zip(other.0.chunks_exact(2)) {
            if let (&[a0, a1], &[b0, b1]) = (a, b) {
                same.add(a0, b0);
                same.add(a1, b1);
                exchanged.add(a0, b1);
                exchanged.add(a1, b0);
            }
        }
        (same.correlation(), exchanged.correlation())
    }
}

/// Whether two layers that read the same input have their nibbles in different order: their columns are
/// alike only when one is exchanged.
pub(crate) fn profiles_disagree(a: &ColumnProfile, b: &ColumnProfile) -> Option<Evidence> {
    let n = count(a.0.len());
    if a.0.len() != b.0.len() || n < 256.0 {
        return None;
    }
    let (same, exchanged) = a.compared(b);
    let z = (exchanged - same) * (n / 2.0).sqrt();
    if z < LEAST || exchanged * n.sqrt() < LEAST {
        return None;
    }
    let words =
        format!("columns correlate by {exchanged:.2} if one of them is exchanged, {same:.2} as stored");
    Some(Evidence { likelihood: likelihood(z), words })
}

/// How plausible it is that a global scale is stored as its reciprocal, given the largest weight that it implies
/// as it is and as the reciprocal. Largest weights of layers lie around 1/2, within a factor of 8 mostly.
pub(crate) fn looks_reciprocal(largest: f64, if_reciprocal: f64) -> Option<Evidence> {
    if !(largest.is_finite() && if_reciprocal.is_finite() && largest > 0.0 && if_reciprocal > 0.0) {
        return None;
    }
    let distance = |largest: f64| (largest.log2() + 1.0) / 3.0;
    let odds = (distance(largest).powi(2) - distance(if_reciprocal).powi(2)) / 2.0;
    let likelihood = (1.0 / (1.0 + (-odds).exp())).min(0.99);
    let words =
        format!("the largest weight would be {largest:.3e} as stored, {if_reciprocal:.3e} as the reciprocal");
    (likelihood >= 0.95).then_some(Evidence { likelihood, words })
}
