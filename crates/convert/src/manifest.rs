//! `quantscope.manifest.json`: what was made from what, and the hashes that prove it.

use crate::configs::producer;
use crate::digest::sha256;
use crate::noise::LayerError;
use crate::passage::Passage;
use crate::plan::Plan;
use crate::recipe::Recipe;
use crate::survey::SourceFile;
use quantscope_audit::{Checkpoint, Model};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The reference whose bytes are reproduced.
const EMULATES: &str =
    "nvidia-modelopt 0.47.0; Conv3d after its pull request 1809, FP8 tiles after its pull request 1807";

/// Name of the manifest.
pub(crate) const NAME: &str = "quantscope.manifest.json";

/// A weight file: its length and the hash of its header, which the hashes of its tensors complete.
pub(crate) fn weight_file(name: &str, len: u64, header: &[u8]) -> Value {
    json!({"file": name, "bytes": len, "header_sha256": sha256(header)})
}

/// Writes the manifest of a conversion. `passage` has the hashes of all that was written.
pub(crate) fn write(
    (checkpoint, model): (&Checkpoint, &Model),
    plan: &Plan,
    recipe: &Recipe,
    sources: &[SourceFile],
    passage: &Passage<'_>,
    errors: &BTreeMap<String, LayerError>,
) -> Vec<u8> {
    let mut tensors = Vec::new();
    for file in &plan.files {
        for tensor in &file.tensors {
            let error = errors.get(&tensor.spec.name);
            tensors.push(json!({
                "name": tensor.spec.name,
                "file": file.name,
                "dtype": tensor.spec.dtype.tag(),
                "shape": tensor.spec.shape,
                "sha256": passage.hashes.get(&tensor.spec.name),
                "source": plan.inputs(checkpoint, model, &tensor.step),
                "scheme": plan.scheme(&tensor.step),
                "sqnr_db": error.and_then(|e| e.sqnr_db),
                "max_abs_error": error.map(|e| e.max_abs),
            }));
        }
    }
    let manifest = json!({
        "schema": 1,
        "tool": producer(),
        "emulates": EMULATES,
        "recipe": recipe.as_json,
        "sources": sources,
        "files": plan.files.iter().map(|f| weight_file(&f.name, f.len, &f.header)).collect::<Vec<_>>(),
        "other_files": passage.others,
        "tensors": tensors,
    });
    let mut text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    text.push(b'\n');
    text
}
