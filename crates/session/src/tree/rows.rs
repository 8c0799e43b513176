//! Rows of a window as plain data.

use super::fold::{Item, label};
use super::forest::{Forest, place};
use super::visible::{Row, Sums, Visible, key_of};
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
        Visible::Tree { rows, matching, .. } => (rows.len(), *matching),
    };
    let start = usize::try_from(query.filter.start).unwrap_or(usize::MAX).min(total);
    let most = usize::try_from(query.filter.count.min(MOST_ROWS)).unwrap_or(0);
    let rows = match visible {
        Visible::Flat(hits) => hits.iter().skip(start).take(most).filter_map(|&i| flat(session, i)).collect(),
        Visible::Tree { rows, sums, matches, .. } => {
            let forest = session.forest();
            let maker = Maker { session, forest: &forest, sums, matches };
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
    let sums = Sums::of(session, u32::try_from(index).ok()?, layer);
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

struct Maker<'a> {
    session: &'a Session,
    forest: &'a Forest,
    sums: &'a [Sums],
    matches: &'a [bool],
}

impl Maker<'_> {
    fn row(&self, row: &Row) -> TreeRow {
        let layers = &self.session.model.layers;
        let mut sums = Sums::default();
        for &node in row.item.nodes() {
            sums.add(&self.sums.get(place(node)).copied().unwrap_or_default());
        }
        let made = with_sums(
            TreeRow {
                key: key_of(self.forest, layers, &row.item),
                label: self.label(row),
                depth: row.depth,
                open: row.open,
                folded: count(row.item.nodes().len()),
                schemes: self.schemes(&row.item),
                ..TreeRow::default()
            },
            &sums,
        );
        let own = match row.item {
            Item::Node(node) => self.forest.node(node).and_then(|node| node.layer),
            Item::Alike(_) => None,
        };
        let own = own.filter(|&at| self.matches.get(place(at)) == Some(&true));
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

    fn schemes(&self, item: &Item) -> Vec<SchemeBytes> {
        // A checkpoint has few schemes, and a row may have all its layers.
        let mut schemes: Vec<SchemeBytes> = Vec::new();
        self.forest.each_below(item.nodes(), |index| {
            let matching = self.matches.get(place(index)) == Some(&true);
            let Some(layer) = self.session.model.layers.get(place(index)).filter(|_| matching) else {
                return;
            };
            match schemes.iter_mut().find(|known| known.scheme == layer.scheme.id()) {
                Some(known) => known.bytes = known.bytes.saturating_add(layer.bytes),
                None => schemes.push(scheme_bytes(layer, layer.bytes)),
            }
        });
        schemes.arrange_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.scheme.cmp(&b.scheme)));
        schemes.truncate(SCHEMES);
        schemes
    }
}
