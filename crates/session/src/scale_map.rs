//! Block scales as a picture: the scale tensor averaged down to a few cells.

use crate::Session;
use crate::api::{ScaleMap, SessionError};
use crate::values::{SAMPLE_BYTES, part, scale_values};
use quantscope_audit::LayerInfo;

/// Most rows of the picture; each costs a read.
const MAP_ROWS: u64 = 32;
/// Most columns of the picture.
const MAP_COLS: u64 = 64;

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

/// The scale tensor averaged down to a picture; `None` where there is a single scale or none.
pub(crate) async fn scale_map(
    session: &Session,
    layer: &LayerInfo,
) -> Result<Option<ScaleMap>, SessionError> {
    let layout = layer.scheme.scale_layout();
    let Some(scale) = layout.scale_leaf().and_then(|leaf| part(session, layer, leaf)) else {
        return Ok(None);
    };
    let Some((rows, cols)) = sides(&scale.tensor.shape) else { return Ok(None) };
    // Codes for scales are not drawn: their order says nothing.
    if scale_values(layout, scale.tensor.dtype, &[0; 8]).is_empty() {
        return Ok(None);
    }
    let (map_rows, map_cols) = (rows.min(MAP_ROWS), cols.min(MAP_COLS));
    let row_bytes = cols.saturating_mul(scale.tensor.dtype.bits() / 8);
    if row_bytes == 0 || row_bytes > SAMPLE_BYTES {
        return Ok(None);
    }
    let mut map = ScaleMap {
        rows: u32::try_from(map_rows).unwrap_or(0),
        cols: u32::try_from(map_cols).unwrap_or(0),
        tensor_rows: rows,
        tensor_cols: cols,
        cells: Vec::new(),
        low: f32::INFINITY,
        high: f32::NEG_INFINITY,
        dtype: scale.tensor.dtype.tag().into(),
    };
    // Of many rows behind one row of the picture, the first under the budget stand for all.
    let most = (SAMPLE_BYTES / MAP_ROWS / row_bytes).max(1);
    for cell_row in 0..map_rows {
        let (first, last) = (cell_row * rows / map_rows, (cell_row + 1) * rows / map_rows);
        let count = (last - first).min(most);
        let bytes = scale.read(first * row_bytes, count * row_bytes).await?;
        let mut sums = vec![(0.0_f64, 0_u32); usize::try_from(map_cols).unwrap_or(0)];
        for (at, value) in (0_u64..).zip(scale_values(layout, scale.tensor.dtype, &bytes)) {
            let cell = usize::try_from(at % cols * map_cols / cols).unwrap_or(usize::MAX);
            if let Some((sum, number)) = sums.get_mut(cell).filter(|_| value.is_finite() && value > 0.0) {
                (*sum, *number) = (*sum + f64::from(value), *number + 1);
            }
        }
        for (sum, number) in sums {
            #[allow(clippy::cast_possible_truncation, reason = "a shade of a picture")]
            let shade = if number == 0 { f32::NAN } else { (sum / f64::from(number)).log2() as f32 };
            (map.low, map.high) = (map.low.min(shade), map.high.max(shade));
            map.cells.push(shade);
        }
    }
    if map.low > map.high {
        // Not one scale that could be shown.
        (map.low, map.high) = (0.0, 0.0);
    }
    Ok(Some(map))
}
