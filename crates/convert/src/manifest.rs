//! `quantscope.manifest.json`: what was made from what, and the hashes that prove it.

use crate::configs::producer;
use crate::digest::{Sha, sha256};
use crate::noise::LayerError;
use crate::passage::{OtherFile, Passage, Pieces};
use crate::plan::Plan;
use crate::recipe::Recipe;
use crate::survey::SourceFile;
use quantscope_audit::{Checkpoint, Model};
use serde::ser::{Serialize, SerializeStruct as _, Serializer};
use serde_json::{Value, json};
use std::borrow::Cow;
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

/// What stands before the tensors.
#[derive(serde::Serialize)]
struct About<'a> {
    schema: u32,
    tool: Value,
    emulates: &'a str,
    recipe: &'a Value,
    sources: &'a [SourceFile],
    files: Vec<Value>,
    other_files: &'a [OtherFile],
}

/// A tensor that was written.
pub(crate) struct Tensor<'a> {
    pub(crate) name: &'a str,
    pub(crate) file: &'a str,
    pub(crate) dtype: &'a str,
    pub(crate) shape: &'a [u64],
    pub(crate) sha256: Option<&'a Sha>,
    pub(crate) source: Vec<&'a str>,
    /// What conversions alone tell.
    pub(crate) made: Option<Made<'a>>,
}

/// What a conversion made of a tensor.
pub(crate) struct Made<'a> {
    scheme: Option<&'a str>,
    sqnr_db: Option<f64>,
    max_abs_error: Option<f64>,
}

impl Serialize for Tensor<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Tensor", if self.made.is_some() { 9 } else { 6 })?;
        fields.serialize_field("name", self.name)?;
        fields.serialize_field("file", self.file)?;
        fields.serialize_field("dtype", self.dtype)?;
        fields.serialize_field("shape", self.shape)?;
        fields.serialize_field("sha256", &self.sha256)?;
        fields.serialize_field("source", &self.source)?;
        if let Some(Made { scheme, sqnr_db, max_abs_error }) = &self.made {
            fields.serialize_field("scheme", scheme)?;
            fields.serialize_field("sqnr_db", sqnr_db)?;
            fields.serialize_field("max_abs_error", max_abs_error)?;
        }
        fields.end()
    }
}

/// Tensors that are told of at once.
const AT_ONCE: usize = 1024;

/// Some of the tensors, as deep within braces as they stand in the manifest.
#[derive(serde::Serialize)]
struct Part<'a> {
    tensors: Vec<Tensor<'a>>,
}

/// What is written around [`Part`].
const AROUND: (&str, &str) = ("{\n  \"tensors\": [", "\n  ]\n}");

/// The text of a manifest, piece by piece: a checkpoint of 100,000 layers has 130 MB of it. `about` is what stands
/// before the tensors.
pub(crate) fn pieces<'a>(
    about: &impl Serialize,
    tensors: Box<dyn Iterator<Item = Tensor<'a>> + 'a>,
) -> Pieces<'a> {
    continued(pretty(about), tensors)
}

/// JSON as it stands in the manifest. Maps have texts as keys and numbers are finite: there is nothing in it that JSON
/// cannot say.
fn pretty(json: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(json).unwrap_or_default()
}

fn continued<'a>(mut begin: Vec<u8>, tensors: Box<dyn Iterator<Item = Tensor<'a>> + 'a>) -> Pieces<'a> {
    begin.truncate(begin.len().saturating_sub("\n}".len()));
    begin.extend_from_slice(b",\n  \"tensors\": [");
    let mut tensors = tensors.peekable();
    let told = std::iter::from_fn(move || {
        tensors.peek()?;
        let some = Part { tensors: tensors.by_ref().take(AT_ONCE).collect() };
        let mut text = pretty(&some);
        text.truncate(text.len().saturating_sub(AROUND.1.len()));
        text.drain(..text.len().min(AROUND.0.len()));
        text.extend(tensors.peek().map(|_| b','));
        Some(text)
    });
    let end = format!("{}\n", AROUND.1).into_bytes();
    Box::new(std::iter::once(begin).chain(told).chain(std::iter::once(end)).map(Cow::Owned))
}

/// The manifest of a conversion. `passage` has the hashes of all that was written.
pub(crate) fn of_conversion<'a>(
    (checkpoint, model): (&'a Checkpoint, &'a Model),
    plan: &'a Plan,
    recipe: &'a Recipe,
    sources: &'a [SourceFile],
    passage: &'a Passage<'_>,
    errors: &'a BTreeMap<String, LayerError>,
) -> Pieces<'a> {
    let about = About {
        schema: 1,
        tool: producer(),
        emulates: EMULATES,
        recipe: &recipe.as_json,
        sources,
        files: plan.files.iter().map(|f| weight_file(&f.name, f.len, &f.header)).collect(),
        other_files: &passage.others,
    };
    let written = plan.files.iter().flat_map(|file| file.tensors.iter().map(move |tensor| (file, tensor)));
    pieces(
        &about,
        Box::new(written.map(move |(file, tensor)| {
            let error = errors.get(tensor.spec.name.as_str());
            Tensor {
                name: &tensor.spec.name,
                file: &file.name,
                dtype: tensor.spec.dtype.tag(),
                shape: &tensor.spec.shape,
                sha256: passage.hashes.get(tensor.spec.name.as_str()),
                source: plan.inputs(checkpoint, model, &tensor.step),
                made: Some(Made {
                    scheme: plan.scheme(&tensor.step),
                    sqnr_db: error.and_then(|error| error.sqnr_db),
                    max_abs_error: error.map(|error| error.max_abs),
                }),
            }
        })),
    )
}

#[cfg(test)]
mod tests {
    use super::{AT_ONCE, Cow, Tensor, pieces};
    use serde_json::{Value, json};

    /// However many tensors there are: the pieces are what would have been written at once.
    #[test]
    fn pieces_are_the_whole() {
        let names: Vec<String> = (0..3 * AT_ONCE).map(|i| format!("a\n{i}")).collect();
        let tensor = |name| Tensor {
            name,
            file: "f",
            dtype: "F32",
            shape: &[2, 3],
            sha256: None,
            source: vec!["b", "c"],
            made: None,
        };
        let fields = |name: &&str| json!({"name": name, "file": "f", "dtype": "F32", "shape": [2, 3], "sha256": null, "source": ["b", "c"]});
        for count in [1, 2, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE] {
            let names: Vec<&str> = names[..count].iter().map(String::as_str).collect();
            let tensors = Box::new(names.iter().map(|name| tensor(*name)));
            let text: Vec<u8> =
                pieces(&json!({"schema": 1, "files": [{}]}), tensors).flat_map(Cow::into_owned).collect();
            let tensors: Vec<Value> = names.iter().map(fields).collect();
            let whole = json!({"schema": 1, "files": [{}], "tensors": tensors});
            assert_eq!(String::from_utf8(text).unwrap(), format!("{whole:#}\n"), "{count} tensors");
        }
        let text: Vec<u8> =
            pieces(&json!({"schema": 1}), Box::new(std::iter::empty())).flat_map(Cow::into_owned).collect();
        let none: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(none, json!({"schema": 1, "tensors": []}));
    }
}
