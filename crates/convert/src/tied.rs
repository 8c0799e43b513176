//! Ties carried out: which tensors of the source are left out, and which modules share the weight of another.
//!
//! Source: `formats.md` h, "Dedup": a pair of which one side is quantized and the other is not stays a pair.

use crate::dedup::{Merge, Origin, Pair, Ties};
use crate::plan::Place;
use crate::recipe::{Recipe, TiePolicy};
use crate::refused::Refused;
use crate::select::Choice;
use crate::views::{Beyond, Views};
use quantscope_format::Gather as _;
use std::collections::{BTreeMap, BTreeSet};

/// What ties leave out.
#[derive(Debug, Default)]
pub(crate) struct Tied {
    /// Modules whose weight is left out, and those that stand for them.
    pub(crate) dropped: BTreeMap<String, String>,
    /// Modules whose weight is written once more, and those they share it with.
    pub(crate) twins: BTreeMap<String, String>,
    /// Activation scales that become the largest of several: by view, all their places.
    merged: BTreeMap<usize, Vec<Place>>,
    /// Of those that are written on every side, whose they share.
    sides: BTreeMap<usize, usize>,
    /// Layers whose activation scales cannot be made one.
    pub(crate) refused: Vec<Refused>,
    /// Bytes of the source that are left out.
    pub(crate) bytes: u64,
    /// Views that are left out.
    gone: BTreeSet<usize>,
    /// Pairs that stay pairs, since their sides are treated differently.
    treated_differently: Vec<(String, String)>,
}

/// Views of one tensor, by the byte at which they begin.
type Index = BTreeMap<(u32, u32, u64), usize>;

/// Views of the two sides of a pair, part by part.
fn sides(index: &Index, pair: &Pair) -> Vec<(usize, usize)> {
    let within = |place: &Place| {
        let key = |byte| (place.shard, place.tensor, byte);
        let end = place.bytes.end.max(place.bytes.start.saturating_add(1));
        index.range(key(place.bytes.start)..key(end)).map(|(_, &view)| view).collect::<Vec<_>>()
    };
    let (gone, kept) = (within(&pair.gone), within(&pair.kept));
    if gone.len() == kept.len() { gone.into_iter().zip(kept).collect() } else { Vec::new() }
}

impl Tied {
    /// Applies pairs of equal bytes, given what becomes of each module.
    pub(crate) fn new(views: &Views, ties: &Ties, choices: &[Choice], recipe: &Recipe) -> Self {
        let place = |p: &Place| (p.shard, p.tensor, p.bytes.start);
        let mut index = Index::new();
        // What is joined stands for more than one tensor: a pair of them says nothing of it.
        let singles = views.tensors.iter().enumerate().filter(|(_, v)| v.beyond == Beyond::Nothing);
        for (i, view) in singles {
            // Twins of tensors come after them.
            index.entry(place(&view.place)).or_insert(i);
        }
        let mut tied = Self::default();
        let treated = |view: usize| {
            let module = views.tensors.get(view)?.module;
            choices.get(module)?.treatment()
        };
        for pair in &ties.pairs {
            let sides = sides(&index, pair);
            let module = |view: usize| views.modules.get(views.tensors.get(view)?.module);
            let is_weight = |view: usize| module(view).is_some_and(|m| m.weight == Some(view));
            let alike = sides.iter().all(|&(gone, kept)| !is_weight(gone) || treated(gone) == treated(kept));
            if !alike {
                tied.treated_differently.push((pair.alias.clone(), pair.canonical.clone()));
                continue;
            }
            for (gone, kept) in sides {
                if !recipe.expand_ties {
                    tied.gone.insert(gone);
                    tied.bytes =
                        tied.bytes.saturating_add(views.tensors.get(gone).map_or(0, |v| v.place.len()));
                }
                if let (true, Some(alias), Some(canonical)) = (is_weight(gone), module(gone), module(kept)) {
                    let known = if recipe.expand_ties { &mut tied.twins } else { &mut tied.dropped };
                    known.insert(alias.name.clone(), canonical.name.clone());
                }
            }
        }
        for merge in &ties.merges {
            let (Some(&gone), Some(&kept)) = (index.get(&place(&merge.gone)), index.get(&place(&merge.kept)))
            else {
                continue;
            };
            let module = views.tensors.get(kept).map(|v| v.module);
            if let Some(Choice::Recast(..)) = module.and_then(|module| choices.get(module)) {
                tied.refuse_recast(views, gone);
                continue;
            }
            tied.merge(views, recipe, merge, [gone, kept]);
        }
        // Sides that are all written get the largest of all.
        let of_kept: Vec<(usize, usize)> = tied.sides.iter().map(|(&gone, &kept)| (gone, kept)).collect();
        for (gone, kept) in of_kept {
            if let Some(places) = tied.merged.get(&kept).cloned() {
                tied.merged.insert(gone, places);
            }
        }
        if recipe.expand_ties {
            tied.twins.extend(ties.absent.iter().cloned());
        }
        tied
    }

