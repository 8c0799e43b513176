//! Ties carried out: which tensors of the source are left out, and which modules share the weight of another.
//!
//! Source: `formats.md` h, "Dedup": a pair of which one side is quantized and the other is not stays a pair.

use crate::dedup::{Pair, Ties};
use crate::plan::Place;
use crate::select::Choice;
use crate::views::Views;
use std::collections::{BTreeMap, BTreeSet};

/// What ties leave out.
#[derive(Debug, Default)]
pub(crate) struct Tied {
    /// Modules whose weight is left out, and those that stand for them.
    pub(crate) dropped: BTreeMap<String, String>,
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
    pub(crate) fn new(views: &Views, ties: &Ties, choices: &[Choice]) -> Self {
        let place = |p: &Place| (p.shard, p.tensor, p.bytes.start);
        let index: Index = views.tensors.iter().enumerate().map(|(i, v)| (place(&v.place), i)).collect();
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
                tied.gone.insert(gone);
                if let (true, Some(alias), Some(canonical)) = (is_weight(gone), module(gone), module(kept)) {
                    tied.dropped.insert(alias.name.clone(), canonical.name.clone());
                }
            }
        }
        tied
    }

    /// Whether a view is left out.
    pub(crate) fn is_gone(&self, view: usize) -> bool {
        self.gone.contains(&view)
    }

    /// Modules that share the weight of another, in the file or not.
    pub(crate) fn aliases(&self, ties: &Ties) -> Vec<(String, String)> {
        self.dropped.clone().into_iter().chain(ties.absent.iter().cloned()).collect()
    }

    /// What the user should know of ties.
    pub(crate) fn warnings(&self, ties: &Ties) -> Vec<String> {
        let mut warnings = Vec::new();
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
        let unequal: Vec<(&str, &str)> =
            ties.unequal.iter().map(|p| (p.alias.as_str(), p.canonical.as_str())).collect();
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
