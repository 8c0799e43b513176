//! Tensors that share their values: which pairs may, and whether their bytes are equal.
//!
//! Source: `formats.md` h, "What a file tells of its ties". Equal bytes alone are no tie.

use crate::error::ConvertError;
use crate::passage::{length, sized};
use crate::plan::Place;
use crate::recipe::{Recipe, TiePolicy};
use crate::views::{View, Views};
use quantscope_audit::{Checkpoint, Model, ties};
use quantscope_format::{Control, Limits, Progress};
use quantscope_schemes::WEIGHT_LEAF;
use std::collections::{BTreeSet, HashMap};

/// Two tensors, one of which stands for both if their bytes are equal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    /// Name of the tensor that goes.
    pub(crate) alias: String,
    /// Name of the one that stays.
    pub(crate) canonical: String,
    /// Bytes that go.
    pub(crate) gone: Place,
    /// Bytes that stay.
    pub(crate) kept: Place,
}

/// Pairs of tensors that count as one, and what is known of the others.
#[derive(Debug, Clone, Default)]
pub struct Ties {
    /// Pairs with equal bytes; before comparing, pairs that may have them.
    pub(crate) pairs: Vec<Pair>,
    /// Pairs that turned out to differ.
    pub(crate) unequal: Vec<Pair>,
    /// Modules that are not in the file, and those they share their values with.
    pub(crate) absent: Vec<(String, String)>,
    /// Whether bytes were compared.
    pub(crate) is_compared: bool,
    /// Places that a pair lets go.
    seen: BTreeSet<(u32, u32, u64)>,
}

/// The name with its prefix replaced by the canonical one: `model.encoder.a` under `model.decoder` is
/// `model.decoder.a`. `None` for what is canonical itself or stands elsewhere.
fn under_prefix(prefix: &str, name: &str) -> Option<String> {
    let (parent, side) = prefix.rsplit_once('.').map_or((None, prefix), |(p, side)| (Some(p), side));
    let below = match parent {
        Some(parent) => name.strip_prefix(parent)?.strip_prefix('.')?,
        None => name,
    };
    let (other, rest) = below.split_once('.')?;
    (other != side).then(|| format!("{prefix}.{rest}"))
}

/// What matches one pattern, put into another: `*` is the same text on both sides.
fn translated(from: &str, to: &str, name: &str) -> Option<String> {
    match (from.split_once('*'), to.split_once('*')) {
        (Some((begin, end)), Some((to_begin, to_end))) => {
            let text = name.strip_prefix(begin)?.strip_suffix(end)?;
            Some(format!("{to_begin}{text}{to_end}"))
        }
        _ => (from == name).then(|| to.to_string()),
    }
}

/// The module or tensor that stands for one of that name, as the recipe's prefix and patterns say.
pub(crate) fn canonical_name(recipe: &Recipe, name: &str) -> Option<String> {
    if recipe.ties == TiePolicy::Off {
        return None;
    }
    let prefixed = recipe.canonical.as_deref().and_then(|prefix| under_prefix(prefix, name));
    let declared =
        || recipe.declared_ties.iter().find_map(|(alias, canonical)| translated(alias, canonical, name));
    prefixed.or_else(declared)
}

impl Ties {
    /// Every pair that the recipe and the config speak of, taken for equal. Reads nothing.
    ///
    /// # Errors
    /// If names cannot be made as the recipe's rules ask for.
    pub fn assumed(checkpoint: &Checkpoint, model: &Model, recipe: &Recipe) -> Result<Self, ConvertError> {
        let mut ties = Self::default();
        if recipe.ties == TiePolicy::Off {
            return Ok(ties);
        }
        let views = Views::new(checkpoint, model, recipe)?;
        if let Some(prefix) = &recipe.canonical {
            ties.add_prefixed(checkpoint, model, prefix);
        }
        let weights: HashMap<&str, &View> = views
            .modules
            .iter()
            .filter_map(|m| Some((m.name.as_str(), views.weight(m)?)))
            .filter(|(_, view)| view.leaf == WEIGHT_LEAF && view.dtype.is_plain_float())
            .collect();
        for (alias, canonical) in &recipe.declared_ties {
            for module in &views.modules {
                if let Some(other) = translated(canonical, alias, &module.name).filter(|o| *o != module.name)
                {
                    ties.add_module(&weights, &other, &module.name);
                }
            }
        }
        for tie in ties::declared(checkpoint, model) {
            let [alias, own] = [&tie.alias, &tie.canonical].map(|name| views.applied.rules.module(name));
            let canonical = canonical_name(recipe, &own).filter(|c| weights.contains_key(c.as_str()));
            ties.add_module(&weights, &alias, &canonical.unwrap_or(own));
        }
        Ok(ties)
    }

    fn add(&mut self, alias: (&str, &View), canonical: (&str, &View)) {
        let ((alias, gone), (canonical, kept)) = (alias, canonical);
        if !self.seen.insert((gone.place.shard, gone.place.tensor, gone.place.bytes.start)) {
            return;
        }
        let pair = Pair {
            alias: alias.to_string(),
            canonical: canonical.to_string(),
            gone: gone.place.clone(),
            kept: kept.place.clone(),
        };
        let alike = gone.dtype == kept.dtype && gone.shape == kept.shape && gone.place != kept.place;
        if alike { self.pairs.push(pair) } else { self.unequal.push(pair) }
    }

