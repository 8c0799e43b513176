//! Inputs that are kept: `seeds` to begin with, `found` for those that once broke a promise, a folder for each.

use std::fs;
use std::path::Path;

/// A stored input.
pub struct Case {
    /// Its file's name.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The stored inputs of a promise, in the order of their names; `kind` is `seeds` or `found`.
///
/// # Panics
/// If a file cannot be read: these are tests of this checkout.
#[must_use]
pub fn cases(kind: &str, target: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target);
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let mut cases: Vec<Case> = entries
        .map(|entry| entry.expect("a readable folder"))
        .map(|entry| Case {
            name: entry.file_name().to_string_lossy().into_owned(),
            bytes: fs::read(entry.path()).expect("a readable file"),
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}
