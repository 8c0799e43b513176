//! Errors of the rooms below, as the boundary tells them.

use crate::api::SessionError;
use quantscope_audit::bytes::ByteAuditError;
use quantscope_convert::ConvertError;
use quantscope_format::SourceError;

fn told(kind: &str, error: &impl std::fmt::Display) -> SessionError {
    SessionError { kind: kind.into(), message: error.to_string() }
}

impl From<SourceError> for SessionError {
    fn from(error: SourceError) -> Self {
        told("source", &error)
    }
}

impl From<ByteAuditError> for SessionError {
    fn from(error: ByteAuditError) -> Self {
        let kind = match &error {
            ByteAuditError::Source(_) => "source",
            ByteAuditError::Engine(_) => "engine",
            ByteAuditError::Cancelled => "cancelled",
        };
        told(kind, &error)
    }
}

impl From<ConvertError> for SessionError {
    fn from(error: ConvertError) -> Self {
        let kind = match &error {
            ConvertError::Refused(_)
            | ConvertError::Recipe { .. }
            | ConvertError::Tensor { .. }
            | ConvertError::Layers(_)
            | ConvertError::Layout(_) => "refused",
            ConvertError::Source(_) => "source",
            ConvertError::Sink(_) | ConvertError::ReadBack { .. } => "sink",
            ConvertError::Engine(_) => "engine",
            ConvertError::Cancelled => "cancelled",
        };
        told(kind, &error)
    }
}
