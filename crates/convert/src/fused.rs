//! Layers that a runtime fuses into one: they share maxima, so that they get the same scales.
//!
//! Source: `formats.md` h, "Fused groups": q/k/v, gate/up and w1/w3 under the same parent.

use crate::experts::expert_of;
use crate::plan::PackedLayer;
use quantscope_schemes::Shares;
use std::collections::BTreeMap;

/// Last segments that are fused when they stand under one parent.
const GROUPS: &[&[&str]] = &[&["q_proj", "k_proj", "v_proj"], &["gate_proj", "up_proj"], &["w1", "w3"]];

/// The group that a last segment belongs to, its place in it, and how many it has. `own` are the groups of a recipe, in
/// place of the usual ones.
pub(crate) fn place_in_group(last: &str, own: &[Vec<String>]) -> Option<(usize, usize, usize)> {
    let found = |(group, member, len): (usize, Option<usize>, usize)| Some((group, member?, len));
    let usual = GROUPS.iter().map(|names| (names.iter().position(|name| *name == last), names.len()));
    let named = own.iter().map(|names| (names.iter().position(|name| name == last), names.len()));
    let groups: &mut dyn Iterator<Item = (Option<usize>, usize)> =
        if own.is_empty() { &mut { usual } } else { &mut { named } };
    groups.enumerate().find_map(|(group, (member, len))| found((group, member, len)))
}

/// Groups modules, given with the id of their scheme; members are indices into `modules`. Only groups
/// of two or more are given.
pub(crate) fn groups(modules: &[(&str, &str)], own: &[Vec<String>]) -> Vec<Vec<usize>> {
    let mut by_parent: BTreeMap<(&str, usize, &str), Vec<usize>> = BTreeMap::new();
    for (i, (module, scheme)) in modules.iter().enumerate() {
        let (parent, last) = module.rsplit_once('.').unwrap_or(("", module));
        if let Some((group, ..)) = place_in_group(last, own) {
            by_parent.entry((parent, group, scheme)).or_default().push(i);
        }
    }
    by_parent.into_values().filter(|members| members.len() > 1).collect()
}

/// The other modules that a runtime would fuse with this one, whether there are any or not.
pub(crate) fn siblings(module: &str) -> Vec<String> {
    let (parent, last) = module.rsplit_once('.').unwrap_or(("", module));
    let group = GROUPS.iter().find(|names| names.contains(&last)).copied().unwrap_or_default();
    let dot = if parent.is_empty() { "" } else { "." };
    group.iter().filter(|name| **name != last).map(|name| format!("{parent}{dot}{name}")).collect()
}

/// Whether a layer takes part in the sharing of its group.
fn takes_part(packed: &PackedLayer) -> bool {
    match packed.encoding.shares {
        Shares::Always => true,
        Shares::Experts => expert_of(&packed.name).is_some(),
        Shares::Never => false,
    }
}

/// Members of fused groups that share the largest maximum of their weights.
pub(crate) fn sharing_weights(packed: &[PackedLayer], own: &[Vec<String>]) -> Vec<Vec<usize>> {
    let part = |group: Vec<usize>| -> Vec<usize> {
        group.into_iter().filter(|&i| packed.get(i).is_some_and(takes_part)).collect()
    };
    all(packed, own).into_iter().map(part).filter(|group| group.len() > 1).collect()
}

/// Members of fused groups that share the largest of their activations.
pub(crate) fn sharing_inputs(packed: &[PackedLayer], own: &[Vec<String>]) -> Vec<Vec<usize>> {
    let shares = |p: &PackedLayer| p.encoding.shares != Shares::Experts || takes_part(p);
    let part = |group: Vec<usize>| -> Vec<usize> {
        group.into_iter().filter(|&i| packed.get(i).is_some_and(shares)).collect()
    };
    all(packed, own).into_iter().map(part).filter(|group| group.len() > 1).collect()
}

/// Whether a module is one of two that come of a fused parameter: gate or up of an expert.
pub(crate) fn is_half(module: &str) -> bool {
    expert_of(module).is_some_and(|(_, _, last)| matches!(last, "gate_proj" | "up_proj" | "w1" | "w3"))
}

fn all(packed: &[PackedLayer], own: &[Vec<String>]) -> Vec<Vec<usize>> {
    let names: Vec<(&str, &str)> = packed.iter().map(|p| (p.name.as_str(), p.scheme.id())).collect();
    groups(&names, own)
}

#[cfg(test)]
mod tests {
    use super::{groups, siblings};

    #[test]
    fn siblings_of_one_scheme_are_fused() {
        let modules = [
            ("a.q_proj", "x"),
            ("a.k_proj", "x"),
            ("a.o_proj", "x"),
            ("b.q_proj", "x"),
            ("a.v_proj", "y"),
            ("w1", "x"),
            ("w3", "x"),
        ];
        assert_eq!(groups(&modules, &[]), [vec![5, 6], vec![0, 1]]);
        let own = [vec!["k_proj".to_string(), "o_proj".to_string()]];
        assert_eq!(groups(&modules, &own), [vec![1, 2]]);
        assert_eq!(siblings("a.k_proj"), ["a.q_proj", "a.v_proj"]);
        assert_eq!((siblings("w3"), siblings("a.o_proj")), (vec!["w1".to_string()], vec![]));
    }
}
