//! `inspect` for people: the verdict, the totals, the layers folded by scheme, the files.

use super::{Cell, Paint, bytes, count, decimal, paint, plural, printable, table};
use quantscope_session::AuditView;
use quantscope_session::api::{Overview, ShardView};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Shards listed one by one; of more only those with something wrong.
const LISTED_SHARDS: usize = 8;

pub(crate) fn describe(view: &AuditView<'_>) -> String {
    let overview = &view.overview;
    let mut text = headline(overview);
    text.push('\n');
    text.push_str(&schemes(view));
    text.push('\n');
    text.push_str(&shards(&overview.shards));
    if overview.errors + overview.warnings > 0 {
        let _ = writeln!(
            text,
            "\n{} and {} from the headers: `quantscope audit` explains them.",
            plural(overview.errors, "error"),
            plural(overview.warnings, "warning")
        );
    }
    text
}

/// Name, verdict and totals.
pub(crate) fn headline(overview: &Overview) -> String {
    let verdict = &overview.verdict;
    let colour = match verdict.state.as_str() {
        "sound" => Paint::Good,
        "broken" => Paint::Bad,
        "warnings" => Paint::Doubtful,
        _ => Paint::Strong,
    };
    let mut text = String::new();
    let _ = writeln!(text, "{}: {}", printable(&overview.name), paint(colour, &printable(&verdict.title)));
    let declared = match overview.declared.as_str() {
        "" => "no quantization declared".to_owned(),
        declared => format!("declared {}", printable(declared)),
    };
    let _ = writeln!(
        text,
        "{} weights in {}, {} in {}, {} bits per weight, {declared}",
        count(overview.parameters),
        plural(overview.layer_count, "layer"),
        bytes(overview.bytes),
        plural(overview.shards.len() as u64, "file"),
        decimal(overview.bits_per_weight),
    );
    text
}

/// One row per scheme: how many layers of which kinds, how large.
fn schemes(view: &AuditView<'_>) -> String {
    let mut folds: BTreeMap<&str, Fold<'_>> = BTreeMap::new();
    for layer in view.layers() {
        folds.entry(layer.scheme).or_default().add(layer.kind, layer.shape, layer.bits_per_weight);
    }
    let rows = view.overview.schemes.iter().map(|share| {
        let fold = folds.get(share.scheme.as_str());
        vec![
            printable(&share.scheme).into(),
            fold.map_or_else(String::new, Fold::kinds).into(),
            count(share.parameters).into(),
            bytes(share.bytes).into(),
            fold.and_then(Fold::bits_per_weight).map_or_else(String::new, decimal).into(),
        ]
    });
    table(&["scheme", "layers", "weights", "size", "bits/weight"], &[2, 3, 4], rows.collect())
}

/// The layers of one scheme.
#[derive(Default)]
struct Fold<'a> {
    kinds: BTreeMap<&'a str, u64>,
    weights: f64,
    bits: f64,
}

impl<'a> Fold<'a> {
    fn add(&mut self, kind: &'a str, shape: &[u64], bits_per_weight: f64) {
        *self.kinds.entry(kind).or_default() += 1;
        // Only shown, with four decimals: rounding to 53 bits is fine.
        #[allow(clippy::cast_precision_loss, reason = "a display of counts")]
        let weights = shape.iter().map(|d| *d as f64).product::<f64>();
        self.weights += weights;
        self.bits += weights * bits_per_weight;
    }

    fn bits_per_weight(&self) -> Option<f64> {
        (self.weights > 0.0).then(|| self.bits / self.weights)
    }

    /// Such as `43 conv3d, 2 linear`, the most numerous first.
    fn kinds(&self) -> String {
        let mut kinds: Vec<(&str, u64)> = self.kinds.iter().map(|(kind, n)| (*kind, *n)).collect();
        kinds.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect::<Vec<_>>().join(", ")
    }
}

fn shards(shards: &[ShardView]) -> String {
    let all = shards.len() <= LISTED_SHARDS;
    let shown: Vec<&ShardView> = shards.iter().filter(|shard| all || shard.state != "sound").collect();
    let rows = shown.iter().map(|shard| {
        let colour = if shard.state == "sound" { Paint::Good } else { Paint::Bad };
        vec![
            printable(&shard.file).into(),
            bytes(shard.bytes).into(),
            shard.tensors.to_string().into(),
            Cell::painted(colour, printable(&shard.state)),
        ]
    });
    let mut text = match shown.len() {
        0 => String::new(),
        _ => table(&["file", "size", "tensors", "state"], &[1, 2], rows.collect()),
    };
    if !all {
        let sound = shards.len() - shown.len();
        let _ = writeln!(text, "{} of {} sound", sound, plural(shards.len() as u64, "file"));
    }
    text
}
