//! The hashes that prove a result, in windows: the manifest that holds them stays a file.

use serde::{Deserialize, Serialize};

/// What the manifest says of one tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProofRow {
    /// Its name.
    pub(crate) name: String,
    /// The file it is in.
    pub(crate) file: String,
    /// SHA-256 of its bytes, as hex.
    pub(crate) sha256: String,
}

/// A window of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProofPage {
    /// The tensors of the window.
    pub(crate) rows: Vec<ProofRow>,
    /// Tensors there are.
    pub(crate) total: u64,
}
