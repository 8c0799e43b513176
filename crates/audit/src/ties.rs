//! Ties: declared by the config, found by identical bytes, or both.
//!
//! Source: `formats.md` h, "What a file tells of its ties".

use crate::checkpoint::Checkpoint;
use crate::model::Model;
use crate::report::Tie;
use quantscope_format::Arrange as _;
use quantscope_schemes::{Kind, WEIGHT_LEAF};

/// A tie that the config implies: alias and canonical module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredTie {
    /// Module that shares the other's weight.
    pub alias: String,
    /// Module whose weight counts.
    pub canonical: String,
}

/// Ties known from `config.json` alone. An alias need not be in the file.
#[must_use]
pub fn declared(checkpoint: &Checkpoint, model: &Model) -> Vec<DeclaredTie> {
    let Some(config) = checkpoint.model_config() else { return Vec::new() };
    let pair =
        |alias: &str, canonical: &str| DeclaredTie { alias: alias.into(), canonical: canonical.into() };
    if matches!(config.model_type.as_deref(), Some("t5" | "mt5" | "umt5")) && model.layer("shared").is_some()
    {
        let aliases = ["encoder.embed_tokens", "decoder.embed_tokens", "lm_head"];
        return aliases.iter().map(|alias| pair(alias, "shared")).collect();
    }
    if config.tie_word_embeddings != Some(true) {
        return Vec::new();
    }
    // Where both sides of an encoder-decoder have an input embedding, the decoder's is the canonical one.
    let mut embeddings: Vec<&str> = model
        .layers
        .iter()
        .filter(|l| l.kind == Kind::Embedding && is_input_embedding(&l.name))
        .map(|l| l.name.as_str())
        .collect();
    embeddings.arrange_by_key(|name| !name.contains("decoder"));
    embeddings.first().map(|canonical| pair("lm_head", canonical)).into_iter().collect()
}

pub(crate) fn is_input_embedding(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    ["embed_tokens", "wte", "shared", "word_embeddings"].contains(&last)
}

/// Whether a module path is that of an output head.
#[must_use]
pub fn is_head(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    ["lm_head", "output_layer", "embed_out"].contains(&last)
}

/// Whether two sides' `input_scale` agree is known only from their bytes: `equal`, `differs` or `absent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputScales {
    /// All sides have the same.
    Equal,
    /// They differ.
    Differ,
    /// Some side has none.
    Absent,
}

impl InputScales {
    /// The word of the report.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Differ => "differs",
            Self::Absent => "absent",
        }
    }
}

/// Declared ties whose both sides are in the file, before any byte was compared.
#[must_use]
pub fn declared_groups(checkpoint: &Checkpoint, model: &Model) -> Vec<Tie> {
    let ties = declared(checkpoint, model);
    let present =
        ties.iter().filter(|t| model.layer(&t.alias).is_some_and(|l| l.member(WEIGHT_LEAF).is_some()));
    let mut groups: Vec<Tie> = Vec::new();
    for tie in present {
        let saved = model.layer(&tie.alias).map_or(0, |l| l.bytes);
        if let Some(group) = groups.iter_mut().find(|g| g.canonical == tie.canonical) {
            group.aliases.push(tie.alias.clone());
            group.bytes_saved = group.bytes_saved.saturating_add(saved);
            continue;
        }
        groups.push(Tie {
            canonical: tie.canonical.clone(),
            aliases: vec![tie.alias.clone()],
            bytes_saved: saved,
            evidence: "declared".into(),
            input_scale: InputScales::Absent.id().into(),
        });
    }
    groups
}

/// Orders groups by what they save, the largest first.
pub fn sort_by_saving(groups: &mut [Tie]) {
    groups.arrange_by(|a, b| b.bytes_saved.cmp(&a.bytes_saved).then_with(|| a.canonical.cmp(&b.canonical)));
}
