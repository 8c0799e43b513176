//! A closer look at one layer against its bytes, decoded here by the book.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "small matrices and a few decimals are compared"
)]

use quantscope_session::api::{HeatQuery, HeatTile};
use quantscope_session::{InputFile, Limits, MemorySource, Session, Uncontrolled};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

type Tensors = BTreeMap<String, (String, Vec<usize>, Vec<u8>)>;

fn open(files: Vec<(String, Vec<u8>)>) -> Session {
    let files = files
        .into_iter()
        .map(|(path, bytes)| InputFile { source: Rc::new(MemorySource::new(&path, bytes)), path })
        .collect();
    futures_executor::block_on(Session::open("test", files, Limits::default(), &Uncontrolled)).unwrap()
}

fn golden(path: &str) -> (Session, Tensors) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(path);
    let entries = std::fs::read_dir(root).unwrap().flatten();
    let files: Vec<(String, Vec<u8>)> = entries
        .map(|e| (e.file_name().to_string_lossy().into_owned(), std::fs::read(e.path()).unwrap()))
        .collect();
    let weights = &files.iter().find(|(name, _)| name.ends_with(".safetensors")).unwrap().1;
    let length = usize::try_from(u64::from_le_bytes(weights[..8].try_into().unwrap())).unwrap();
    let header: Map<String, Value> = serde_json::from_slice(&weights[8..8 + length]).unwrap();
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let tensors = header
        .iter()
        .filter(|(name, _)| *name != "__metadata__")
        .map(|(name, tensor)| {
            let shape: Vec<usize> = tensor["shape"].as_array().unwrap().iter().map(number).collect();
            let (begin, end) = (number(&tensor["data_offsets"][0]), number(&tensor["data_offsets"][1]));
            let bytes = weights[8 + length + begin..8 + length + end].to_vec();
            (name.clone(), (tensor["dtype"].as_str().unwrap().to_string(), shape, bytes))
        })
        .collect();
    (open(files), tensors)
}

fn bf16(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks(2).map(|b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16)).collect()
}

