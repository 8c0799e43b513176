//! What page and worker say of two checkpoints beside each other.

use super::remote::Secret;
use quantscope_session::api::{Difference, DifferenceQuery, Overview, Picture};
use serde::{Deserialize, Serialize};

/// What the Compare view asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum CompareRequest {
    /// Open the second checkpoint. Attached: one `File` for each path.
    Open {
        /// What to call it.
        name: String,
        /// Path of each file within the folder.
        paths: Vec<String>,
    },
    /// Open a built-in sample as the second.
    OpenSample {
        /// Its folder under `samples/`.
        folder: String,
        /// What to call it.
        name: String,
    },
    /// Open the files of the last result as the second.
    OpenResult {
        /// What to call it.
        name: String,
    },
    /// Open an address as the second.
    OpenAddress {
        /// As the user wrote it.
        address: String,
        /// Sent to the hub, if there is one.
        token: Secret,
    },
    /// Forget the second, and what was found.
    Drop,
    /// Use these rules of renaming from now on. Attached: the `File`, or nothing to go without.
    Rename,
    /// Compare.
    Run {
        /// Whether the checkpoint that is open is the second of the two.
        swapped: bool,
    },
    /// A window of the differences.
    Rows {
        /// Which, in which order.
        query: DifferenceQuery,
        /// First row.
        start: u64,
        /// Rows wanted.
        count: u64,
    },
    /// One difference by its name.
    Row {
        /// Name in the second checkpoint, or in the first if it is there alone.
        name: String,
    },
    /// Where the values of a layer differ.
    Picture {
        /// Module path.
        name: String,
    },
}

/// What the worker answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum CompareReply {
    /// To the requests that open.
    Opened(Overview),
    /// To [`CompareRequest::Rename`].
    Renamed,
    /// To [`CompareRequest::Run`].
    Compared(CompareDigest),
    /// To [`CompareRequest::Rows`].
    Rows(DifferencePage),
    /// To [`CompareRequest::Row`].
    Row(Option<DifferenceRow>),
    /// To [`CompareRequest::Picture`].
    Picture(Picture),
}

/// A comparison without its rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CompareDigest {
    /// Name of the first.
    pub(crate) a: String,
    /// Name of the second.
    pub(crate) b: String,
    /// Layers with the same bytes under the same names.
    pub(crate) equal_layers: u64,
    /// Differences that a cause explains.
    pub(crate) explained: u64,
    /// Those that none does.
    pub(crate) unexplained: u64,
    /// How many differences each cause has part in, the most first.
    pub(crate) by_cause: Vec<(String, u64)>,
}

/// A difference with the families of its schemes, which set their hues.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DifferenceRow {
    /// The difference.
    pub(crate) difference: Difference,
    /// Family of the first's scheme.
    pub(crate) from_family: String,
    /// Family of the second's.
    pub(crate) to_family: String,
}

/// A window of the differences.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DifferencePage {
    /// What it is a window of.
    pub(crate) query: DifferenceQuery,
    /// First row.
    pub(crate) start: u64,
    /// The rows.
    pub(crate) rows: Vec<DifferenceRow>,
    /// Rows that the query keeps.
    pub(crate) matching: u64,
}
