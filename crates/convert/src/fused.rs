//! Layers that a runtime fuses into one: they share a global scale and an activation scale.
//!
//! Source: `formats.md` h, "Fused groups": q/k/v, gate/up and w1/w3 under the same parent.

use std::collections::BTreeMap;

/// Last segments that are fused when they stand under one parent.
const GROUPS: &[&[&str]] = &[&["q_proj", "k_proj", "v_proj"], &["gate_proj", "up_proj"], &["w1", "w3"]];

/// Groups modules, given with the id of their scheme; members are indices into `modules`. Only groups
/// of two or more are given.
pub(crate) fn groups(modules: &[(&str, &str)]) -> Vec<Vec<usize>> {
    let mut by_parent: BTreeMap<(&str, usize, &str), Vec<usize>> = BTreeMap::new();
    for (i, (module, scheme)) in modules.iter().enumerate() {
        let (parent, last) = module.rsplit_once('.').unwrap_or(("", module));
        if let Some(group) = GROUPS.iter().position(|names| names.contains(&last)) {
            by_parent.entry((parent, group, scheme)).or_default().push(i);
        }
    }
    by_parent.into_values().filter(|members| members.len() > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::groups;

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
        assert_eq!(groups(&modules), [vec![5, 6], vec![0, 1]]);
    }
}
