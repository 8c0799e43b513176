//! Whether an output is still what its conversion or repair has made: its manifest, checked.

use crate::api::SessionError;
use crate::{Control, Session};
use serde::{Deserialize, Serialize};

/// What checking a manifest has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofView {
    /// Whether everything is as the manifest says.
    pub verified: bool,
    /// Files of the output that were checked.
    pub files: u64,
    /// Tensors whose hash was compared.
    pub tensors: u64,
    /// Bytes that were hashed.
    pub bytes: u64,
    /// Files of the source that were compared; 0 without a source.
    pub sources: u64,
    /// What is wrong.
    pub problems: Vec<quantscope_convert::Problem>,
}

impl Session {
    /// Checks this checkpoint, the output of a conversion or repair, against its manifest; with `against` also that
    /// it was made of that source.
    ///
    /// # Errors
    /// If there is no manifest, a file cannot be read, or the job is cancelled. What the files hold is no error but
    /// a problem that is told.
    pub async fn check_manifest(
        &self,
        against: Option<&Self>,
        control: &dyn Control,
    ) -> Result<ProofView, SessionError> {
        let source = against.map(|session| session.checkpoint.as_ref());
        let found = quantscope_convert::verify(&self.checkpoint, source, &self.limits, control).await?;
        Ok(ProofView {
            verified: found.problems.is_empty(),
            files: found.files,
            tensors: found.tensors,
            bytes: found.bytes,
            sources: found.sources,
            problems: found.problems,
        })
    }
}