/// E4M3 from its definition: sign, four bits of exponent with bias 7, three of mantissa.
fn e4m3(byte: u8) -> f32 {
    let (exponent, mantissa) = (i32::from((byte >> 3) & 15), f32::from(byte & 7));
    let magnitude = if exponent == 0 {
        mantissa / 8.0 * 2.0_f32.powi(-6)
    } else {
        (1.0 + mantissa / 8.0) * 2.0_f32.powi(exponent - 7)
    };
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

/// NVFP4 by its formula: code times block scale times global scale.
fn nvfp4(tensors: &Tensors, name: &str) -> (Vec<f32>, Vec<u8>) {
    const CODES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
    let weight = &tensors[&format!("{name}.weight")].2;
    let scales = &tensors[&format!("{name}.weight_scale")].2;
    let global = f32::from_le_bytes(tensors[&format!("{name}.weight_scale_2")].2[..4].try_into().unwrap());
    let codes: Vec<u8> = weight.iter().flat_map(|b| [b & 15, b >> 4]).collect();
    let values = codes.iter().enumerate().map(|(i, code)| {
        let magnitude = CODES[usize::from(code & 7)];
        let signed = if code & 8 == 0 { magnitude } else { -magnitude };
        signed * e4m3(scales[i / 16]) * global
    });
    (values.collect(), codes)
}

fn heat(session: &Session, query: &HeatQuery) -> HeatTile {
    futures_executor::block_on(session.heat(query, &Uncontrolled)).unwrap().unwrap()
}

fn near(found: f32, expected: f32) -> bool {
    (found - expected).abs() <= expected.abs() * 1e-5 + 1e-12
}

/// Root of the mean square of a rectangle.
fn rms(values: &[f32], width: usize, rows: std::ops::Range<usize>, cols: std::ops::Range<usize>) -> f32 {
    let squares: Vec<f64> =
        rows.flat_map(|r| cols.clone().map(move |c| f64::from(values[r * width + c]).powi(2))).collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt() as f32
}

const LAYER: &str = "model.layers.1.mlp.up_proj";

#[test]
fn a_close_look_gives_single_values_and_a_far_one_their_root_mean_square() {
    for path in ["golden/_src/llama", "golden/e2e_llama_nvfp4/expected"] {
        let (session, tensors) = golden(path);
        let (dtype, _, bytes) = &tensors[&format!("{LAYER}.weight")];
        let values = if dtype == "BF16" { bf16(bytes) } else { nvfp4(&tensors, LAYER).0 };
        let width = usize::try_from(session.layer(LAYER).unwrap().row.shape[1]).unwrap();
        let rows = values.len() / width;
        let close = HeatQuery {
            name: LAYER.into(),
            row: 5,
            col: 19,
            rows: 7,
            cols: 9,
            down: 96,
            across: 128,
            ..HeatQuery::default()
        };
        let tile = heat(&session, &close);
        assert!(tile.exact && tile.whole);
        assert_eq!((tile.rows, tile.cols, tile.all_rows, tile.all_cols), (7, 9, rows as u64, width as u64));
        for (at, value) in tile.cells.iter().enumerate() {
            let (row, col) = (5 + at / 9, 19 + at % 9);
            assert!(near(*value, values[row * width + col]), "{path} {row} {col}: {value}");
        }
        let far = HeatQuery { name: LAYER.into(), down: 3, across: 5, ..HeatQuery::default() };
        let tile = heat(&session, &far);
        assert!(!tile.exact && tile.whole);
        assert_eq!((tile.down, tile.across, tile.cells.len()), (3, 5, 15));
        for (at, value) in tile.cells.iter().enumerate() {
            let (down, across) = (at / 5, at % 5);
            let expected = rms(
                &values,
                width,
                down * rows / 3..(down + 1) * rows / 3,
                across * width / 5..(across + 1) * width / 5,
            );
            assert!(near(*value, expected), "{path} cell {at}: {value}, not {expected}");
        }
        assert_eq!(tile.high, tile.cells.iter().copied().fold(0.0, f32::max));
    }
}

#[test]
fn block_scales_are_drawn_as_they_are() {
    let (session, tensors) = golden("golden/e2e_llama_nvfp4/expected");
    let (_, shape, bytes) = &tensors[&format!("{LAYER}.weight_scale")];
    let query = HeatQuery {
        name: LAYER.into(),
        scales: true,
        row: 3,
        rows: 4,
        down: 96,
        across: 128,
        ..HeatQuery::default()
    };
    let tile = heat(&session, &query);
    assert_eq!((tile.all_rows, tile.all_cols), (shape[0] as u64, shape[1] as u64));
    let expected: Vec<f32> = bytes[3 * shape[1]..7 * shape[1]].iter().map(|b| e4m3(*b)).collect();
    assert_eq!(tile.cells, expected);
    let plain =
        HeatQuery { name: "model.norm".into(), scales: true, down: 9, across: 9, ..HeatQuery::default() };
    assert_eq!(futures_executor::block_on(session.heat(&plain, &Uncontrolled)).unwrap(), None);
}

#[test]
fn codes_largest_values_and_any_block_agree_with_the_bytes() {
    let (session, tensors) = golden("golden/e2e_llama_nvfp4/expected");
    let (values, codes) = nvfp4(&tensors, LAYER);
    let width = usize::try_from(session.layer(LAYER).unwrap().row.shape[1]).unwrap();
    let read = futures_executor::block_on(session.layer_values(LAYER, &Uncontrolled)).unwrap();
    let census = read.census.unwrap();
    let counted: Vec<u64> =
        (0..16_u8).map(|code| codes.iter().filter(|own| **own == code).count() as u64).collect();
    assert_eq!(census.counts.iter().map(|(_, n)| *n).collect::<Vec<_>>(), counted);
    assert_eq!(census.largest, counted[7] + counted[15]);
    let mut magnitudes: Vec<f32> = values.iter().map(|v| v.abs()).collect();
    magnitudes.sort_by(|a, b| b.total_cmp(a));
    assert_eq!(read.outliers.len(), 12);
    for (outlier, magnitude) in read.outliers.iter().zip(magnitudes) {
        assert!(near(outlier.value.abs(), magnitude));
        let at = usize::try_from(outlier.row).unwrap() * width + usize::try_from(outlier.col).unwrap();
        assert!(near(outlier.value, values[at]), "{outlier:?}");
        assert_eq!(outlier.at, [outlier.row, outlier.col]);
    }
    let (row, col) = (11, 37);
    let block = futures_executor::block_on(session.block(LAYER, row, col)).unwrap().unwrap();
    assert_eq!((block.row, block.col, block.width), (11, 32, 16));
    let begin = 11 * width + 32;
    let hex: Vec<String> = codes[begin..begin + 16].iter().map(|code| format!("{code:x}")).collect();
    assert_eq!(block.codes, hex);
    for (found, expected) in block.values.iter().zip(&values[begin..begin + 16]) {
        assert!(near(*found, *expected));
    }
    let stored = &tensors[&format!("{LAYER}.weight")].2[begin / 2..begin / 2 + 8];
    assert_eq!(block.raw_hex, stored.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" "));
    let view = session.layer(LAYER).unwrap();
    let weight = view.tensors.iter().find(|t| t.leaf == "weight").unwrap();
    assert_eq!(block.place, (weight.file.clone(), weight.begin + (begin / 2) as u64));
    assert!(
        block.scale.contains(&format!("= {}", e4m3(tensors[&format!("{LAYER}.weight_scale")].2[begin / 16])))
    );
}

