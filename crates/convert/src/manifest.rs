//! `quantscope.manifest.json`: what was made from what, and the hashes that prove it.

use crate::configs::producer;
use crate::digest::sha256;
use crate::noise::LayerError;
use crate::passage::{OtherFile, Passage};
use crate::plan::Plan;
use crate::recipe::Recipe;
use crate::survey::SourceFile;
use quantscope_audit::{Checkpoint, Model};
use serde::{Serialize, Serializer};
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

/// The manifest as it is written. Tensors are told one after another while it is, so that a checkpoint of 100,000
/// layers does not have them twice.
#[derive(Serialize)]
struct Manifest<'a> {
    schema: u32,
    tool: Value,
    emulates: &'a str,
    recipe: &'a Value,
    sources: &'a [SourceFile],
    files: Vec<Value>,
    other_files: &'a [OtherFile],
    tensors: Tensors<'a>,
}

/// A tensor that was written.
#[derive(Serialize)]
struct Tensor<'a> {
    name: &'a str,
    file: &'a str,
    dtype: &'a str,
    shape: &'a [u64],
    sha256: Option<&'a String>,
    source: Vec<String>,
    scheme: Option<&'a str>,
    sqnr_db: Option<f64>,
    max_abs_error: Option<f64>,
}

/// What tells of the tensors.
struct Tensors<'a> {
    of: (&'a Checkpoint, &'a Model),
    plan: &'a Plan,
    hashes: &'a BTreeMap<String, String>,
    errors: &'a BTreeMap<String, LayerError>,
}

impl Serialize for Tensors<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (checkpoint, model) = self.of;
        let written =
            self.plan.files.iter().flat_map(|file| file.tensors.iter().map(move |tensor| (file, tensor)));
        serializer.collect_seq(written.map(|(file, tensor)| {
            let error = self.errors.get(&tensor.spec.name);
            Tensor {
                name: &tensor.spec.name,
                file: &file.name,
                dtype: tensor.spec.dtype.tag(),
                shape: &tensor.spec.shape,
                sha256: self.hashes.get(&tensor.spec.name),
                source: self.plan.inputs(checkpoint, model, &tensor.step),
                scheme: self.plan.scheme(&tensor.step),
                sqnr_db: error.and_then(|error| error.sqnr_db),
                max_abs_error: error.map(|error| error.max_abs),
            }
        }))
    }
}

/// Writes the manifest of a conversion. `passage` has the hashes of all that was written.
pub(crate) fn write(
    of: (&Checkpoint, &Model),
    plan: &Plan,
    recipe: &Recipe,
    sources: &[SourceFile],
    passage: &Passage<'_>,
    errors: &BTreeMap<String, LayerError>,
) -> Vec<u8> {
    let manifest = Manifest {
        schema: 1,
        tool: producer(),
        emulates: EMULATES,
        recipe: &recipe.as_json,
        sources,
        files: plan.files.iter().map(|f| weight_file(&f.name, f.len, &f.header)).collect(),
        other_files: &passage.others,
        tensors: Tensors { of, plan, hashes: &passage.hashes, errors },
    };
    let mut text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    text.push(b'\n');
    text
}
