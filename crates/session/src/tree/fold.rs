//! Which siblings become one row, and what the row is called.

use super::forest::Forest;
use quantscope_audit::LayerInfo;
use quantscope_format::{HashMap, HashMapExt as _};

/// Runs of numbers that a label names before it cuts.
const RUNS: usize = 3;

/// A row before its sums are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// One module or layer.
    Node(u32),
    /// Siblings with numbers for names that look alike; two at least.
    Alike(Vec<u32>),
}

impl Item {
    /// These nodes in one row.
    pub(crate) fn of(nodes: Vec<u32>) -> Self {
        match *nodes.as_slice() {
            [alone] => Self::Node(alone),
            _ => Self::Alike(nodes),
        }
    }

    /// The nodes in it.
    pub(crate) fn nodes(&self) -> &[u32] {
        match self {
            Self::Node(node) => std::slice::from_ref(node),
            Self::Alike(nodes) => nodes,
        }
    }

    /// The first node in it.
    pub(crate) fn first(&self) -> u32 {
        self.nodes().first().copied().unwrap_or(super::forest::ROOT)
    }
}

pub(crate) fn number(segment: &str) -> Option<u64> {
    let digits = !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| segment.parse().ok()).flatten()
}

/// The form of a node that may be one of a set.
fn form(forest: &Forest, node: u32) -> Option<u32> {
    forest.node(node).filter(|node| node.is_numbered).map(|node| node.form)
}

/// Whether siblings become one row.
pub(crate) fn are_alike(forest: &Forest, siblings: &[u32]) -> bool {
    siblings.split_first().is_some_and(|(&first, others)| {
        let shared = form(forest, first);
        others.is_empty() || shared.is_some() && others.iter().all(|&other| form(forest, other) == shared)
    })
}

/// Puts siblings that look alike together, each set where its first member stands.
pub(crate) fn fold(forest: &Forest, siblings: Vec<u32>) -> Vec<Item> {
    // As a rule they all do.
    if are_alike(forest, &siblings) {
        return vec![Item::of(siblings)];
    }
    let mut sets: Vec<Vec<u32>> = Vec::new();
    let mut of_form: HashMap<u32, usize> = HashMap::new();
    for sibling in siblings {
        let next = sets.len();
        let set = form(forest, sibling).map_or(next, |form| *of_form.entry(form).or_insert(next));
        match sets.get_mut(set) {
            Some(set) => set.push(sibling),
            None => sets.push(vec![sibling]),
        }
    }
    sets.into_iter().map(Item::of).collect()
}

/// What the numbers of siblings are called together: `0–2`, `0, 2, 4 …`.
pub(crate) fn label(forest: &Forest, layers: &[LayerInfo], item: &Item) -> String {
    let Item::Alike(nodes) = item else { return forest.segment(layers, item.first()).to_string() };
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in nodes.iter().filter_map(|&node| number(forest.segment(layers, node))) {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let word = |&(first, last): &(u64, u64)| match last.saturating_sub(first) {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first}–{last}"),
    };
    let words: Vec<String> = runs.iter().take(RUNS).map(word).collect();
    let rest = if runs.len() > RUNS { " …" } else { "" };
    format!("{}{rest}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_digits_that_fit() {
        assert_eq!(number("007"), Some(7));
        for other in ["", "1a", "-1", "+1", "١", "99999999999999999999"] {
            assert_eq!(number(other), None, "{other:?}");
        }
    }
}
