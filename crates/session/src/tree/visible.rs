//! Which rows a question shows: the tree narrowed to the layers that match, as far as it is open.

use super::TreeQuery;
use super::fold::{Item, fold};
use super::forest::{Forest, ROOT, index_u32, place};
use crate::api::Severity;
use crate::layers::{hits, own_findings};
use crate::{Session, count};
use quantscope_audit::LayerInfo;
use quantscope_format::{Arrange as _, Gather as _};
use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};

/// Rows up to which the tree is open by itself.
const OPEN_ROWS: usize = 40;
/// The same while a search narrows it: then sets that look alike are opened, too.
const OPEN_HITS: usize = 120;

/// Sums over the layers that match, below one node.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sums {
    pub(crate) layers: u64,
    pub(crate) bytes: u64,
    pub(crate) parameters: u64,
    pub(crate) weight_bits: u64,
    pub(crate) weights: u64,
    pub(crate) findings: u64,
    pub(crate) worst: Option<Severity>,
}

impl Sums {
    pub(crate) fn of(session: &Session, index: u32, layer: &LayerInfo) -> Self {
        let own = own_findings(session, place(index));
        Self {
            layers: 1,
            bytes: layer.bytes,
            parameters: layer.parameters,
            weight_bits: layer.weight_bits,
            weights: layer.weights,
            findings: count(own.clone().count()),
            worst: own.map(|finding| finding.severity()).min(),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.layers = self.layers.saturating_add(other.layers);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.parameters = self.parameters.saturating_add(other.parameters);
        self.weight_bits = self.weight_bits.saturating_add(other.weight_bits);
        self.weights = self.weights.saturating_add(other.weights);
        self.findings = self.findings.saturating_add(other.findings);
        self.worst = match (self.worst, other.worst) {
            (Some(own), Some(other)) => Some(own.min(other)),
            (own, other) => own.or(other),
        };
    }

    fn compare(&self, key: &str, other: &Self) -> Ordering {
        let bits = |sums: &Self| quantscope_audit::ratio(sums.weight_bits, sums.weights);
        // Severities are in order from the gravest; nothing found comes last.
        let worst = |sums: &Self| sums.worst.map_or(0, |worst| u8::MAX - worst as u8);
        match key {
            "size" => self.bytes.cmp(&other.bytes),
            "weights" => self.parameters.cmp(&other.parameters),
            "bits" => bits(self).total_cmp(&bits(other)),
            "findings" => worst(self).cmp(&worst(other)).then(self.findings.cmp(&other.findings)),
            _ => Ordering::Equal,
        }
    }
}

/// A row in sight.
pub(crate) struct Row {
    pub(crate) item: Item,
    /// The node at whose segment the label begins: modules that hold one row only share a row with it.
    pub(crate) label_from: u32,
    pub(crate) depth: u32,
    /// Whether it is open; `None` where nothing is below it.
    pub(crate) open: Option<bool>,
}

/// The rows of a question, and what they sum up.
pub(crate) enum Visible {
    /// Layers by index.
    Flat(Vec<usize>),
    /// Rows of the tree.
    Tree {
        /// The rows.
        rows: Vec<Row>,
        /// For each node, by index.
        sums: Vec<Sums>,
        /// For each layer, by index, whether it matches.
        matches: Vec<bool>,
        /// Layers that match.
        matching: u64,
    },
}

/// The tree while its rows are being found.
struct Walk<'a> {
    forest: &'a Forest,
    sums: Vec<Sums>,
    sort: &'a str,
}

/// What [`TreeQuery::toggled`] calls a row.
pub(crate) fn key_of(forest: &Forest, layers: &[LayerInfo], item: &Item) -> String {
    let path = forest.path(layers, item.first());
    match item {
        Item::Node(_) => path.to_string(),
        Item::Alike(_) => format!("{path}+"),
    }
}

/// Tells a set from its first member.
fn place_of(item: &Item) -> (bool, u32) {
    (matches!(item, Item::Alike(_)), item.first())
}

