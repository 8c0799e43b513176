//! Which layers a query keeps, and one layer in full.

use crate::api::{LayerDetail, LayerQuery, LayerRow, Severity, TensorView};
use crate::{Session, count};
use quantscope_audit::{FindingView, LayerInfo};
use quantscope_format::{Arrange as _, Gather as _, Glob};
use quantscope_schemes::{Family, Kind, WEIGHT_LEAF, role_of};
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// Most rows of one window.
pub(crate) const MOST_ROWS: u64 = 500;

/// The search text: a glob if it looks like one, else part of a name, whatever the case.
pub(crate) enum Text {
    All,
    Part(String),
    Glob(Glob),
}

impl Text {
    pub(crate) fn new(text: &str) -> Self {
        let text = text.trim();
        if text.is_empty() {
            return Self::All;
        }
        if text.contains(['*', '?', '['])
            && let Ok(glob) = Glob::new(text)
        {
            return Self::Glob(glob);
        }
        Self::Part(text.to_ascii_lowercase())
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Part(part) => contains(name, part),
            Self::Glob(glob) => glob.is_match(name),
        }
    }
}

fn row(session: &Session, index: usize, layer: &LayerInfo) -> LayerRow {
    let own = own_findings(session, index);
    LayerRow {
        name: layer.name.clone(),
        kind: layer.kind.id().into(),
        scheme: layer.scheme.id().into(),
        family: layer.scheme.family().id().into(),
        shape: layer.shape.clone(),
        bits_per_weight: layer.bits_per_weight(),
        bytes: layer.bytes,
        worst: own.clone().map(|f| f.severity()).min(),
        findings: count(own.count()),
    }
}

/// The findings that touch a layer.
pub(crate) fn own_findings(session: &Session, index: usize) -> impl Iterator<Item = FindingView<'_>> + Clone {
    session.by_layer.of_layer(index).iter().filter_map(|&i| session.findings.get(usize::try_from(i).ok()?))
}

/// Whether a name holds a text that is in lower case already. Only letters of ASCII have a case here: names have no
/// others as a rule, and the tables for those are a fiftieth of what a browser downloads.
fn contains(name: &str, part: &str) -> bool {
    let (name, part) = (name.as_bytes(), part.as_bytes());
    let Some((&first, rest)) = part.split_first() else { return true };
    name.windows(part.len()).any(|window| {
        window.split_first().is_some_and(|(own, others)| {
            own.to_ascii_lowercase() == first && others.eq_ignore_ascii_case(rest)
        })
    })
}

/// Puts layers in the order asked for; they are in natural order already, and sorts are stable.
fn sort(session: &Session, key: &str, hits: &mut [usize]) {
    let layers = &session.model.layers;
    let (column, down) = key.strip_prefix('-').map_or((key, false), |column| (column, true));
    let order = |a: &LayerInfo, b: &LayerInfo| match column {
        "size" => a.bytes.cmp(&b.bytes),
        "weights" => a.parameters.cmp(&b.parameters),
        "bits" => a.bits_per_weight().total_cmp(&b.bits_per_weight()),
        "scheme" => a.scheme.id().cmp(b.scheme.id()),
        "kind" => a.kind.id().cmp(b.kind.id()),
        _ => Ordering::Equal,
    };
    let directed = |order: Ordering| if down { order.reverse() } else { order };
    match column {
        "" => {}
        "name" if down => hits.reverse(),
        "name" => {}
        "findings" => {
            let key = |i: usize| {
                let own = own_findings(session, i);
                let worst = own.clone().map(|f| f.severity()).min().map_or(0, |worst| u8::MAX - worst as u8);
                let key = (worst, own.count());
                if down { (u8::MAX - key.0, usize::MAX - key.1) } else { key }
            };
            let mut keyed: Vec<_> = hits.iter().map(|&i| (key(i), i)).collect();
            keyed.arrange_by_key(|(key, _)| *key);
            for (place, (_, i)) in hits.iter_mut().zip(keyed) {
                *place = i;
            }
        }
        _ => hits.arrange_by(|&a, &b| match (layers.get(a), layers.get(b)) {
            (Some(a), Some(b)) => directed(order(a, b)),
            _ => Ordering::Equal,
        }),
    }
}

