//! Padding and tiles against what the reference's exporter wrote, whatever the pieces in which bytes come.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod common;

use common::{Tensor, data, read};
use quantscope_schemes::{Arrangement, Arranger, Padding};

const CASES: [&str; 4] = ["16x256", "20x80", "128x64", "130x144"];
const VARIANTS: [(&str, Padding, bool); 5] = [
    ("nopad+swizzle", Padding::None, true),
    ("row", Padding::Row, false),
    ("row+swizzle", Padding::Row, true),
    ("row_col", Padding::RowCol, false),
    ("row_col+swizzle", Padding::RowCol, true),
];

fn sides(tensor: &Tensor) -> [u64; 2] {
    tensor.shape.clone().try_into().unwrap()
}

/// What comes out if bytes come in pieces of that length.
fn arranged(source: &Tensor, to: Arrangement, piece: usize) -> Vec<u8> {
    let mut arranger = Arranger::new(sides(source)[1], to);
    let mut out: Vec<u8> = source.bytes.chunks(piece).flat_map(|bytes| arranger.push(bytes)).collect();
    loop {
        let end = arranger.finish(piece);
        if end.is_empty() {
            return out;
        }
        out.extend(end);
    }
}

#[test]
fn the_exporter_pads_and_tiles_so() {
    for case in CASES {
        let folder = data("golden").join(format!("pad_swizzle_{case}"));
        let (source, expected) =
            (read(&folder.join("source.safetensors")), read(&folder.join("expected.safetensors")));
        for (variant, padding, tiled) in VARIANTS {
            for name in ["blk.proj.weight", "blk.proj.weight_scale"] {
                let (from, right) = (&source[name], &expected[&format!("{variant}/{name}")]);
                let to = Arrangement::plain(sides(from)).padded(padding);
                let to = if tiled && name.ends_with("scale") { to.tiled() } else { to };
                assert_eq!([to.rows, to.cols], sides(right), "{case} {variant} {name}");
                assert_eq!(to.len(), Some(right.bytes.len() as u64));
                for piece in [1, 7, 129, 1 << 20] {
                    assert!(arranged(from, to, piece) == right.bytes, "{case} {variant} {name} by {piece}");
                }
            }
        }
    }
}

/// And back, in bands of any budget: rows and columns of padding are left out.
#[test]
fn tiles_and_padding_come_off_again() {
    for case in CASES {
        let folder = data("golden").join(format!("pad_swizzle_{case}"));
        let (source, expected) =
            (read(&folder.join("source.safetensors")), read(&folder.join("expected.safetensors")));
        for (variant, _, tiled) in VARIANTS {
            for name in ["blk.proj.weight", "blk.proj.weight_scale"] {
                let (right, stored) = (&source[name], &expected[&format!("{variant}/{name}")]);
                let plain = Arrangement::plain(sides(stored));
                let from = if tiled && name.ends_with("scale") { plain.tiled() } else { plain };
                let [rows, cols] = sides(right);
                for budget in [1, 300, 1 << 20] {
                    let (mut out, mut row) = (Vec::new(), 0);
                    while row < rows {
                        let band = row..row.saturating_add(from.rows_at_once(budget)).min(rows);
                        let span = from.span(&band);
                        let bytes = &stored.bytes[usize::try_from(span.start).unwrap()..]
                            [..usize::try_from(span.end - span.start).unwrap()];
                        out.extend(from.row_by_row(bytes, band.end - band.start, cols));
                        row = band.end;
                    }
                    assert!(out == right.bytes, "{case} {variant} {name} by {budget}");
                }
            }
        }
    }
}

/// Sides that no file can have neither overflow nor fill the memory.
#[test]
fn hostile_sides_are_counted_only() {
    for sides in [[u64::MAX, u64::MAX], [u64::MAX, 0], [0, u64::MAX], [1 << 62, 8]] {
        let plain = Arrangement::plain(sides);
        for to in [plain.padded(Padding::RowCol), plain.tiled(), plain.padded(Padding::Row).tiled()] {
            let nothing = sides.contains(&0);
            assert_eq!(to.len().is_none(), !nothing, "{to:?}");
            assert_eq!(to.span(&(3..7)).start, 3_u64.saturating_mul(to.cols));
        }
        let mut arranger = Arranger::new(sides[1], plain.padded(Padding::Row));
        assert!(arranger.push(&[1, 2, 3]).len() <= 3);
        assert!(arranger.finish(16).len() <= 16);
    }
}
