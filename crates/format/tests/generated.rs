//! Our header reader against the `safetensors` crate: thousands of generated headers, of fields that are right, wrong or
//! odd, and of bytes that were changed. What is accepted and what is read must be equal; `common::FORGIVEN` lists what
//! may differ.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::{difference, dtypes, file_of, ours};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use std::cell::Cell;

/// A value for a field: mostly right, sometimes anything.
fn odd_json() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "null",
        "true",
        "0",
        "1",
        "-1",
        "-0",
        "1.0",
        "1e2",
        "1e999",
        "18446744073709551615",
        "18446744073709551616",
        "\"\"",
        "\"U8\"",
        "\"x\\u0041\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud800\"",
        "[]",
        "[0]",
        "[0,1]",
        "[1,0]",
        "[0,0]",
        "[0,1,2]",
        "[[1]]",
        "{}",
        "{\"U8\":null}",
        "{\"U8\":{}}",
        "{\"U8\":[]}",
        "{\"U8\":null,\"U8\":null}",
        "[\"U8\",[1],[0,1]]",
        "{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
        "[null]",
        "{\"a\":{\"a\":{}}}",
        "[1,",
        "}",
        "\"",
        "\\",
    ])
    .prop_map(str::to_owned)
}

#[derive(Debug, Clone)]
struct Shape {
    name: usize,
    dtype: usize,
    dims: Vec<u64>,
    slip: i64,
    odd: Option<(usize, String)>,
    extra: Option<String>,
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let dims =
        prop::collection::vec(prop_oneof![8 => 0..6_u64, 1 => Just(u64::MAX), 1 => Just(1 << 32)], 0..4);
    let slip = prop_oneof![12 => Just(0_i64), 1 => -2..3_i64];
    let odd = prop::option::weighted(0.08, (0..5_usize, odd_json()));
    let one = (0..8_usize, 0..dtypes().len() + 1, dims, slip, odd, prop::option::weighted(0.05, odd_json()))
        .prop_map(|(name, dtype, dims, slip, odd, extra)| Shape { name, dtype, dims, slip, odd, extra });
    prop::collection::vec(one, 0..6)
}

/// Writes the header that the shapes describe; gives it with the length of its data.
fn write(shapes: &[Shape], metadata: Option<&str>) -> (String, u64) {
    const NAMES: [&str; 8] = ["a", "b", "c.weight", "d.weight_scale", "\\u0061", "", "../e", "__metadata__"];
    let mut parts: Vec<String> = metadata.map(|m| format!("\"__metadata__\":{m}")).into_iter().collect();
    let mut at = 0_u64;
    for shape in shapes {
        let tag = dtypes().get(shape.dtype).map_or("F5", |d| d.tag());
        let elements = shape.dims.iter().try_fold(1_u64, |n, d| n.checked_mul(*d));
        let len = elements.and_then(|n| dtypes().get(shape.dtype)?.byte_len(n)).unwrap_or(1).min(1 << 20);
        let end = (at + len).saturating_add_signed(shape.slip);
        let dims = shape.dims.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        let mut fields = [format!("\"{tag}\""), format!("[{dims}]"), format!("[{at},{end}]")];
        let mut whole = None;
        match &shape.odd {
            Some((3, odd)) => whole = Some(odd.clone()),
            Some((4, _)) => whole = Some(format!("[{}]", fields.join(","))),
            Some((field, odd)) => fields[*field] = odd.clone(),
            None => {}
        }
        let [dtype, dims, offsets] = fields;
        let extra = shape.extra.as_ref().map(|odd| format!(",\"extra\":{odd}")).unwrap_or_default();
        let object = format!("{{\"dtype\":{dtype},\"shape\":{dims},\"data_offsets\":{offsets}{extra}}}");
        parts.push(format!("\"{}\":{}", NAMES[shape.name], whole.unwrap_or(object)));
        at = end;
    }
    (format!("{{{}}}", parts.join(",")), at)
}

/// Judges many generated files; both readers must agree on each, and a fair share must be accepted and
/// refused, or the generator tests nothing.
fn judge_many<S: Strategy>(strategy: S, file: impl Fn(S::Value) -> Vec<u8>) {
    let config = ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() };
    let (accepted, refused) = (Cell::new(0), Cell::new(0));
    let outcome = TestRunner::new(config).run(&strategy, |value| {
        let file = file(value);
        let header = ours(&file);
        let count = if header.is_sound() { &accepted } else { &refused };
        count.set(count.get() + 1);
        prop_assert_eq!(difference(&file, &header), None);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(
        accepted.get() > 400 && refused.get() > 400,
        "{} accepted, {} refused",
        accepted.get(),
        refused.get()
    );
}

/// Headers whose fields are right, wrong, odd, doubled, missing.
#[test]
fn generated_headers_are_judged_as_the_reference_judges_them() {
    let metadata = prop::option::weighted(
        0.3,
        prop_oneof![3 => Just("{\"format\":\"pt\"}".to_owned()), 1 => odd_json()],
    );
    let extra = prop_oneof![10 => Just(0_i64), 1 => -3..4_i64];
    judge_many((shapes(), metadata, extra), |(shapes, metadata, extra)| {
        let (json, data_len) = write(&shapes, metadata.as_deref());
        let data_len = data_len.saturating_add_signed(extra).min(1 << 22);
        file_of(json.as_bytes(), usize::try_from(data_len).unwrap())
    });
}

/// Sound headers, with bytes changed, removed, put in, doubled.
#[test]
fn mutated_headers_are_judged_as_the_reference_judges_them() {
    let byte = prop::sample::select(b"{}[]\",:0919-.e \\ua\0\xFF".to_vec());
    let edits = prop::collection::vec((any::<Index>(), 0..4_u8, byte), 0..4);
    judge_many((shapes(), edits), |(shapes, edits)| {
        let tame = |(i, s): (usize, Shape)| Shape {
            name: i % 4,
            slip: 0,
            odd: None,
            extra: None,
            dtype: s.dtype.min(dtypes().len() - 1),
            dims: s.dims.into_iter().map(|d| d.min(8)).collect(),
        };
        let (json, data_len) =
            write(&shapes.into_iter().enumerate().map(tame).collect::<Vec<_>>(), Some("{\"a\":\"b\"}"));
        let mut json = json.into_bytes();
        for (place, kind, byte) in edits {
            let at = place.index(json.len() + 1);
            match kind {
                0 if at < json.len() => json[at] = byte,
                1 if at < json.len() => {
                    json.remove(at);
                }
                2 => json.insert(at, byte),
                _ => {
                    let piece: Vec<u8> = json.iter().copied().skip(at).take(20).collect();
                    json.splice(at..at, piece);
                }
            }
        }
        file_of(&json, usize::try_from(data_len).unwrap())
    });
}
