//! Packing stacks of experts: stored `[E, in, out]`, encoded along `in`, written transposed back.
//!
//! Source: `formats.md` b, "BMM experts".

use crate::error::ConvertError;
use crate::noise::PackedTile;
use crate::pack::{Packing, tile};
use crate::passage::length;
use crate::rectangles::{Rectangle, parts};
use crate::run::Job;
use quantscope_format::{Buffer, Sink};
use std::sync::Arc;

/// Side of the squares that are turned at a time: both their rows and their columns stay in the nearest cache.
const SQUARE: usize = 32;

/// Rows become columns: `rows` rows of equal length, of elements of `width` bytes (1, 2 or 4).
fn transposed(bytes: &[u8], rows: usize, width: usize) -> Vec<u8> {
    match width {
        1 => turned(bytes.as_chunks::<1>().0, rows),
        2 => turned(bytes.as_chunks::<2>().0, rows),
        _ => turned(bytes.as_chunks::<4>().0, rows),
    }
}

fn turned<const WIDTH: usize>(elements: &[[u8; WIDTH]], rows: usize) -> Vec<u8> {
    let (rows, cols) = (rows.max(1), elements.len() / rows.max(1));
    let mut turned = vec![[0; WIDTH]; elements.len()];
    for first_row in (0..rows).step_by(SQUARE) {
        for first_col in (0..cols).step_by(SQUARE) {
            let last_col = (first_col + SQUARE).min(cols);
            for row in first_row..(first_row + SQUARE).min(rows) {
                let line = elements.get(row * cols + first_col..row * cols + last_col).unwrap_or_default();
                let places = turned.iter_mut().skip(first_col * rows + row).step_by(rows);
                for (place, element) in places.zip(line) {
                    *place = *element;
                }
            }
        }
    }
    turned.into_flattened()
}

/// Puts columns `first` on of a matrix whose rows have `row_bytes` bytes.
fn put_columns(matrix: &mut [u8], row_bytes: usize, first: usize, columns: &[u8], rows: usize) {
    let run = columns.len() / rows.max(1);
    for (row, piece) in matrix.chunks_mut(row_bytes.max(1)).zip(columns.chunks(run.max(1))) {
        if let Some(place) = row.get_mut(first..first + piece.len()) {
            place.copy_from_slice(piece);
        }
    }
}

fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

impl<'a> Job<'a> {
    /// Bands of stored rows, each holding whole blocks along `in`.
    pub(crate) async fn pack_stack(
        &mut self,
        sink: &mut dyn Sink,
        packing: &mut Packing<'a>,
        experts: u64,
    ) -> Result<(), ConvertError> {
        let matrix = packing.packed.matrix;
        let out = matrix.rows / experts.max(1);
        let elements = self.tile_bytes() / packing.packed.dtype.bytes() as u64;
        let unit = packing.grid.column_unit;
        let height = (elements / out.saturating_mul(unit).max(1)).max(1).saturating_mul(unit);
        for expert in 0..experts {
            let mut first = 0;
            while first < matrix.cols {
                let end = first.saturating_add(height).min(matrix.cols);
                self.pack_stored_band(sink, packing, (expert, out), first..end).await?;
                first = end;
            }
        }
        Ok(())
    }

    /// Stored rows `inputs` of one expert: encoded in parts of columns where all do not fit, written whole.
    async fn pack_stored_band(
        &mut self,
        sink: &mut dyn Sink,
        packing: &mut Packing<'a>,
        (expert, out): (u64, u64),
        inputs: std::ops::Range<u64>,
    ) -> Result<(), ConvertError> {
        let packed = packing.packed;
        let width = packed.dtype.bytes();
        let source = self.weight(packed)?;
        let stored_row = expert.saturating_mul(packed.matrix.cols);
        let rows = stored_row + inputs.start..stored_row + inputs.end;
        let high = inputs.end - inputs.start;
        let (mut codes, mut scales) = (Vec::new(), Vec::new());
        // The matrix on its side: its rows are the stored columns, cut where the budget says so.
        let lying = Rectangle { rows: 0..out, cols: 0..high };
        let elements = self.tile_bytes() / width as u64;
        for part in parts(&lying, elements, packed.encoding.row_unit, high, u64::MAX) {
            let stored = Rectangle { rows: rows.clone(), cols: part.rows.clone() };
            let bytes = self.stored(&source, out, width as u64, &stored).await?;
            let turned = transposed(&bytes, index(high), width);
            let row = expert.saturating_mul(out);
            let rectangle =
                Rectangle { rows: row + part.rows.start..row + part.rows.end, cols: inputs.clone() };
            let encoded = self.encode(packing, &rectangle, &turned).await?;
            let (count, at) = (index(part.rows.end - part.rows.start), index(part.rows.start));
            for (whole, own, unit) in
                [(&mut codes, &encoded.codes, 1), (&mut scales, &encoded.scales, packing.grid.scale_width())]
            {
                let lines = own.len() / count.max(1) / unit;
                let row_bytes = index(out).saturating_mul(unit);
                whole.resize(lines.saturating_mul(row_bytes), 0);
                put_columns(whole, row_bytes, at * unit, &transposed(own, count, unit), lines);
            }
            let source = tile(packed, &turned, &rectangle);
            let Rectangle { rows, cols } = rectangle;
            let packed_tile =
                PackedTile { rows, cols, source, codes: &encoded.codes, scales: &encoded.scales };
            packing.gauge.add(self.engine, packed_tile).await?;
        }
        let [codes, scales] = [codes, scales].map(|bytes| Arc::new(Buffer::from(bytes)));
        packing.codes.write(sink, &codes).await?;
        packing.put_scales(sink, &scales).await?;
        self.passage.step(&packed.name, length(&codes) + length(&scales))
    }
}

#[cfg(test)]
mod tests {
    use super::{put_columns, transposed};

    #[test]
    fn rows_become_columns() {
        assert_eq!(transposed(&[1, 2, 3, 4, 5, 6], 2, 1), [1, 4, 2, 5, 3, 6]);
        assert_eq!(transposed(&[1, 2, 3, 4, 5, 6, 7, 8], 2, 2), [1, 2, 5, 6, 3, 4, 7, 8]);
    }

    #[test]
    fn parts_of_columns_make_the_whole() {
        let mut whole = vec![0; 6];
        put_columns(&mut whole, 3, 0, &[1, 2, 4, 5], 2);
        put_columns(&mut whole, 3, 2, &[3, 6], 2);
        assert_eq!(whole, [1, 2, 3, 4, 5, 6]);
    }
}
