//! Weights or block scales as a picture of any part of them, down to single values.
//!
//! What is asked for is read, no more: a part that is small is read whole, of a large one some rows stand for the
//! others, and the reply says so.

use crate::api::SessionError;
use crate::sampler::{Sampler, failed};
use crate::values::{Part, part, principal, scale_values};
use crate::{Session, count};
use quantscope_audit::LayerInfo;
use quantscope_format::Control;
use quantscope_kernels::CpuEngine;
use quantscope_schemes::{Region, ScaleLayout};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Most cells down and across.
const MOST_CELLS: u64 = 128;
/// Values up to which a part is read whole; of larger ones, this many about.
const VALUES: u64 = 1 << 21;
/// Longest run of columns that is read of a row where rows are enormous.
const LONG_ROW: u64 = 1 << 18;
/// Most bytes of scales that are read at once.
const SCALE_BYTES: u64 = 4 << 20;

/// Which part of a layer is to be drawn.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeatQuery {
    /// Layer.
    pub name: String,
    /// Block scales, not weights.
    pub scales: bool,
    /// First row.
    pub row: u64,
    /// First column.
    pub col: u64,
    /// Rows; 0 for all.
    pub rows: u64,
    /// Columns; 0 for all.
    pub cols: u64,
    /// Cells down, 128 at most.
    pub down: u64,
    /// Cells across, 128 at most.
    pub across: u64,
}

/// A part of a layer as a picture.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HeatTile {
    /// Whether these are block scales.
    pub scales: bool,
    /// First row.
    pub row: u64,
    /// First column.
    pub col: u64,
    /// Rows in the picture.
    pub rows: u64,
    /// Columns in the picture.
    pub cols: u64,
    /// Rows of the whole matrix.
    pub all_rows: u64,
    /// Columns of the whole matrix.
    pub all_cols: u64,
    /// Cells down.
    pub down: u64,
    /// Cells across.
    pub across: u64,
    /// Row-major: the value, where a cell holds one; else the root of the mean square of its finite values. NaN for
    /// a value that is NaN, and where none is finite.
    pub cells: Vec<f32>,
    /// Whether each cell is one value.
    pub exact: bool,
    /// Whether every value of the part was read.
    pub whole: bool,
    /// Smallest magnitude above zero among the cells; 0 if there is none.
    pub low: f32,
    /// Largest finite magnitude among the cells.
    pub high: f32,
}