impl Walk<'_> {
    fn total(&self, item: &Item) -> Sums {
        let mut total = Sums::default();
        for &node in item.nodes() {
            total.add(&self.sums.get(place(node)).copied().unwrap_or_default());
        }
        total
    }

    /// The rows right below an item.
    fn below(&self, item: &Item) -> Vec<(Item, u32)> {
        let items = match item {
            Item::Alike(nodes) => nodes.iter().copied().map(Item::Node).collect(),
            Item::Node(node) => {
                let children =
                    self.forest.node(*node).map(|node| node.children.as_slice()).unwrap_or_default();
                let seen = |child: &u32| self.sums.get(place(*child)).is_some_and(|sums| sums.layers > 0);
                fold(self.forest, children.iter().copied().filter(seen))
            }
        };
        let mut items: Vec<(Item, u32)> = items.into_iter().map(|item| self.merged(item)).collect();
        let (key, down) = self.sort.strip_prefix('-').map_or((self.sort, false), |key| (key, true));
        if self.sort == "-name" {
            items.reverse();
        } else if matches!(key, "size" | "weights" | "bits" | "findings") {
            let mut keyed: Vec<_> =
                items.into_iter().map(|item| (Keyed(self.total(&item.0), key, down), item)).collect();
            keyed.arrange_by(|a, b| a.0.cmp(&b.0));
            items = keyed.into_iter().map(|(_, item)| item).collect();
        }
        items
    }

    /// A module that is no layer and holds one row becomes that row.
    fn merged(&self, mut item: Item) -> (Item, u32) {
        let label_from = item.first();
        while let Item::Node(at) = item {
            let Some(node) = self.forest.node(at).filter(|node| node.layer.is_none()) else { break };
            let seen = |child: &u32| self.sums.get(place(*child)).is_some_and(|sums| sums.layers > 0);
            let mut below = fold(self.forest, node.children.iter().copied().filter(seen));
            match (below.pop(), below.is_empty()) {
                (Some(only), true) => item = only,
                _ => break,
            }
        }
        (item, label_from)
    }

    /// Whether there are rows below an item.
    fn has_below(&self, item: &Item) -> bool {
        match item {
            Item::Alike(_) => true,
            Item::Node(at) => self.forest.node(*at).is_some_and(|node| {
                node.children.iter().any(|&child| self.sums.get(place(child)).is_some_and(|s| s.layers > 0))
            }),
        }
    }

    /// Rows that are open by themselves: from the top, level by level, as long as few rows are in sight.
    fn open_by_itself(&self, narrowed: bool) -> BTreeSet<(bool, u32)> {
        let (most, sets_too) = if narrowed { (OPEN_HITS, true) } else { (OPEN_ROWS, false) };
        let mut open = BTreeSet::new();
        let mut queue: VecDeque<Item> =
            self.below(&Item::Node(ROOT)).into_iter().map(|(item, _)| item).collect();
        let mut in_sight = queue.len();
        while let Some(item) = queue.pop_front() {
            if matches!(item, Item::Alike(_)) && !sets_too || item.nodes().len() > most {
                continue;
            }
            let below = self.below(&item);
            if below.is_empty() || in_sight.saturating_add(below.len()) > most {
                continue;
            }
            in_sight += below.len();
            open.insert(place_of(&item));
            queue.extend(below.into_iter().map(|(item, _)| item));
        }
        open
    }
}

/// Sums in the order of a sort key.
struct Keyed<'a>(Sums, &'a str, bool);

impl Keyed<'_> {
    fn order(&self, other: &Self) -> Ordering {
        let order = self.0.compare(self.1, &other.0);
        if self.2 { order.reverse() } else { order }
    }
}

impl PartialEq for Keyed<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.order(other) == Ordering::Equal
    }
}

impl Eq for Keyed<'_> {}

impl PartialOrd for Keyed<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Keyed<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order(other)
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
        let mut matches = vec![false; layers.len()];
        for &hit in &hits {
            if let Some(matching) = matches.get_mut(hit) {
                *matching = true;
            }
        }
        let sums = sums(session, &forest, &matches);
        let walk = Walk { forest: &forest, sums, sort: &query.filter.sort };
        let by_itself = walk.open_by_itself(hits.len() < layers.len());
        let toggled: BTreeSet<&str> = query.toggled.iter().map(String::as_str).gather_set();
        let mut rows = Vec::new();
        let mut waiting: Vec<(Item, u32, u32)> = Vec::new();
        waiting.extend(walk.below(&Item::Node(ROOT)).into_iter().rev().map(|(item, from)| (item, from, 0)));
        while let Some((item, label_from, depth)) = waiting.pop() {
            let open = walk.has_below(&item).then(|| {
                let changed =
                    !toggled.is_empty() && toggled.contains(key_of(&forest, layers, &item).as_str());
                by_itself.contains(&place_of(&item)) != changed
            });
            if open == Some(true) {
                let below = walk.below(&item).into_iter().rev();
                waiting.extend(below.map(|(item, from)| (item, from, depth.saturating_add(1))));
            }
            rows.push(Row { item, label_from, depth, open });
        }
        Self::Tree { rows, sums: walk.sums, matches, matching: count(hits.len()) }
    }
}

/// Sums for each node, from the leaves up.
fn sums(session: &Session, forest: &Forest, matches: &[bool]) -> Vec<Sums> {
    let own_sums = session.own_sums();
    let mut sums = vec![Sums::default(); forest.nodes.len()];
    for index in (0..forest.nodes.len()).rev() {
        let Some(node) = forest.nodes.get(index) else { continue };
        let layer = node.layer.filter(|&layer| matches.get(place(layer)) == Some(&true));
        if let Some(of_layer) = layer.and_then(|layer| own_sums.get(place(layer)))
            && let Some(own) = sums.get_mut(index)
        {
            own.add(of_layer);
        }
        // Most nodes hold nothing that matches.
        let Some(own) = sums.get(index).copied().filter(|own| own.layers > 0) else { continue };
        if let Some(above) = sums.get_mut(place(node.parent)).filter(|_| index_u32(index) != ROOT) {
            above.add(&own);
        }
    }
    sums
}