    /// A layer that is taken over has its activation scale from one side alone.
    fn refuse_recast(&mut self, views: &Views, gone: usize) {
        let module = views.tensors.get(gone).and_then(|view| views.modules.get(view.module));
        let Some(name) = module.map(|m| &m.name).filter(|name| self.dropped.contains_key(*name)) else {
            return;
        };
        self.refused.push(Refused {
            name: name.clone(),
            reason: "is tied, and would be taken over into another form at the same time".into(),
            remedy: "drop the copies first, in a conversion without a scheme, or choose --ties off".into(),
        });
    }

    /// The activation scales of a layer that is quantized already.
    fn merge(&mut self, views: &Views, recipe: &Recipe, merge: &Merge, [gone, kept]: [usize; 2]) {
        let name = views.tensors.get(gone).and_then(|v| views.modules.get(v.module)).map(|m| m.name.as_str());
        let Some(name) = name else { return };
        let is_tied = self.dropped.contains_key(name) || self.twins.contains_key(name);
        if !is_tied || recipe.ties == TiePolicy::KeepInputScale {
            return;
        }
        let places = self.merged.entry(kept).or_insert_with(|| vec![merge.kept.clone()]);
        places.push(merge.gone.clone());
        if recipe.expand_ties {
            self.sides.insert(gone, kept);
        } else {
            self.gone.insert(gone);
            self.bytes = self.bytes.saturating_add(merge.gone.len());
        }
    }

    /// The places whose largest number a view becomes, if it is one that several sides have.
    pub(crate) fn merged(&self, view: usize) -> Option<&Vec<Place>> {
        self.merged.get(&view)
    }

    /// Modules of the source, and those whose weight they share: dropped or written once more.
    pub(crate) fn shared(&self) -> BTreeMap<String, String> {
        self.dropped.iter().chain(&self.twins).map(|(a, c)| (a.clone(), c.clone())).gather_map()
    }

    /// Whether a view is left out.
    pub(crate) fn is_gone(&self, view: usize) -> bool {
        self.gone.contains(&view)
    }

    /// Modules that share the weight of another, in the file or not.
    pub(crate) fn aliases(&self, ties: &Ties) -> Vec<(String, String)> {
        let absent = ties.absent.iter().filter(|(alias, _)| !self.twins.contains_key(alias)).cloned();
        self.dropped.clone().into_iter().chain(absent).collect()
    }

    /// What the user should know of ties.
    pub(crate) fn warnings(&self, ties: &Ties) -> Vec<String> {
        let mut warnings: Vec<String> = ties.notes.iter().take(5).cloned().collect();
        if let Some(more) = ties.notes.len().checked_sub(6) {
            warnings.push(format!("and {} more of the list of ties", more + 1));
        }
        let mut tell = |pairs: &[(&str, &str)], what: &str| {
            let named = pairs.iter().take(5);
            warnings.extend(named.map(|(alias, canonical)| format!("{alias} and {canonical} {what}")));
            if let Some(more) = pairs.len().checked_sub(6) {
                warnings.push(format!("and {} more pairs {what}", more + 1));
            }
        };
        let different: Vec<(&str, &str)> =
            self.treated_differently.iter().map(|(a, c)| (a.as_str(), c.as_str())).collect();
        tell(&different, "are tied, but only one of them would be quantized: both stay");
        let unequal: Vec<(&str, &str)> = ties
            .unequal
            .iter()
            .filter(|p| p.origin != Origin::Declared)
            .map(|p| (p.alias.as_str(), p.canonical.as_str()))
            .collect();
        tell(&unequal, "should share their values, but differ: both stay");
        if !ties.is_compared && !self.gone.is_empty() {
            warnings.push(format!(
                "{} tensors are taken for copies of others; their bytes are compared when the conversion runs",
                self.gone.len()
            ));
        }
        warnings
    }
}
