//! Hashes of a result, read from its manifest when they are looked at.

use super::desk::Desk;
use super::js;
use crate::protocol::{ProofPage, ProofRow, Reply};
use quantscope_session::api::SessionError;
use serde::Deserialize;
use wasm_bindgen_futures::JsFuture;

/// The manifest's name.
const MANIFEST: &str = "quantscope.manifest.json";

/// What is read of a manifest.
#[derive(Debug, Deserialize)]
struct Manifest {
    tensors: Vec<ProofRow>,
}

impl Desk {
    /// A window of the tensors that the last result's manifest lists.
    pub(super) async fn proof_rows(&self, start: u64, count: u64) -> Result<Reply, SessionError> {
        let missing = || js::error("nothing", "The result is no longer there; convert again.");
        let manifest = self.result.borrow().as_ref().and_then(|written| {
            written.files.iter().find(|(name, _)| name == MANIFEST).map(|(_, blob)| blob.clone())
        });
        let text = JsFuture::from(manifest.ok_or_else(missing)?.text())
            .await
            .map_err(|error| {
                js::error("source", format!("{MANIFEST} cannot be read: {}", js::reason(&error)))
            })?
            .as_string()
            .unwrap_or_default();
        let Manifest { tensors } = serde_json::from_str(&text)
            .map_err(|error| js::error("source", format!("{MANIFEST} is not what was written: {error}")))?;
        let total = tensors.len() as u64;
        let (start, count) =
            (usize::try_from(start).unwrap_or(usize::MAX), usize::try_from(count).unwrap_or(usize::MAX));
        let rows = tensors.into_iter().skip(start).take(count).collect();
        Ok(Reply::Proof(ProofPage { rows, total }))
    }
}
