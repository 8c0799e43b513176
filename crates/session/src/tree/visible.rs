//! Which rows a question shows: the tree narrowed to the layers that match, as far as it is open.

use super::TreeQuery;
use super::fold::{Item, are_alike, fold};
use super::forest::{Forest, ROOT};
use super::sums::{Matching, Sums};
use crate::layers::hits;
use crate::{Session, count};
use quantscope_audit::LayerInfo;
use quantscope_format::{Arrange as _, Gather as _};
use std::collections::BTreeSet;
use std::ops::Range;

/// Rows up to which the tree is open by itself.
const OPEN_ROWS: usize = 40;
/// The same while a search narrows it: then sets that look alike are opened, too.
const OPEN_HITS: usize = 120;

/// A row in sight.
pub(crate) struct Row {
    pub(crate) item: Item,
    /// The node at whose segment the label begins: modules that hold one row only share a row with it.
    pub(crate) label_from: u32,
    pub(crate) depth: u32,
    /// Whether it is open; `None` where nothing is below it.
    pub(crate) open: Option<bool>,
}

/// The rows of a question, and the layers that they are made of.
pub(crate) enum Visible {
    /// Layers by index.
    Flat(Vec<usize>),
    /// Rows of the tree.
    Tree {
        /// The rows.
        rows: Vec<Row>,
        /// The layers that match.
        matching: Matching,
        /// How many those are.
        hits: u64,
    },
}

/// The tree while its rows are being found.
struct Walk<'a> {
    session: &'a Session,
    forest: &'a Forest,
    matching: Matching,
    sort: &'a str,
}

/// A row while it is not known whether it is in sight.
#[derive(Clone)]
struct Branch {
    item: Item,
    label_from: u32,
    /// Where the rows below it are in a list of such, if it is open by itself.
    below: Range<usize>,
}

/// What [`TreeQuery::toggled`] calls a row.
pub(crate) fn key_of(forest: &Forest, layers: &[LayerInfo], item: &Item) -> String {
    let path = forest.path(layers, item.first());
    match item {
        Item::Node(_) => path.to_string(),
        Item::Alike(_) => format!("{path}+"),
    }
}

impl Walk<'_> {
    fn total(&self, item: &Item) -> Sums {
        let mut total = Sums::default();
        for &node in item.nodes() {
            total.add(&self.matching.sums(self.session, self.forest, node));
        }
        total
    }

    /// The nodes below another with a layer that matches.
    fn matching_children(&self, node: u32) -> Vec<u32> {
        self.forest.children(node).iter().copied().filter(|&child| self.matching.has_any(child)).collect()
    }

    /// The rows right below an item.
    fn below(&self, item: &Item) -> Vec<Branch> {
        let items = match item {
            Item::Alike(nodes) => nodes.iter().copied().map(Item::Node).collect(),
            Item::Node(node) => fold(self.forest, self.matching_children(*node)),
        };
        let mut branches: Vec<Branch> = items.into_iter().map(|item| self.merged(item)).collect();
        let (key, down) = self.sort.strip_prefix('-').map_or((self.sort, false), |key| (key, true));
        if self.sort == "-name" {
            branches.reverse();
        } else if matches!(key, "size" | "weights" | "bits" | "findings") {
            let mut keyed: Vec<(Sums, Branch)> =
                branches.into_iter().map(|branch| (self.total(&branch.item), branch)).collect();
            keyed.arrange_by(|(a, _), (b, _)| {
                let order = a.compare(key, b);
                if down { order.reverse() } else { order }
            });
            branches = keyed.into_iter().map(|(_, branch)| branch).collect();
        }
        branches
    }

    /// A module that is no layer and holds one row becomes that row.
    fn merged(&self, mut item: Item) -> Branch {
        let label_from = item.first();
        while let Item::Node(at) = item {
            let below = self.matching_children(at);
            if self.forest.node(at).is_none_or(|node| node.layer.is_some()) || !are_alike(self.forest, &below)
            {
                break;
            }
            item = Item::of(below);
        }
        Branch { item, label_from, below: 0..0 }
    }

    /// Whether there are rows below an item.
    fn has_below(&self, item: &Item) -> bool {
        match item {
            Item::Alike(_) => true,
            Item::Node(at) => !self.matching_children(*at).is_empty(),
        }
    }

    /// The rows that are in sight where none is toggled, below the first one that has all of them: from the top, level
    /// by level, they are open by themselves, as long as few rows are in sight.
    fn open_by_itself(&self, narrowed: bool) -> Vec<Branch> {
        let (most, sets_too) = if narrowed { (OPEN_HITS, true) } else { (OPEN_ROWS, false) };
        let mut tree = vec![Branch { item: Item::Node(ROOT), label_from: ROOT, below: 0..0 }];
        let mut at = 0;
        while let Some(item) = tree.get(at).map(|branch| &branch.item) {
            if matches!(item, Item::Node(_)) || sets_too && item.nodes().len() <= most {
                let below = self.below(item);
                let from = tree.len();
                let to = from.saturating_add(below.len());
                if at == 0 || to - 1 <= most {
                    tree.extend(below);
                    if let Some(branch) = tree.get_mut(at) {
                        branch.below = from..to;
                    }
                }
            }
            at += 1;
        }
        tree
    }
}

impl Visible {
    /// The rows of a question; its window plays no part.
    pub(crate) fn new(session: &Session, query: &TreeQuery) -> Self {
        let hits = hits(session, &query.filter);
        if query.flat {
            return Self::Flat(hits);
        }
        let forest = session.forest();
        let layers = &session.model.layers;
        let matching = Matching::new(session, &forest, &hits);
        let walk = Walk { session, forest: &forest, matching, sort: &query.filter.sort };
        let by_itself = walk.open_by_itself(hits.len() < layers.len());
        let among = |range: &Range<usize>| by_itself.get(range.clone()).unwrap_or_default().to_vec();
        let toggled: BTreeSet<&str> = query.toggled.iter().map(String::as_str).gather_set();
        let mut rows = Vec::new();
        let top = by_itself.first().map(|whole| among(&whole.below)).unwrap_or_default();
        let mut waiting: Vec<(Branch, u32)> = top.into_iter().rev().map(|branch| (branch, 0)).collect();
        while let Some((Branch { item, label_from, below }, depth)) = waiting.pop() {
            let open = walk.has_below(&item).then(|| {
                let changed =
                    !toggled.is_empty() && toggled.contains(key_of(&forest, layers, &item).as_str());
                below.is_empty() == changed
            });
            if open == Some(true) {
                let below = if below.is_empty() { walk.below(&item) } else { among(&below) };
                waiting.extend(below.into_iter().rev().map(|branch| (branch, depth.saturating_add(1))));
            }
            rows.push(Row { item, label_from, depth, open });
        }
        Self::Tree { rows, matching: walk.matching, hits: count(hits.len()) }
    }
}
