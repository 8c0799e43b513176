//! Decoding a stored layer to F32, region by region, without touching a file.
//!
//! A decoder says which bytes a region needs; whoever owns the files reads them and hands them back.
//! So a layer of any size decodes under a fixed budget, whatever its layout.

use futures_util::future::{LocalBoxFuture, ready};
use quantscope_kernels::error_metrics::ErrorMetrics;
use quantscope_kernels::{Engine, EngineError, FloatTile};
use std::borrow::Cow;
use std::ops::Range;

/// Why a layer cannot be decoded or encoded, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; {remedy}")]
pub struct Refusal {
    /// What stands against it; the subject is the layer.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

impl Refusal {
    /// A refusal in words.
    pub fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason: reason.into(), remedy: remedy.into() }
    }
}

/// A part of the decoded matrix: whole rows, or a part of rows that begins at a multiple of
/// [`Decoder::column_unit`] and ends at one or at the last column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Rows.
    pub rows: Range<u64>,
    /// Columns.
    pub cols: Range<u64>,
}

/// Bytes of a stored tensor: `runs` runs of `run` bytes that begin `stride` bytes apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slab {
    /// Leaf name of the tensor.
    pub leaf: Cow<'static, str>,
    /// First byte within the tensor.
    pub offset: u64,
    /// Bytes of a run.
    pub run: u64,
    /// Bytes from the beginning of one run to the next.
    pub stride: u64,
    /// Number of runs.
    pub runs: u64,
}

impl Slab {
    /// Bytes without gaps.
    #[must_use]
    pub fn range(leaf: impl Into<Cow<'static, str>>, offset: u64, len: u64) -> Self {
        Self { leaf: leaf.into(), offset, run: len, stride: len, runs: 1 }
    }

    /// A rectangle of a row-major matrix with `row_bytes` bytes a row; saturating, since reading checks
    /// the bounds.
    #[must_use]
    pub fn rectangle(
        leaf: impl Into<Cow<'static, str>>,
        row_bytes: u64,
        rows: Range<u64>,
        bytes: Range<u64>,
    ) -> Self {
        Self {
            leaf: leaf.into(),
            offset: rows.start.saturating_mul(row_bytes).saturating_add(bytes.start),
            run: bytes.end.saturating_sub(bytes.start),
            stride: row_bytes,
            runs: rows.end.saturating_sub(rows.start),
        }
    }
}

/// One layer made ready for decoding: its shapes are checked, its settings known.
pub trait Decoder {
    /// Shape of the decoded weight, padding left out. Its product is rows times columns.
    fn shape(&self) -> Vec<u64>;

    /// Rows and columns of the matrix that regions are taken from. Row-major, it is the decoded weight.
    fn extent(&self) -> [u64; 2];

    /// Columns at whose multiples a row may be cut.
    fn column_unit(&self) -> u64 {
        1
    }

    /// The bytes that a region needs, in the order in which [`Self::decode`] takes them.
    fn needs(&self, region: &Region) -> Vec<Slab>;

    /// Appends the decoded values of a region, row by row. `parts` are the bytes of [`Self::needs`], each of
    /// exactly the length asked for.
    ///
    /// # Errors
    /// If the engine fails.
    fn decode<'a>(
        &'a self,
        engine: &'a dyn Engine,
        region: &'a Region,
        parts: &'a [Vec<u8>],
        out: &'a mut Vec<f32>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>>;

    /// How far a region of whole blocks is from the values it was packed from, without padding, where that can be told
    /// without keeping the decoded values; `None` where they have to be decoded first. `parts` are as in
    /// [`Self::decode`].
    ///
    /// # Errors
    /// If the engine fails.
    fn errors<'a>(
        &'a self,
        _engine: &'a dyn Engine,
        _region: &'a Region,
        _parts: &'a [Cow<'a, [u8]>],
        _source: FloatTile<'a>,
    ) -> LocalBoxFuture<'a, Result<Option<ErrorMetrics>, EngineError>> {
        Box::pin(ready(Ok(None)))
    }
}
