//! Rows of a window as plain data.

use super::fold::{Item, label};
use super::forest::{Forest, index_u32, place};
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

/// Which schemes a model has, in the order of their first layers, and of each layer which of them.
pub(super) struct SchemesOfModel {
    /// A layer of each.
    samples: Vec<u32>,
    /// Of each layer the number of its scheme, and its bytes: what else is known of layers would not be in the
    /// processor's cache.
    of_layers: Vec<(u32, u64)>,
}

impl SchemesOfModel {
    pub(super) fn new(layers: &[LayerInfo]) -> Self {
        let mut samples: Vec<u32> = Vec::new();
        let id = |sample: u32| layers.get(place(sample)).map(|layer| layer.scheme.id());
        let of_layers = (0_u32..)
            .zip(layers)
            .map(|(index, layer)| {
                let known = samples.iter().position(|&sample| id(sample) == Some(layer.scheme.id()));
                let number = known.unwrap_or(samples.len());
                if known.is_none() {
                    samples.push(index);
                }
                (index_u32(number), layer.bytes)
            })
            .collect();
        Self { samples, of_layers }
    }
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

    /// What schemes take of a row, which may have all layers.
    fn schemes(&self, item: &Item) -> Vec<SchemeBytes> {
        let SchemesOfModel { samples, of_layers } = self.session.schemes_of_model();
        let mut shares: Vec<Option<u64>> = vec![None; samples.len()];
        self.forest.each_below(item.nodes(), &mut |layer| {
            let matching = self.matches.get(place(layer)) == Some(&true);
            if let Some(&(scheme, bytes)) = of_layers.get(place(layer)).filter(|_| matching)
                && let Some(share) = shares.get_mut(place(scheme))
            {
                *share = Some(share.unwrap_or(0).saturating_add(bytes));
            }
        });
        let named = |(&sample, bytes): (&u32, Option<u64>)| {
            Some(scheme_bytes(self.session.model.layers.get(place(sample))?, bytes?))
        };
        let mut schemes: Vec<SchemeBytes> = samples.iter().zip(shares).filter_map(named).collect();
        schemes.arrange_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.scheme.cmp(&b.scheme)));
        schemes.truncate(SCHEMES);
        schemes
    }
}
