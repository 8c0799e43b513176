//! Pages of `docs/formats`, made from what the schemes say of themselves and from specimens.

use crate::specimen::Specimen;
use quantscope_audit::decoded::DecodedLayer;
use quantscope_audit::{Checkpoint, LayerInfo, Model};
use quantscope_format::{Limits, Uncontrolled};
use quantscope_schemes::{About, Presence, Region, Scheme, schemes};
use quantscope_session::CpuEngine;
use serde_json::Value;
use std::fmt::Write as _;

/// Bytes and values that an example shows.
const SHOWN: usize = 16;

fn presence(presence: Presence) -> &'static str {
    match presence {
        Presence::Required => "always",
        Presence::Calibrated => "if activations were calibrated",
        Presence::Optional => "in some variants",
    }
}

fn companions(about: &About) -> String {
    let mut table = String::from("| tensor | dtype | shape | what it is | there |\n|---|---|---|---|---|\n");
    for c in about.companions {
        let dtypes: Vec<&str> = c.dtypes.iter().map(|d| d.tag()).collect();
        table += &format!(
            "| `{}` | {} | `{}` | {} | {} |\n",
            c.leaf,
            dtypes.join(", "),
            c.shape,
            c.words,
            presence(c.presence)
        );
    }
    table
}

/// What an opened specimen shows: its layer's tensors in bytes, what they decode to, its config.
struct Shown {
    tensors: String,
    values: Option<String>,
    config: Option<String>,
    bits_per_weight: f64,
}

fn quantized_layer<'a>(model: &'a Model, id: &str) -> Option<&'a LayerInfo> {
    let own = model.layers.iter().find(|l| l.scheme.id() == id);
    own.or_else(|| model.layers.iter().find(|l| l.is_quantized()))
}

async fn tensor_rows(checkpoint: &Checkpoint, layer: &LayerInfo) -> String {
    let mut rows = String::from("| tensor | dtype | shape | first bytes |\n|---|---|---|---|\n");
    for member in &layer.members {
        let Some((shard, tensor)) = checkpoint.tensor(member.shard, member.tensor) else { continue };
        let len = usize::try_from(tensor.byte_len()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(SHOWN)];
        if shard.source.read(tensor.begin, &mut bytes).await.is_err() {
            continue;
        }
        let hex: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let more = if len > SHOWN { " …" } else { "" };
        let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
        rows += &format!(
            "| `{}` | {} | [{}] | `{}{more}` |\n",
            tensor.name,
            tensor.dtype,
            shape.join(", "),
            hex.join(" ")
        );
    }
    rows
}

async fn values(checkpoint: &Checkpoint, layer: &LayerInfo) -> Option<String> {
    let decoded = DecodedLayer::new(checkpoint, layer).ok()?;
    let [rows, cols] = decoded.decoder().extent();
    let unit = decoded.decoder().column_unit().max(SHOWN as u64);
    let region = Region { rows: 0..rows.min(1), cols: 0..cols.min(unit) };
    let values = decoded.values(&CpuEngine::new(), &region).await.ok()?;
    let words: Vec<String> = values.iter().take(SHOWN).map(|v| format!("{v}")).collect();
    Some(words.join(", "))
}

fn config(checkpoint: &Checkpoint) -> Option<String> {
    let value = &checkpoint.model_config()?.value;
    let mut section =
        ["quantization_config", "quantization"].into_iter().find_map(|key| value.get(key).cloned())?;
    // The version of the tool would make every page stale with every release.
    if let Value::Object(fields) = &mut section {
        fields.remove("producer");
    }
    serde_json::to_string_pretty(&section).ok()
}

fn show(specimen: &Specimen, id: &str) -> Option<Shown> {
    futures_executor::block_on(async {
        let limits = Limits::default();
        let checkpoint = Checkpoint::open(id, specimen.files.clone(), &limits, &Uncontrolled).await.ok()?;
        let model = Model::of(&checkpoint);
        let layer = quantized_layer(&model, id)?;
        Some(Shown {
            tensors: tensor_rows(&checkpoint, layer).await,
            values: values(&checkpoint, layer).await,
            config: config(&checkpoint),
            bits_per_weight: layer.bits_per_weight(),
        })
    })
}

fn declared(about: &About) -> String {
    let algos: Vec<String> = about.algos.iter().map(|a| format!("`quant_algo` `{a}`")).collect();
    match (algos.is_empty(), about.declared_by.is_empty()) {
        (false, true) => algos.join(" or "),
        (false, false) => format!("{}; {}", algos.join(" or "), about.declared_by),
        (true, false) => about.declared_by.to_string(),
        (true, true) => "no config: the tensors tell".into(),
    }
}

/// The page of a scheme.
#[must_use]
pub fn page(scheme: &dyn Scheme, specimen: Option<&Specimen>) -> String {
    let about = scheme.about();
    let mut page = format!("# {}\n\n{}.\n\n{}", about.id, about.title, companions(about));
    let _ = write!(page, "\n**Declared by** {}.\n\n## Arithmetic\n\n```\n", declared(about));
    for line in about.formula {
        page += &format!("{line}\n");
    }
    let _ = write!(page, "```\n\nSource: {}.\n", about.source);
    let Some((specimen, shown)) = specimen.and_then(|s| Some((s, show(s, about.id)?))) else { return page };
    let _ = write!(
        page,
        "\n## An example in bytes\n\nMade by {}.\nIt takes {:.3} bits per weight.\n\n{}",
        specimen.maker, shown.bits_per_weight, shown.tensors
    );
    match shown.values {
        Some(values) => page += &format!("\nThe first row decodes to\n\n```\n{values}\n```\n"),
        None => page += "\nThis variant is recognised and not decoded.\n",
    }
    if let Some(config) = shown.config {
        page += &format!("\nIts config says\n\n```json\n{config}\n```\n");
    }
    page
}

/// The table of all schemes.
#[must_use]
pub fn contents() -> String {
    let mut page = String::from(
        "# Formats\n\nEvery scheme that Quantscope knows, generated from the descriptions it works by.\n\
         How numbers are rounded, and what the schemes share, is in [formats.md](../formats.md).\n\n\
         | id | what it is | from floating point |\n|---|---|---|\n",
    );
    for scheme in schemes() {
        let about = scheme.about();
        let written = if about.can_encode { "written" } else { "" };
        page += &format!("| [`{0}`]({0}.md) | {1} | {written} |\n", about.id, about.title);
    }
    page
}
