//! Tensors that share their values: which pairs may, and whether their bytes are equal.
//!
//! Source: `formats.md` h, "What a file tells of its ties" and "Dedup". Equal bytes alone are no tie. A layer that is
//! quantized already is tied as a whole: weight and companions go all or none, activation scales become the largest.

use crate::error::ConvertError;
use crate::listed::{Hashes, Listed, partners};
use crate::passage::{length, sized};
use crate::plan::Place;
use crate::recipe::{Recipe, TiePolicy};
use crate::refused::Refused;
use crate::sides::{Sides, is_part};
use crate::views::{Beyond, View, Views};
use quantscope_audit::ties::{self, DeclaredTie};
use quantscope_audit::{Checkpoint, Model};
use quantscope_format::Gather as _;
use quantscope_format::{Buffer, Control, Limits, Progress};
use quantscope_numeric::Dtype;
use quantscope_schemes::{INPUT_SCALE_LEAF, role_of};
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hasher as _};

/// Who says that two sides are tied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The config: sides that differ both stay.
    Config,
    /// The user, by name: sides that differ are refused.
    Declared,
    /// The user, by a prefix: what differs is not meant.
    Prefix,
}

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
    /// Who says so.
    pub(crate) origin: Origin,
    /// Pairs of one number go all or none.
    group: usize,
}

/// Activation scales of two sides, which become the larger of both.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Merge {
    /// That of the side that goes.
    pub(crate) gone: Place,
    /// That of the side that stays.
    pub(crate) kept: Place,
    group: usize,
}

/// Pairs of tensors that count as one, and what is known of the others.
#[derive(Debug, Clone, Default)]
pub struct Ties {
    /// Pairs with equal bytes; before comparing, pairs that may have them.
    pub(crate) pairs: Vec<Pair>,
    /// Pairs that turned out to differ.
    pub(crate) unequal: Vec<Pair>,
    /// Activation scales of layers that are quantized already.
    pub(crate) merges: Vec<Merge>,
    /// Modules that are not in the file, and those they share their values with.
    pub(crate) absent: Vec<(String, String)>,
    /// Modules of a list for which nothing says what stays.
    unsettled: Vec<Refused>,
    /// What the user should know of a list.
    pub(crate) notes: Vec<String>,
    /// Whether bytes were compared.
    pub(crate) is_compared: bool,
    /// Places that a pair lets go.
    seen: BTreeSet<(u32, u32, u64)>,
    groups: usize,
}

/// The name with its prefix replaced by the canonical one: `model.encoder.a` under `model.decoder` is
/// `model.decoder.a`. `None` for what is canonical itself or stands elsewhere.
pub(crate) fn under_prefix(prefix: &str, name: &str) -> Option<String> {
    let (parent, side) = prefix.rsplit_once('.').map_or((None, prefix), |(p, side)| (Some(p), side));
    let below = match parent {
        Some(parent) => name.strip_prefix(parent)?.strip_prefix('.')?,
        None => name,
    };
    let (other, rest) = below.split_once('.')?;
    (other != side).then(|| format!("{prefix}.{rest}"))
}

/// The module or path that stands for one of that name, as the recipe's prefix and patterns say.
fn canonical_name(recipe: &Recipe, name: &str) -> Option<String> {
    let prefixed = recipe.canonical.as_deref().and_then(|prefix| under_prefix(prefix, name));
    prefixed.or_else(|| recipe.declared_ties.iter().find_map(|tie| tie.canonical_of(name)))
}

/// Modules or paths that may stand for one that the file has not, as the recipe's prefix, patterns and list say: the
/// first that the file has does.
pub(crate) fn canonical_names(recipe: &Recipe, name: &str) -> Vec<String> {
    if recipe.ties == TiePolicy::Off {
        return Vec::new();
    }
    canonical_name(recipe, name).into_iter().chain(partners(&recipe.listed_ties, name)).collect()
}

impl Ties {
    /// Every pair that the recipe and the config speak of, taken for equal. Reads nothing.
    ///
    /// # Errors
    /// If names cannot be made as the recipe's rules ask for.
    pub fn assumed(checkpoint: &Checkpoint, model: &Model, recipe: &Recipe) -> Result<Self, ConvertError> {
        if recipe.ties == TiePolicy::Off {
            return Ok(Self::default());
        }
        let views = Views::new(checkpoint, model, recipe)?;
        let sides = Sides::new(model, &views);
        let known = known(checkpoint, &sides);
        let listed = Listed::new(&sides, recipe, &known, None);
        Ok(Self::gathered(checkpoint, &sides, recipe, &known, listed))
    }

