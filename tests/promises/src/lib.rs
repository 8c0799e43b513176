//! What is promised of the parsers. Every function takes bytes as a file would hold them and panics if a promise is
//! broken: nothing else may panic, whatever the bytes are.
//!
//! A fuzzer calls them (`tests/fuzz`), and a plain test does, over stored seeds, found cases and a fixed number of
//! changed ones, so that a case once found stays found on any machine.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a broken promise is told by panicking"
)]

mod checkpoint;
mod configs;
mod corpus;
mod differences;
mod header;
mod manifest;
mod mutate;
mod recipe;
mod sink;
mod texts;

pub use checkpoint::checkpoint;
pub use configs::{hf_quant_config, index, model_config};
pub use corpus::{Case, cases};
pub use differences::{Class, classes};
pub use header::{Comparison, Difference, compare, framed, header, judged};
pub use manifest::{manifest, problems, right_manifest};
pub use mutate::Mutator;
pub use recipe::{recipe, rename_rules};
pub use texts::{calibration, glob};

use quantscope_format::Limits;

/// A promise: its name, which is also that of its folder of seeds, and the function that holds bytes to it.
pub type Target = (&'static str, fn(&[u8]));

/// Every promise.
pub const TARGETS: [Target; 10] = [
    ("header", header),
    ("index", index),
    ("model_config", model_config),
    ("hf_quant_config", hf_quant_config),
    ("glob", glob),
    ("calibration", calibration),
    ("recipe", recipe),
    ("rename_rules", rename_rules),
    ("manifest", manifest),
    ("checkpoint", checkpoint),
];

/// Limits small enough that a fuzzer reaches them.
#[must_use]
pub fn limits() -> Limits {
    Limits { header_bytes: 1 << 20, tensors: 1000, name_bytes: 512, json_bytes: 1 << 20, ..Limits::default() }
}