/// A layer beyond what is read whole: columns that differ, rows that do not, so that any sample of rows is right.
#[test]
fn of_a_large_layer_some_rows_stand_for_the_others() {
    let (rows, cols) = (3000_usize, 1500_usize);
    let line: Vec<u8> =
        (0..cols).flat_map(|col| ((col as f32 + 1.0).to_bits() >> 16).to_le_bytes()[..2].to_vec()).collect();
    let header = json!({ "w.weight": { "dtype": "BF16", "shape": [rows, cols], "data_offsets": [0, rows * cols * 2] } });
    let header = serde_json::to_vec(&header).unwrap();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    for _ in 0..rows {
        bytes.extend(&line);
    }
    let session = open(vec![("model.safetensors".into(), bytes)]);
    let tile = heat(&session, &HeatQuery { name: "w".into(), down: 96, across: 128, ..HeatQuery::default() });
    assert!(!tile.whole && !tile.exact);
    assert_eq!((tile.down, tile.across), (96, 128));
    let values = bf16(&line);
    for (across, value) in tile.cells[..128].iter().enumerate() {
        let expected = rms(&values, cols, 0..1, across * cols / 128..(across + 1) * cols / 128);
        assert!(near(*value, expected), "{across}: {value}, not {expected}");
        assert_eq!(*value, tile.cells[95 * 128 + across]);
    }
}

#[test]
fn no_question_is_out_of_bounds() {
    let (session, _) = golden("golden/e2e_wan_vae_nvfp4_conv3d/expected");
    let most = u64::MAX;
    for name in ["decoder.conv_out", "decoder.conv_in", "nothing"] {
        for row in [0, 2, most] {
            for (rows, cells) in [(0, most), (1, 0), (most, 1), (most - 1, 96)] {
                for scales in [false, true] {
                    let query = HeatQuery {
                        name: name.into(),
                        scales,
                        row,
                        col: row,
                        rows,
                        cols: rows,
                        down: cells,
                        across: cells,
                    };
                    if let Some(tile) =
                        futures_executor::block_on(session.heat(&query, &Uncontrolled)).unwrap()
                    {
                        assert_eq!(tile.cells.len() as u64, tile.down * tile.across, "{query:?}");
                        assert!(
                            tile.row + tile.rows <= tile.all_rows && tile.col + tile.cols <= tile.all_cols
                        );
                    }
                }
            }
            let block = futures_executor::block_on(session.block(name, row, most)).unwrap();
            assert_eq!(block.is_some(), name != "nothing");
            assert!(block.is_none_or(|block| block.row < block.rows && block.col < block.cols));
        }
    }
}
