//! TI: weights that are shared, said to be shared, or stand in the file more than once.

use super::HeaderContext;
use crate::findings::Findings;
use crate::model::LayerInfo;
use crate::registry::{Example, FindingExt, Rule};
use crate::report::{Finding, Severity, Tie};
use crate::ties::{self, DeclaredTie};
use serde_json::Value;

pub(crate) const RULES: &[Rule] = &[TI701, TI702, TI703, TI704];

const TI701: Rule = Rule {
    id: "TI701",
    severity: Severity::Error,
    needs: "H,C",
    title: "Tie flag against the tensors",
    why: "`tie_word_embeddings` decides whether the output head is read from the file or taken from the embedding. \
          Where the flag and the tensors disagree, the head stays uninitialised or a stored one is thrown away.",
    fix: "Set the flag to what the file holds, or materialise the head.",
    repairable: true,
    example: Example::of(
        "tie_word_embeddings: false\nmodel.embed_tokens.weight, no lm_head",
        "tie_word_embeddings: true\nmodel.embed_tokens.weight, no lm_head",
    ),
};

const TI702: Rule = Rule {
    id: "TI702",
    severity: Severity::Info,
    needs: "B",
    title: "Identical weights",
    why: "The same bytes stand in the file more than once. If the model ties these layers, one copy is enough.",
    fix: "If the layers are tied, declare it and drop the copies; equal bytes alone are no tie.",
    repairable: false,
    example: Example::of(
        "encoder.embed_tokens.weight  BF16 [32000, 4096]\ndecoder.embed_tokens.weight  BF16 [32000, 4096], the \
                 same bytes",
        "decoder.embed_tokens.weight  BF16 [32000, 4096]\nconfig.json: tie_word_embeddings: true",
    ),
};

const TI703: Rule = Rule {
    id: "TI703",
    severity: Severity::Error,
    needs: "B",
    title: "Declared tie, different bytes",
    why: "The config says that two layers share one weight, but the file holds two that differ. Loaders keep one of \
          them, and not all the same one.",
    fix: "Set the flag to false if both are meant, or drop the copy that is not.",
    repairable: true,
    example: Example::of(
        "tie_word_embeddings: true\nlm_head.weight differs from model.embed_tokens.weight",
        "tie_word_embeddings: false\nlm_head.weight differs from model.embed_tokens.weight",
    ),
};

const TI704: Rule = Rule {
    id: "TI704",
    severity: Severity::Warning,
    needs: "B",
    title: "Tied weights, different activation scales",
    why: "The layers share their weight but were calibrated apart. Whoever drops a copy drops its activation scale: \
          the other side then clips or wastes range.",
    fix: "Choose: keep both scales with both copies (`--ties keep-input-scale`), or write the larger to both \
          (`--ties by-name`).",
    repairable: true,
    example: Example::of(
        "encoder.l0.fc1.input_scale  0.021\ndecoder.l0.fc1.input_scale  0.034, same weight",
        "encoder.l0.fc1.input_scale  0.034\ndecoder.l0.fc1.input_scale  0.034, same weight",
    ),
};

/// Whether a model of that config has an output head of its own, as far as names tell.
fn generates(config: &Value) -> bool {
    let names = config.get("architectures").and_then(Value::as_array);
    let head = |name: &str| name.contains("ForCausalLM") || name.contains("ForConditionalGeneration");
    // Without names, the numbers of a language model must do.
    names.map_or_else(
        || config.get("vocab_size").is_some() || config.get("text_config").is_some(),
        |names| names.iter().filter_map(Value::as_str).any(head),
    )
}

pub(crate) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    let Some(config) = context.checkpoint.model_config().filter(|_| context.is_whole()) else { return };
    let weighs = |l: &&LayerInfo| l.member(l.weight_leaf()).is_some();
    let layers = &context.model.layers;
    match config.tie_word_embeddings {
        Some(false) => {
            let embedding = layers.iter().filter(weighs).find(|l| ties::is_input_embedding(&l.name));
            let head = layers
                .iter()
                .any(|l| ties::is_head(&l.name) || ["output", "head"].contains(&l.name.as_str()));
            let Some(embedding) = embedding.filter(|_| !head && generates(&config.value)) else { return };
            let message = format!(
                "tie_word_embeddings is false, but there is no output head beside `{}`",
                embedding.name
            );
            let finding = TI701.finding("tie_word_embeddings", message).in_file("config.json");
            findings.push(finding.expecting("an output head", "none").touching(&embedding.name));
        }
        Some(true) => {
            let other = |tie: &DeclaredTie| {
                let (alias, canonical) =
                    (context.model.layer(&tie.alias)?, context.model.layer(&tie.canonical)?);
                let form = |l: &LayerInfo| {
                    l.tensor(context.checkpoint, l.weight_leaf()).map(|(_, t)| (t.dtype, t.shape))
                };
                // A pair of which one side is quantized is kept apart by the converters of the reference.
                let apart = form(alias).is_some() && form(alias) != form(canonical);
                apart.then_some((alias, canonical))
            };
            for (alias, canonical) in
                ties::declared(context.checkpoint, context.model).iter().filter_map(other)
            {
                let (a, c) = (alias.scheme.id(), canonical.scheme.id());
                let message = format!(
                    "tie_word_embeddings is true, but `{}` is stored apart from `{}`, as {a} against {c}",
                    alias.name, canonical.name
                );
                let finding = TI701.finding("tie_word_embeddings", message).in_file("config.json");
                findings.push(finding.expecting("one weight", format!("{a} and {c}")).touching(&alias.name));
            }
        }
        None => {}
    }
}

/// Aliases that a message names; the report's ties list them all.
const NAMED: usize = 3;

/// A finding for a group whose bytes were found equal.
pub(crate) fn identical(tie: &Tie) -> Finding {
    let copies = tie.aliases.len().saturating_add(1);
    let named: Vec<String> = tie.aliases.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    let more = tie.aliases.len().saturating_sub(NAMED);
    let others = if more > 0 { format!(" and {more} others") } else { String::new() };
    let message = format!(
        "{copies} layers have byte-identical weights: `{}`, {}{others}; {} bytes would be saved",
        tie.canonical,
        named.join(", "),
        tie.bytes_saved
    );
    let mut finding = TI702.finding(tie.canonical.as_str(), message).touching(tie.canonical.as_str());
    finding.layers.extend(tie.aliases.iter().cloned());
    finding
}

/// A finding for a declared tie whose sides differ, first at a byte.
pub(crate) fn different(tie: &DeclaredTie, at: u64) -> Finding {
    let (alias, canonical) = (&tie.alias, &tie.canonical);
    let message =
        format!("`{alias}` is declared tied to `{canonical}`, but their bytes differ, first at byte {at}");
    let finding =
        TI703.finding(alias.as_str(), message).expecting("equal bytes", format!("different from byte {at}"));
    finding.touching(alias.as_str()).touching(canonical.as_str())
}

/// A finding for equal weights whose activation scales differ.
pub(crate) fn input_scales(canonical: (&str, f32), alias: (&str, f32)) -> Finding {
    let message = format!(
        "`{}` and `{}` share their weight but have input scales {:e} and {:e}",
        alias.0, canonical.0, alias.1, canonical.1
    );
    let finding = TI704.finding(alias.0, message).touching(alias.0).touching(canonical.0);
    finding
        .expecting(format!("{:e}", alias.1.max(canonical.1)), format!("{:e} and {:e}", alias.1, canonical.1))
}