    fn add_module(&mut self, weights: &HashMap<&str, &View>, alias: &str, canonical: &str) {
        let Some(kept) = weights.get(canonical) else { return };
        match weights.get(alias) {
            Some(gone) => self.add((&gone.name, gone), (&kept.name, kept)),
            None => self.absent.push((alias.to_string(), canonical.to_string())),
        }
    }

    /// Tensors under another prefix, stacks before they are taken apart. Layers that are quantized already stay
    /// whole: dropping a part of one would break it.
    fn add_prefixed(&mut self, checkpoint: &Checkpoint, model: &Model, prefix: &str) {
        let mut whole: Vec<View> = Vec::new();
        for layer in model.layers.iter().filter(|l| !l.is_quantized()) {
            for member in &layer.members {
                let Some((_, tensor)) = checkpoint.tensor(member.shard, member.tensor) else { continue };
                if quantscope_schemes::leak::is_state(&tensor.name) {
                    continue;
                }
                whole.push(View {
                    name: tensor.name.clone(),
                    leaf: String::new(),
                    module: 0,
                    dtype: tensor.dtype,
                    shape: tensor.shape.clone(),
                    place: Place { shard: member.shard, tensor: member.tensor, bytes: 0..tensor.byte_len() },
                });
            }
        }
        let by_name: HashMap<&str, &View> = whole.iter().map(|v| (v.name.as_str(), v)).collect();
        for gone in &whole {
            let Some(kept) = under_prefix(prefix, &gone.name).and_then(|c| by_name.get(c.as_str()).copied())
            else {
                continue;
            };
            if gone.dtype == kept.dtype && gone.shape == kept.shape {
                self.add((&gone.name, gone), (&kept.name, kept));
            }
        }
    }

    /// Compares the bytes of every pair, and keeps those that are equal.
    ///
    /// # Errors
    /// If a source fails, or the user cancels.
    pub async fn compared(
        checkpoint: &Checkpoint,
        model: &Model,
        recipe: &Recipe,
        limits: &Limits,
        control: &dyn Control,
    ) -> Result<Self, ConvertError> {
        let mut ties = Self::assumed(checkpoint, model, recipe)?;
        let total = ties.pairs.iter().fold(0_u64, |n, p| n.saturating_add(p.gone.len()));
        let mut done = 0_u64;
        for pair in std::mem::take(&mut ties.pairs) {
            control.progress(&Progress {
                phase: "Comparing ties".into(),
                item: pair.alias.clone(),
                done_bytes: done,
                total_bytes: total,
            });
            let equal = are_equal(checkpoint, &pair, limits, control).await?;
            done = done.saturating_add(pair.gone.len());
            if equal { ties.pairs.push(pair) } else { ties.unequal.push(pair) }
        }
        ties.is_compared = true;
        Ok(ties)
    }
}

async fn are_equal(
    checkpoint: &Checkpoint,
    pair: &Pair,
    limits: &Limits,
    control: &dyn Control,
) -> Result<bool, ConvertError> {
    let len = pair.gone.len();
    let mut at = 0;
    while at < len {
        if control.is_cancelled() {
            return Err(ConvertError::Cancelled);
        }
        let mut sides = [Vec::new(), Vec::new()];
        for (side, place) in sides.iter_mut().zip([&pair.gone, &pair.kept]) {
            let Some((shard, tensor)) = checkpoint.tensor(place.shard, place.tensor) else {
                return Ok(false);
            };
            *side = sized((limits.tile_bytes / 2).max(1).min(len - at));
            let begin = tensor.begin.saturating_add(place.bytes.start).saturating_add(at);
            shard.source.read(begin, side).await?;
        }
        let [gone, kept] = sides;
        if gone != kept {
            return Ok(false);
        }
        at += length(&gone);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::{translated, under_prefix};

    #[test]
    fn prefixes_pair_sides_of_one_parent() {
        let pair = |name| under_prefix("model.decoder", name);
        assert_eq!(pair("model.encoder.layers.0.q.weight"), Some("model.decoder.layers.0.q.weight".into()));
        for none in ["model.decoder.a", "model.norm", "lm_head.weight", "models.encoder.a"] {
            assert_eq!(pair(none), None, "{none}");
        }
        assert_eq!(under_prefix("decoder", "encoder.a"), Some("decoder.a".into()));
    }

    #[test]
    fn a_star_is_the_same_text_on_both_sides() {
        assert_eq!(translated("encoder.*", "decoder.*", "encoder.a.b"), Some("decoder.a.b".into()));
        assert_eq!(translated("e.*.fc", "d.*.fc", "e.1.fc"), Some("d.1.fc".into()));
        assert_eq!(translated("e.*.fc", "d.*.fc", "e.fc"), None);
        assert_eq!(translated("lm_head", "embed", "lm_head"), Some("embed".into()));
        assert_eq!(translated("encoder.*", "decoder.*", "decoder.a"), None);
    }
}
