//! What layers add up to: for every node of the tree once, and for the layers that match a question where a row asks.

use super::forest::{Forest, ROOT, index_u32, place};
use crate::api::Severity;
use crate::layers::own_findings;
use crate::{Session, count};
use std::cmp::Ordering;
use std::rc::Rc;

/// Sums over layers.
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
    /// What one layer adds.
    pub(crate) fn of(session: &Session, index: u32) -> Self {
        let Some(layer) = session.model.layers.get(place(index)) else { return Self::default() };
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

    pub(super) fn compare(&self, key: &str, other: &Self) -> Ordering {
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

/// The sums of each node where every layer matches, by index.
pub(super) fn of_all(session: &Session, forest: &Forest) -> Vec<Sums> {
    let mut all = vec![Sums::default(); forest.nodes.len()];
    for (index, node) in forest.nodes.iter().enumerate().rev() {
        let mut sums = node.layer.map(|layer| Sums::of(session, layer)).unwrap_or_default();
        for below in node.children.iter().filter_map(|&child| all.get(place(child))) {
            sums.add(below);
        }
        if let Some(own) = all.get_mut(index) {
            *own = sums;
        }
    }
    all
}

/// The layers that match a question. How many there are below a node is known of all; they are added up for those
/// nodes alone that rows ask for, and only where they are not all that there are.
pub(crate) struct Matching {
    /// Of each node how many match at and below it.
    counts: Vec<u32>,
    of_all: Rc<Vec<Sums>>,
}

impl Matching {
    pub(super) fn new(session: &Session, forest: &Forest, hits: &[usize]) -> Self {
        let mut matches = vec![0; session.model.layers.len()];
        for &hit in hits {
            if let Some(matching) = matches.get_mut(hit) {
                *matching = 1;
            }
        }
        let mut counts = vec![0; forest.nodes.len()];
        for (index, node) in forest.nodes.iter().enumerate().rev() {
            let own: u32 = node.layer.and_then(|layer| matches.get(place(layer)).copied()).unwrap_or(0);
            let Some(count) = counts.get_mut(index) else { continue };
            *count += own;
            let added = *count;
            if let Some(above) = counts.get_mut(place(node.parent)).filter(|_| index_u32(index) != ROOT) {
                *above += added;
            }
        }
        Self { counts, of_all: session.sums_of_all() }
    }

    fn count(&self, node: u32) -> u32 {
        self.counts.get(place(node)).copied().unwrap_or(0)
    }

    /// Whether a layer at or below a node matches.
    pub(super) fn has_any(&self, node: u32) -> bool {
        self.count(node) > 0
    }

    /// The layer that a node is, if that matches.
    pub(super) fn layer_of(&self, forest: &Forest, index: u32) -> Option<u32> {
        let node = forest.node(index)?;
        let below: u32 = node.children.iter().map(|&child| self.count(child)).sum();
        node.layer.filter(|_| self.count(index) > below)
    }

    /// The sums of a node. The tree is no deeper than names may be.
    pub(super) fn sums(&self, session: &Session, forest: &Forest, index: u32) -> Sums {
        let all = self.of_all.get(place(index)).copied().unwrap_or_default();
        match self.count(index) {
            0 => Sums::default(),
            count if u64::from(count) == all.layers => all,
            _ => {
                let own = self.layer_of(forest, index);
                let mut sums = own.map(|layer| Sums::of(session, layer)).unwrap_or_default();
                for &child in forest.children(index) {
                    sums.add(&self.sums(session, forest, child));
                }
                sums
            }
        }
    }
}
