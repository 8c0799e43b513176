//! `quantscope.manifest.json`: what was made from what, and the hashes that prove it.

use crate::configs::producer;
use crate::noise::LayerError;
use crate::plan::{Place, Plan, Step};
use crate::recipe::Recipe;
use quantscope_audit::{Checkpoint, Model};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The reference whose bytes are reproduced.
const EMULATES: &str =
    "nvidia-modelopt 0.47.0; Conv3d after its pull request 1809, FP8 tiles after its pull request 1807";

/// Name of the manifest.
pub(crate) const NAME: &str = "quantscope.manifest.json";

/// Writes the manifest. `sources` are path, length and SHA-256 of each source shard; `hashes` the SHA-256
/// of each output tensor by name.
pub(crate) fn write(
    (checkpoint, model): (&Checkpoint, &Model),
    plan: &Plan,
    recipe: &Recipe,
    sources: &[(String, u64, String)],
    hashes: &BTreeMap<String, String>,
    errors: &[LayerError],
) -> Vec<u8> {
    let source_name =
        |place: &Place| checkpoint.tensor(place.shard, place.tensor).map(|(_, t)| t.name.clone());
    let layer_names = |layer: usize| -> Vec<String> {
        let members = model.layers.get(layer).map(|l| l.members.as_slice()).unwrap_or_default();
        members
            .iter()
            .filter_map(|m| checkpoint.tensor(m.shard, m.tensor))
            .map(|(_, t)| t.name.clone())
            .collect()
    };
    let mut tensors = Vec::new();
    for file in &plan.files {
        for tensor in &file.tensors {
            let packed = match tensor.step {
                Step::Codes(i) | Step::BlockScales(i) | Step::Scalar(i, _) => {
                    plan.packed.get(i).map(|p| (i, p))
                }
                _ => None,
            };
            let changed = match tensor.step {
                Step::Decoded(i) | Step::Recast(i, _) => plan.changed.get(i),
                _ => None,
            };
            let sources: Vec<String> = match (&tensor.step, changed) {
                (Step::Copy(place) | Step::Cast(place, _), _) => source_name(place).into_iter().collect(),
                (_, Some(changed)) => layer_names(changed.layer),
                _ => packed.and_then(|(_, p)| source_name(&p.place)).into_iter().collect(),
            };
            let scheme = packed.map(|(_, p)| p.scheme.id()).or_else(|| changed.map(|c| c.to.id()));
            let error =
                packed.filter(|_| matches!(tensor.step, Step::Codes(_))).and_then(|(i, _)| errors.get(i));
            tensors.push(json!({
                "name": tensor.spec.name,
                "file": file.name,
                "dtype": tensor.spec.dtype.tag(),
                "shape": tensor.spec.shape,
                "sha256": hashes.get(&tensor.spec.name),
                "source": sources,
                "scheme": scheme,
                "sqnr_db": error.and_then(|e| e.sqnr_db),
                "max_abs_error": error.map(|e| e.max_abs),
            }));
        }
    }
    let sources: Vec<Value> = sources
        .iter()
        .map(|(file, bytes, sha256)| json!({"file": file, "bytes": bytes, "sha256": sha256}))
        .collect();
    let manifest = json!({
        "schema": 1,
        "tool": producer(),
        "emulates": EMULATES,
        "recipe": recipe.as_json,
        "sources": sources,
        "files": plan.files.iter().map(|f| json!({"file": f.name, "bytes": f.len})).collect::<Vec<_>>(),
        "tensors": tensors,
    });
    let mut text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    text.push(b'\n');
    text
}
