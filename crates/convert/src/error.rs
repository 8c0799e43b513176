//! Why a conversion was not carried out. Whatever the reason, nothing stays under a final name.

use quantscope_audit::bytes::ByteAuditError;
use quantscope_format::{LayoutError, SinkError, SourceError};
use quantscope_kernels::EngineError;

/// Why a conversion was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// The request makes no sense, or asks for what cannot be done exactly.
    #[error("{0}")]
    Refused(String),
    /// A recipe file cannot be read, or asks for what there is not.
    #[error("the recipe, line {line}: {reason}")]
    Recipe {
        /// Line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A tensor cannot be converted.
    #[error("`{tensor}` {reason}; {remedy}")]
    Tensor {
        /// Tensor or module.
        tensor: String,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// Several layers cannot be converted.
    #[error("{}", crate::refused::lines(.0))]
    Layers(Vec<crate::refused::Refused>),
    /// The output cannot be laid out.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The sink failed.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The CPU engine failed, which is a fault of ours.
    #[error("quantizing failed: {0}")]
    Engine(#[from] EngineError),
    /// What was read back is not what was planned.
    #[error(
        "{file}: {what} was read back different from what was written; the medium may be failing, nothing was kept"
    )]
    ReadBack {
        /// File.
        file: String,
        /// Header or tensor.
        what: String,
    },
    /// The user stopped it.
    #[error("cancelled; nothing was written")]
    Cancelled,
}

impl From<ByteAuditError> for ConvertError {
    fn from(error: ByteAuditError) -> Self {
        match error {
            ByteAuditError::Source(e) => Self::Source(e),
            ByteAuditError::Engine(e) => Self::Engine(e),
            ByteAuditError::Cancelled => Self::Cancelled,
        }
    }
}