    /// All pairs, given what the list of the recipe stands for.
    fn gathered(
        checkpoint: &Checkpoint,
        sides: &Sides<'_>,
        recipe: &Recipe,
        known: &[DeclaredTie],
        listed: Listed,
    ) -> Self {
        let (mut ties, views) = (Self::default(), sides.views);
        // What a list names is meant: it goes before what a prefix only allows.
        for (alias, canonical) in &listed.pairs {
            ties.add_module(sides, Origin::Declared, alias, canonical);
        }
        if let Some(prefix) = &recipe.canonical {
            ties.add_prefixed(checkpoint, sides.model, prefix);
        }
        for alias in 0..views.modules.len() {
            let prefix = recipe.canonical.as_deref();
            ties.add_quantized_under(sides, prefix, alias);
        }
        for tie in &recipe.declared_ties {
            for module in &views.modules {
                if let Some(other) = tie.alias_of(&module.name) {
                    ties.add_module(sides, Origin::Declared, &other, &module.name);
                }
            }
        }
        for tie in known {
            let canonical = listed.pairs.get(&tie.canonical).cloned();
            let canonical = canonical
                .or_else(|| canonical_name(recipe, &tie.canonical).filter(|c| sides.has(c)))
                .unwrap_or_else(|| tie.canonical.clone());
            ties.add_module(sides, Origin::Config, &tie.alias, &canonical);
        }
        (ties.unsettled, ties.notes) = (listed.refused, listed.notes);
        ties.settle();
        ties
    }

    fn new_group(&mut self) -> usize {
        self.groups += 1;
        self.groups
    }

    fn add(&mut self, origin: Origin, group: usize, gone: &View, kept: &View) {
        if !self.seen.insert((gone.place.shard, gone.place.tensor, gone.place.bytes.start)) {
            return;
        }
        let pair = Pair {
            alias: gone.name.clone(),
            canonical: kept.name.clone(),
            gone: gone.place.clone(),
            kept: kept.place.clone(),
            origin,
            group,
        };
        let alike = gone.dtype == kept.dtype && gone.shape == kept.shape && gone.place != kept.place;
        if alike { self.pairs.push(pair) } else { self.unequal.push(pair) }
    }

    fn add_module(&mut self, sides: &Sides<'_>, origin: Origin, alias: &str, canonical: &str) {
        let Some(&kept) = sides.modules.get(canonical) else { return };
        let Some(&gone) = sides.modules.get(alias) else {
            let pair = (alias.to_string(), canonical.to_string());
            if sides.has(canonical) && !self.absent.contains(&pair) {
                self.absent.push(pair);
            }
            return;
        };
        let quantized = [gone, kept].map(|module| sides.is_quantized(module));
        match (quantized, sides.weight(gone).zip(sides.weight(kept))) {
            ([false, false], Some((gone, kept))) => {
                let group = self.new_group();
                self.add(origin, group, gone, kept);
            }
            ([true, true], _) => self.add_quantized(sides, origin, gone, kept),
            // One side is quantized and the other is not: both stay.
            _ => {}
        }
    }

    /// Quantized layers under another prefix; their other tensors are paired as those of plain layers are.
    fn add_quantized_under(&mut self, sides: &Sides<'_>, prefix: Option<&str>, alias: usize) {
        let module = sides.views.modules.get(alias).filter(|_| sides.is_quantized(alias));
        let name = prefix.zip(module).and_then(|(prefix, module)| under_prefix(prefix, &module.name));
        let canonical = name.and_then(|name| sides.modules.get(name.as_str()).copied());
        if let Some(canonical) = canonical.filter(|&c| sides.is_quantized(c)) {
            self.add_quantized(sides, Origin::Prefix, alias, canonical);
        }
    }

    /// Weight and companions of a quantized layer, if every one has its twin.
    fn add_quantized(&mut self, sides: &Sides<'_>, origin: Origin, alias: usize, canonical: usize) {
        let (own, other) = (sides.companions(alias), sides.companions(canonical));
        let find = |leaf: &str| other.iter().copied().find(|view| view.leaf == leaf);
        let twins: Option<Vec<(&View, &View)>> =
            own.iter().map(|&view| Some((view, find(&view.leaf)?))).collect();
        let parts = |views: &[&View]| views.iter().filter(|view| view.leaf != INPUT_SCALE_LEAF).count();
        let whole = sides.scheme(alias) == sides.scheme(canonical) && parts(&own) == parts(&other);
        let Some(twins) = twins.filter(|_| whole) else { return };
        let place = |view: &View| (view.place.shard, view.place.tensor, view.place.bytes.start);
        if twins.iter().any(|(gone, _)| self.seen.contains(&place(gone))) {
            return;
        }
        let group = self.new_group();
        for (gone, kept) in twins {
            let is_number = |view: &View| view.dtype == Dtype::F32 && view.place.len() == 4;
            if gone.leaf == INPUT_SCALE_LEAF && is_number(gone) && is_number(kept) {
                self.merges.push(Merge { gone: gone.place.clone(), kept: kept.place.clone(), group });
            } else {
                self.add(origin, group, gone, kept);
            }
        }
    }

    /// Lets no part of a group go of which another part differs.
    fn settle(&mut self) {
        let broken: BTreeSet<usize> = self.unequal.iter().map(|pair| pair.group).gather_set();
        self.merges.retain(|merge| !broken.contains(&merge.group));
        self.pairs.retain(|pair| !broken.contains(&pair.group));
    }