/// A matrix of which parts can be read.
enum Matrix<'a> {
    Weights(Sampler<'a>),
    Scales { part: Part<'a>, layout: ScaleLayout, rows: u64, cols: u64 },
}

/// Rows and columns of a scale tensor as a picture takes them: rank 4 is [rows, 1, columns, 1], a vector is
/// one column.
fn sides(shape: &[u64]) -> Option<(u64, u64)> {
    let sides: Vec<u64> = shape.iter().copied().filter(|&d| d != 1).collect();
    match *sides.as_slice() {
        [rows, cols] => Some((rows, cols)),
        [length] if shape.first() == Some(&length) => Some((length, 1)),
        [length] => Some((1, length)),
        _ => None,
    }
}

impl<'a> Matrix<'a> {
    fn new(session: &'a Session, layer: &'a LayerInfo, scales: bool) -> Option<Self> {
        if !scales {
            let weight = principal(session, layer)?;
            return Sampler::new(session, layer, weight.tensor).map(Self::Weights);
        }
        let layout = layer.scale_layout(&session.checkpoint);
        let part = layout.scale_leaf().and_then(|leaf| part(session, layer, leaf))?;
        let (rows, cols) = sides(part.tensor.shape)?;
        // Codes for scales are not drawn: their order says nothing.
        let drawn = !scale_values(layout, part.tensor.dtype, &[0; 8]).is_empty();
        drawn.then_some(Self::Scales { part, layout, rows, cols })
    }

    fn sides(&self) -> (u64, u64) {
        match self {
            Self::Weights(sampler) => (sampler.rows(), sampler.logical_cols()),
            Self::Scales { rows, cols, .. } => (*rows, *cols),
        }
    }

    /// Values of a rectangle, row by row.
    async fn read(&self, rows: Range<u64>, cols: Range<u64>) -> Result<Vec<f32>, SessionError> {
        match self {
            Self::Weights(sampler) => {
                let wide = sampler.aligned(&cols);
                let width = wide.end - wide.start;
                let at_once = (VALUES / width.max(1)).max(1);
                let (engine, mut kept) = (CpuEngine::new(), Vec::new());
                let mut row = rows.start;
                while row < rows.end {
                    let next = rows.end.min(row.saturating_add(at_once));
                    let region = Region { rows: row..next, cols: wide.clone() };
                    let values = sampler.decoded().values(&engine, &region).await.map_err(failed)?;
                    kept.extend(cut(&values, width, cols.start - wide.start..cols.end - wide.start));
                    row = next;
                }
                Ok(kept)
            }
            Self::Scales { part, layout, cols: all, .. } => {
                let width = part.tensor.dtype.bits() / 8;
                let value = |bytes: &[u8]| scale_values(*layout, part.tensor.dtype, bytes);
                let row_bytes = all.saturating_mul(width);
                if (rows.end - rows.start).saturating_mul(row_bytes) <= SCALE_BYTES {
                    let bytes =
                        part.read(rows.start * row_bytes, (rows.end - rows.start) * row_bytes).await?;
                    return Ok(cut(&value(&bytes), *all, cols));
                }
                let mut values = Vec::new();
                for row in rows {
                    let begin = row.saturating_mul(row_bytes).saturating_add(cols.start * width);
                    values.extend(value(&part.read(begin, (cols.end - cols.start) * width).await?));
                }
                Ok(values)
            }
        }
    }
}

/// Some columns of rows that are `width` long.
fn cut(values: &[f32], width: u64, cols: Range<u64>) -> Vec<f32> {
    let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let rows = values.chunks(at(width).max(1));
    rows.flat_map(|row| row.get(at(cols.start)..at(cols.end)).unwrap_or_default()).copied().collect()
}

/// Where cell `index` of `cells` begins in `length` steps.
fn edge(index: u64, cells: u64, length: u64) -> u64 {
    let (index, cells, length) = (u128::from(index), u128::from(cells.max(1)), u128::from(length));
    u64::try_from(index * length / cells).unwrap_or(u64::MAX)
}

/// Sums of squares of one row of cells, until they are roots.
struct Line {
    sums: Vec<(f64, u32)>,
}

impl Line {
    fn new(across: u64) -> Self {
        Self { sums: vec![(0.0, 0); usize::try_from(across).unwrap_or(0)] }
    }

    fn add(&mut self, cell: u64, values: &[f32]) {
        let slot = usize::try_from(cell).ok().and_then(|cell| self.sums.get_mut(cell));
        let Some((sum, number)) = slot else { return };
        for value in values.iter().copied().filter(|value| value.is_finite()) {
            (*sum, *number) = (*sum + f64::from(value) * f64::from(value), number.saturating_add(1));
        }
    }

    /// Adds a row of the part, cut into as many cells as the line has.
    fn add_row(&mut self, row: &[f32]) {
        let (across, cols) = (count(self.sums.len()), count(row.len()));
        let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        for cell in 0..across {
            let range = at(edge(cell, across, cols))..at(edge(cell + 1, across, cols));
            self.add(cell, row.get(range).unwrap_or_default());
        }
    }

    fn roots(self) -> impl Iterator<Item = f32> {
        #[allow(clippy::cast_possible_truncation, reason = "a shade of a picture")]
        let root = |(sum, number): (f64, u32)| {
            if number == 0 { f32::NAN } else { (sum / f64::from(number)).sqrt() as f32 }
        };
        self.sums.into_iter().map(root)
    }
}

/// A part in numbers that cannot be outside of the matrix.
struct Window {
    rows: Range<u64>,
    cols: Range<u64>,
    down: u64,
    across: u64,
}

impl Window {
    fn new(query: &HeatQuery, (rows, cols): (u64, u64)) -> Option<Self> {
        let range = |first: u64, length: u64, all: u64| {
            let first = first.min(all.saturating_sub(1));
            let length = if length == 0 { all } else { length };
            first..first.saturating_add(length).min(all)
        };
        let (rows, cols) = (range(query.row, query.rows, rows), range(query.col, query.cols, cols));
        let down = query.down.clamp(1, MOST_CELLS).min(rows.end - rows.start);
        let across = query.across.clamp(1, MOST_CELLS).min(cols.end - cols.start);
        (down > 0 && across > 0).then_some(Self { rows, cols, down, across })
    }
}

impl Session {
    /// A part of a layer's weights or block scales as a picture. `None` where there is nothing to draw: no such
    /// layer, no scales, or nothing that decodes.
    ///
    /// # Errors
    /// If the source fails or the job is cancelled.
    pub async fn heat(
        &self,
        query: &HeatQuery,
        control: &dyn Control,
    ) -> Result<Option<HeatTile>, SessionError> {
        let Some(layer) = self.model.layer(&query.name) else { return Ok(None) };
        let Some(matrix) = Matrix::new(self, layer, query.scales) else { return Ok(None) };
        let Some(window) = Window::new(query, matrix.sides()) else { return Ok(None) };
        let (all_rows, all_cols) = matrix.sides();
        let (rows, cols) = (window.rows.end - window.rows.start, window.cols.end - window.cols.start);
        let mut tile = HeatTile {
            scales: query.scales,
            row: window.rows.start,
            col: window.cols.start,
            rows,
            cols,
            all_rows,
            all_cols,
            down: window.down,
            across: window.across,
            exact: window.down == rows && window.across == cols,
            ..HeatTile::default()
        };
        if tile.exact || rows.saturating_mul(cols) <= VALUES {
            let values = matrix.read(window.rows.clone(), window.cols.clone()).await?;
            tile.whole = count(values.len()) == rows.saturating_mul(cols);
            tile.cells = if tile.exact { values } else { averaged(&window, &values) };
        } else {
            tile.cells = sampled(&matrix, &window, control).await?;
        }
        let finite = || tile.cells.iter().filter(|v| v.is_finite()).map(|v| v.abs());
        (tile.low, tile.high) =
            (finite().filter(|v| *v > 0.0).fold(f32::INFINITY, f32::min), finite().fold(0.0, f32::max));
        if tile.low > tile.high {
            tile.low = 0.0;
        }
        Ok(Some(tile))
    }
}

/// Cells of values that are all there.
fn averaged(window: &Window, values: &[f32]) -> Vec<f32> {
    let (rows, cols) = (window.rows.end - window.rows.start, window.cols.end - window.cols.start);
    let mut lines = values.chunks(usize::try_from(cols).unwrap_or(usize::MAX).max(1));
    let mut cells = Vec::new();
    for cell in 0..window.down {
        let mut line = Line::new(window.across);
        let behind = edge(cell + 1, window.down, rows) - edge(cell, window.down, rows);
        for row in lines.by_ref().take(usize::try_from(behind).unwrap_or(0)) {
            line.add_row(row);
        }
        cells.extend(line.roots());
    }
    cells
}

/// Cells of a part that is too large to be read whole: of each row of cells the first rows are read, and of rows
/// that are enormous some columns of each cell.
async fn sampled(
    matrix: &Matrix<'_>,
    window: &Window,
    control: &dyn Control,
) -> Result<Vec<f32>, SessionError> {
    let (rows, cols) = (window.rows.end - window.rows.start, window.cols.end - window.cols.start);
    let mut cells = Vec::new();
    for cell in 0..window.down {
        if control.is_cancelled() {
            return Err(SessionError { kind: "cancelled".into(), message: "cancelled".into() });
        }
        let (first, last) = (edge(cell, window.down, rows), edge(cell + 1, window.down, rows));
        let mut line = Line::new(window.across);
        let most = (VALUES / window.down / cols.max(1)).max(1);
        let begin = window.rows.start + first;
        let run = begin..begin + (last - first).min(most);
        if cols <= LONG_ROW {
            let values = matrix.read(run, window.cols.clone()).await?;
            let width = usize::try_from(cols).unwrap_or(usize::MAX).max(1);
            values.chunks(width).for_each(|row| line.add_row(row));
        } else {
            for across in 0..window.across {
                let from = window.cols.start + edge(across, window.across, cols);
                let to = window.cols.start + edge(across + 1, window.across, cols);
                let part = from..to.min(from.saturating_add(LONG_ROW / MOST_CELLS));
                let values = matrix.read(begin..begin + 1, part).await?;
                line.add(across, &values);
            }
        }
        cells.extend(line.roots());
    }
    Ok(cells)
}

/// Whether a layer has block scales that can be drawn.
pub(crate) fn has_scales(session: &Session, layer: &LayerInfo) -> bool {
    Matrix::new(session, layer, true).is_some()
}
