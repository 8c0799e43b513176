//! Writes what our reader makes of many changed headers, a line of JSON each, for readers in other languages to be
//! compared with. The first lines are the examples of the differences that are meant.
//!
//! `cargo run -p quantscope-promises --example headers -- 5000`

#![allow(clippy::unwrap_used, reason = "a helper of tests fails as tests do")]

use quantscope_format::Defect;
use quantscope_promises::{Mutator, cases, classes, framed, judged};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn line(file: &[u8]) -> Value {
    let header = judged(file);
    let start = header.data_start();
    let tensors: Vec<Value> = header
        .tensors
        .iter()
        .map(|t| {
            json!([t.name, t.dtype.tag(), t.shape, t.begin.wrapping_sub(start), t.end.wrapping_sub(start)])
        })
        .collect();
    json!({
        "file": hex(file),
        "sound": header.is_sound(),
        "over_limit": header.defects.iter().any(|d| matches!(d, Defect::OverLimit { .. })),
        "defects": header.defects.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "tensors": tensors,
        "metadata": header.metadata,
    })
}

fn main() {
    let count: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let mut out = std::io::stdout().lock();
    for class in classes() {
        let mut line = line(&class.example());
        line["class"] = json!({"id": class.id, "reader": class.reader, "does": class.does, "why": class.why});
        writeln!(out, "{line}").unwrap();
    }
    let seeds: Vec<Vec<u8>> = cases("seeds", "header").into_iter().map(|case| case.bytes).collect();
    let mut mutator = Mutator::new(3);
    for round in 0..count {
        let file = match round % 3 {
            0 => framed(&mutator.changed(&seeds, 600)),
            _ => mutator.header(&seeds),
        };
        writeln!(out, "{}", line(&file)).unwrap();
    }
}