/// The layers that a query keeps, by index, in its order.
pub(crate) fn hits(session: &Session, query: &LayerQuery) -> Vec<usize> {
    let layers = &session.model.layers;
    let mut hits: Vec<usize> = match Text::new(&query.text) {
        Text::All => (0..layers.len()).collect(),
        Text::Part(part) => session.layers_called(&part),
        Text::Glob(glob) => {
            (0..).zip(layers).filter(|(_, l)| glob.is_match(&l.name)).map(|(i, _)| i).collect()
        }
    };
    let touched = |index: usize, severity: Option<Severity>, rule: Option<&str>| {
        own_findings(session, index)
            .any(|f| severity.is_none_or(|s| f.severity() == s) && rule.is_none_or(|r| f.rule() == r))
    };
    let keeps = |index: usize, layer: &LayerInfo| {
        query.scheme.as_deref().is_none_or(|s| s == layer.scheme.id())
            && query.kind.as_deref().is_none_or(|k| k == layer.kind.id())
            && layer.bytes >= query.at_least_bytes
            && (!query.with_findings || touched(index, None, None))
            && query.severity.is_none_or(|s| touched(index, Some(s), None))
            && query.rule.as_deref().is_none_or(|r| touched(index, None, Some(r)))
    };
    // For a name alone no layer has to be looked at.
    let by_more = query.scheme.is_some()
        || query.kind.is_some()
        || query.at_least_bytes > 0
        || query.with_findings
        || query.severity.is_some()
        || query.rule.is_some();
    if by_more {
        hits.retain(|&index| layers.get(index).is_some_and(|layer| keeps(index, layer)));
    }
    sort(session, &query.sort, &mut hits);
    hits
}

/// Kinds and schemes that are there, for choices.
pub(crate) fn kinds_and_schemes(session: &Session) -> (Vec<String>, Vec<String>) {
    let layers = &session.model.layers;
    let kinds: BTreeSet<Kind> = layers.iter().map(|l| l.kind).gather_set();
    let schemes: BTreeSet<&str> = layers.iter().map(|l| l.scheme.id()).gather_set();
    let kinds = kinds.into_iter().map(|k| k.id().to_string()).collect();
    (kinds, schemes.into_iter().map(str::to_string).collect())
}

fn stored_as(session: &Session, layer: &LayerInfo) -> String {
    let weight = layer.tensor(&session.checkpoint, WEIGHT_LEAF).map(|(_, t)| t);
    let Some(weight) = weight.filter(|_| layer.scheme.family() == Family::Fp4) else { return String::new() };
    let k = weight.shape.last().copied().unwrap_or(0).saturating_mul(2);
    let mut text = format!("packed as {:?}, two codes a byte: K is {k}", weight.shape);
    let logical = layer.shape.iter().skip(1).fold(1_u64, |n, &d| n.saturating_mul(d));
    if layer.kind == Kind::Conv3d && layer.shape.len() == 5 {
        let padding = k.saturating_sub(logical);
        if padding > 0 {
            text.push_str(&format!(", {padding} of it padding"));
        }
    } else if layer.kind == Kind::Conv3d {
        text.push_str("; the kernel is not stored, K may end in up to 15 columns of padding");
    }
    text
}

pub(crate) fn detail(session: &Session, name: &str) -> Option<LayerDetail> {
    let layers = &session.model.layers;
    let index = layers.binary_search_by(|l| quantscope_format::natural_cmp(&l.name, name)).ok()?;
    let layer = layers.get(index)?;
    let tensor = |member: &quantscope_audit::Member| {
        let (shard, tensor) = session.checkpoint.tensor(member.shard, member.tensor)?;
        Some(TensorView {
            leaf: member.leaf.to_string(),
            name: tensor.name.to_owned(),
            role: role_of(layer.scheme, &member.leaf).1.into(),
            dtype: tensor.dtype.tag().into(),
            shape: tensor.shape.to_vec(),
            bytes: tensor.byte_len(),
            file: shard.file.clone(),
            begin: tensor.begin,
            end: tensor.end,
        })
    };
    let tensors: Vec<TensorView> = layer.members.iter().filter_map(tensor).collect();
    Some(LayerDetail {
        row: row(session, index, layer),
        stored_as: stored_as(session, layer),
        python: vec![
            ("torch".into(), crate::python::torch(&tensors)),
            ("NumPy".into(), crate::python::numpy(&tensors)),
        ],
        tensors,
        findings: own_findings(session, index).map(|f| f.to_finding()).collect(),
    })
}
