//! The one list of differences that are forgiven, `forgiven.toml`. An entry that forgives nothing fails.

use serde::Deserialize;
use std::cell::Cell;

/// A difference that is right to be there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The case it is in: where its expectation lies.
    pub case: String,
    /// The tensor.
    pub tensor: String,
    /// What may differ.
    pub kind: Kind,
    /// Why.
    pub reason: String,
    #[serde(skip)]
    used: Cell<bool>,
}

/// What may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Signs of E4M3 NaNs.
    NanSign,
}

/// The list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forgiven {
    difference: Vec<Entry>,
}

impl Forgiven {
    /// Reads the list.
    ///
    /// # Panics
    /// If it is no such list, or an entry gives no reason.
    #[must_use]
    #[allow(clippy::expect_used, reason = "a list that cannot be read fails its test")]
    pub fn read() -> Self {
        let list: Self = toml::from_str(include_str!("forgiven.toml")).expect("forgiven.toml is a list");
        for entry in &list.difference {
            assert!(entry.reason.len() > 20, "{}: {} is forgiven without a reason", entry.case, entry.tensor);
        }
        list
    }

    /// Whether a difference is on the list.
    #[must_use]
    pub fn forgives(&self, case: &str, tensor: &str, kind: Kind) -> bool {
        let entry = self.difference.iter().find(|e| e.case == case && e.tensor == tensor && e.kind == kind);
        entry.inspect(|entry| entry.used.set(true)).is_some()
    }

    /// Entries that have forgiven nothing since they were read.
    #[must_use]
    pub fn unused(&self) -> Vec<String> {
        let unused = self.difference.iter().filter(|entry| !entry.used.get());
        unused.map(|entry| format!("{}: {}", entry.case, entry.tensor)).collect()
    }
}