    /// Declared ties whose sides differ.
    pub(crate) fn refused(&self) -> Vec<Refused> {
        let declared = self.unequal.iter().filter(|pair| pair.origin == Origin::Declared);
        let refused = declared.map(|pair| Refused {
            name: pair.alias.clone(),
            reason: format!("is declared tied to `{}`, but their values differ", pair.canonical),
            remedy: "leave it out of the declared ties, or mend the source".into(),
        });
        refused.chain(self.unsettled.iter().cloned()).collect()
    }

    /// Tensors of plain layers under another prefix, stacks before they are taken apart; of quantized layers, what
    /// is no part of their weight.
    fn add_prefixed(&mut self, checkpoint: &Checkpoint, model: &Model, prefix: &str) {
        let mut whole: Vec<View> = Vec::new();
        for layer in &model.layers {
            for member in &layer.members {
                let Some((_, tensor)) = checkpoint.tensor(member.shard, member.tensor) else { continue };
                let is_part = layer.is_quantized() && is_part(role_of(layer.scheme, &member.leaf).0);
                if is_part || quantscope_schemes::leak::is_state(tensor.name) {
                    continue;
                }
                whole.push(View {
                    name: tensor.name.to_owned(),
                    leaf: String::new(),
                    module: 0,
                    dtype: tensor.dtype,
                    shape: tensor.shape.to_vec(),
                    place: Place { shard: member.shard, tensor: member.tensor, bytes: 0..tensor.byte_len() },
                    beyond: Beyond::Nothing,
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
                let group = self.new_group();
                self.add(Origin::Prefix, group, gone, kept);
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
        if recipe.ties == TiePolicy::Off {
            return Ok(Self { is_compared: true, ..Self::default() });
        }
        let views = Views::new(checkpoint, model, recipe)?;
        let sides = Sides::new(model, &views);
        let known = known(checkpoint, &sides);
        let mut listed = Listed::new(&sides, recipe, &known, None);
        if !listed.open.is_empty() {
            let hashes = hashes(checkpoint, &sides, &listed.open, limits, control).await?;
            listed = Listed::new(&sides, recipe, &known, Some(&hashes));
        }
        let mut ties = Self::gathered(checkpoint, &sides, recipe, &known, listed);
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
        ties.settle();
        ties.is_compared = true;
        Ok(ties)
    }
}

/// Ties that the config speaks of, under the names of the output.
fn known(checkpoint: &Checkpoint, sides: &Sides<'_>) -> Vec<DeclaredTie> {
    let renamed = |name: &String| sides.views.applied.rules.module(name);
    let known = ties::declared(checkpoint, sides.model).into_iter();
    known.map(|tie| DeclaredTie { alias: renamed(&tie.alias), canonical: renamed(&tie.canonical) }).collect()
}

/// Hashes of weights, to find those with equal bytes; they are compared before anything is left out.
async fn hashes(
    checkpoint: &Checkpoint,
    sides: &Sides<'_>,
    modules: &BTreeSet<usize>,
    limits: &Limits,
    control: &dyn Control,
) -> Result<Hashes, ConvertError> {
    let places = || modules.iter().filter_map(|&module| Some((module, sides.kind_of(module)?.1)));
    let total = places().fold(0_u64, |n, (_, place)| n.saturating_add(place.len()));
    let (mut found, mut done) = (Hashes::new(), 0_u64);
    for (module, place) in places() {
        let Some((shard, tensor)) = checkpoint.tensor(place.shard, place.tensor) else { continue };
        if !shard.header.is_readable(tensor) {
            continue;
        }
        let (mut hash, mut at) = (DefaultHasher::new(), 0);
        while at < place.len() {
            control.progress(&Progress {
                phase: "Looking for tied weights".into(),
                item: tensor.name.to_owned(),
                done_bytes: done,
                total_bytes: total,
            });
            if control.is_cancelled() {
                return Err(ConvertError::Cancelled);
            }
            let mut bytes = sized(limits.tile_bytes.max(1).min(place.len() - at));
            let begin = tensor.begin.saturating_add(place.bytes.start).saturating_add(at);
            shard.source.read(begin, &mut bytes).await?;
            hash.write(&bytes);
            at += length(&bytes);
            done = done.saturating_add(length(&bytes));
        }
        found.insert(module, hash.finish());
    }
    Ok(found)
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
        let mut sides = [Buffer::default(), Buffer::default()];
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
    use super::under_prefix;

    #[test]
    fn prefixes_pair_sides_of_one_parent() {
        let pair = |name| under_prefix("model.decoder", name);
        assert_eq!(pair("model.encoder.layers.0.q.weight"), Some("model.decoder.layers.0.q.weight".into()));
        for none in ["model.decoder.a", "model.norm", "lm_head.weight", "models.encoder.a"] {
            assert_eq!(pair(none), None, "{none}");
        }
        assert_eq!(under_prefix("decoder", "encoder.a"), Some("decoder.a".into()));
    }
}
