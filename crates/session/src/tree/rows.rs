//! Rows of a window as plain data.

use super::fold::{Item, label};
use super::forest::{Forest, index_u32, place};
use super::sums::{Matching, Sums};
use super::visible::{Row, Visible, key_of};
use super::{SchemeBytes, TreePage, TreeQuery, TreeRow};
use crate::layers::MOST_ROWS;
use crate::{Session, count};
use quantscope_audit::{LayerInfo, ratio};
use quantscope_format::Arrange as _;

/// Schemes that a row names.
const SCHEMES: usize = 6;

/// The window that a question asks for.
pub(crate) fn page(session: &Session, visible: &Visible, query: &TreeQuery) -> TreePage {
    let (total, matching) = match visible {
        Visible::Flat(hits) => (hits.len(), count(hits.len())),
        Visible::Tree { rows, hits, .. } => (rows.len(), *hits),
    };
    let start = usize::try_from(query.filter.start).unwrap_or(usize::MAX).min(total);
    let most = usize::try_from(query.filter.count.min(MOST_ROWS)).unwrap_or(0);
    let rows = match visible {
        Visible::Flat(hits) => hits.iter().skip(start).take(most).filter_map(|&i| flat(session, i)).collect(),
        Visible::Tree { rows, matching, .. } => {
            let forest = session.forest();
            let maker = Maker { session, forest: &forest, matching };
            rows.iter().skip(start).take(most).map(|row| maker.row(row)).collect()
        }
    };
    let (kinds, schemes) = session.choices();
    TreePage {
        total: count(total),
        matching,
        all: count(session.model.layers.len()),
        start: count(start),
        rows,
        kinds,
        schemes,
    }
}

fn with_sums(row: TreeRow, sums: &Sums) -> TreeRow {
    TreeRow {
        layers: sums.layers,
        bits_per_weight: ratio(sums.weight_bits, sums.weights),
        bytes: sums.bytes,
        parameters: sums.parameters,
        worst: sums.worst,
        findings: sums.findings,
        ..row
    }
}

fn with_layer(row: TreeRow, layer: &LayerInfo) -> TreeRow {
    TreeRow {
        layer: Some(layer.name.clone()),
        kind: layer.kind.id().into(),
        shape: layer.shape.clone(),
        ..row
    }
}

fn flat(session: &Session, index: usize) -> Option<TreeRow> {
    let layer = session.model.layers.get(index)?;
    let sums = Sums::of(session, index_u32(index));
    let schemes = vec![scheme_bytes(layer, layer.bytes)];
    let row = TreeRow {
        key: layer.name.clone(),
        label: layer.name.clone(),
        folded: 1,
        schemes,
        ..TreeRow::default()
    };
    Some(with_sums(with_layer(row, layer), &sums))
}

fn scheme_bytes(layer: &LayerInfo, bytes: u64) -> SchemeBytes {
    SchemeBytes { scheme: layer.scheme.id().into(), family: layer.scheme.family().id().into(), bytes }
}

/// Of each node one of the layers at and below it, where all of those have one scheme.
pub(super) fn of_one_scheme(layers: &[LayerInfo], forest: &Forest) -> Vec<Option<u32>> {
    let scheme = |layer: u32| layers.get(place(layer)).map(|layer| layer.scheme.id());
    let mut samples = vec![None; forest.nodes.len()];
    for (index, node) in forest.nodes.iter().enumerate().rev() {
        let mut sample = node.layer;
        for &child in &node.children {
            let below: Option<u32> = samples.get(place(child)).copied().flatten();
            if below.is_none_or(|below| sample.is_some_and(|sample| scheme(sample) != scheme(below))) {
                sample = None;
                break;
            }
            sample = below;
        }
        if let Some(of_node) = samples.get_mut(index) {
            *of_node = sample;
        }
    }
    samples
}

struct Maker<'a> {
    session: &'a Session,
    forest: &'a Forest,
    matching: &'a Matching,
}

impl Maker<'_> {
    fn row(&self, row: &Row) -> TreeRow {
        let layers = &self.session.model.layers;
        let (sums, schemes) = self.sums_and_schemes(&row.item);
        let made = with_sums(
            TreeRow {
                key: key_of(self.forest, layers, &row.item),
                label: self.label(row),
                depth: row.depth,
                open: row.open,
                folded: count(row.item.nodes().len()),
                schemes,
                ..TreeRow::default()
            },
            &sums,
        );
        let own = match row.item {
            Item::Node(node) => self.matching.layer_of(self.forest, node),
            Item::Alike(_) => None,
        };
        match own.and_then(|at| layers.get(place(at))) {
            Some(layer) => with_layer(made, layer),
            None => made,
        }
    }

    /// The segments from where the row begins to its own.
    fn label(&self, row: &Row) -> String {
        let layers = &self.session.model.layers;
        let mut label = label(self.forest, layers, &row.item);
        let mut at = row.item.first();
        while at != row.label_from {
            let Some(node) = self.forest.node(at).filter(|node| node.parent != at) else { break };
            at = node.parent;
            label = format!("{}.{label}", self.forest.segment(layers, at));
        }
        label
    }

    /// What a row adds up to, and what schemes take of it. It may have all layers, so that it is followed down only to
    /// where they have one scheme.
    fn sums_and_schemes(&self, item: &Item) -> (Sums, Vec<SchemeBytes>) {
        let Self { session, forest, matching } = *self;
        let samples = session.of_one_scheme();
        let mut total = Sums::default();
        let mut schemes: Vec<SchemeBytes> = Vec::new();
        let mut open = item.nodes().to_vec();
        while let Some(index) = open.pop() {
            if !matching.has_any(index) {
                continue;
            }
            let sample = samples.get(place(index)).copied().flatten();
            let (layer, sums) = match sample {
                Some(_) => (sample, matching.sums(session, forest, index)),
                None => {
                    open.extend(forest.children(index));
                    let own = matching.layer_of(forest, index);
                    (own, own.map(|layer| Sums::of(session, layer)).unwrap_or_default())
                }
            };
            let Some(layer) = layer.and_then(|layer| session.model.layers.get(place(layer))) else {
                continue;
            };
            total.add(&sums);
            match schemes.iter_mut().find(|share| share.scheme == layer.scheme.id()) {
                Some(share) => share.bytes = share.bytes.saturating_add(sums.bytes),
                None => schemes.push(scheme_bytes(layer, sums.bytes)),
            }
        }
        schemes.arrange_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.scheme.cmp(&b.scheme)));
        schemes.truncate(SCHEMES);
        (total, schemes)
    }
}
