//! SC003 and SC004: what a layer or a file lacks that its siblings have.

use super::{HeaderContext, number};
use crate::findings::Findings;
use crate::model::LayerInfo;
use crate::names::{expert, without_numbers};
use crate::registry::{Example, FindingExt, Rule};
use crate::report::Severity;
use quantscope_format::Gather as _;
use quantscope_schemes::{INPUT_SCALE_LEAF, Role, role_of, split_name};
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub(crate) const RULES: &[Rule] = &[SC003, SC004];

const SC003: Rule = Rule {
    id: "SC003",
    severity: Severity::Error,
    needs: "H,C",
    title: "Some siblings lack their activation scale",
    why: "Experts that no calibration sample reached have no `input_scale`, or a partial export dropped it. Loaders \
          fill the gap with uninitialised memory or a zero, divide by it, and answer NaN or noise for some prompts \
          only.",
    fix: "Calibrate again with data that reaches these layers, or take the largest scale of the siblings as an \
          explicit, logged repair, or declare the layers weight-only.",
    repairable: true,
    example: Example::of(
        "layers.3.mlp.experts.0.up_proj.input_scale  F32 []\nlayers.3.mlp.experts.1.up_proj  (none)",
        "layers.3.mlp.experts.0.up_proj.input_scale  F32 []\nlayers.3.mlp.experts.1.up_proj.input_scale  \
                F32 []",
    ),
};

const SC004: Rule = Rule {
    id: "SC004",
    severity: Severity::Warning,
    needs: "X",
    title: "Two files of one model, one lacks tensors",
    why: "Two files hold the same layers, but one lacks tensors that the other has. A runtime that is given the \
          poorer file fills the gap with defaults and serves a worse model.",
    fix: "Use the complete file, or merge the missing tensors from it.",
    repairable: false,
    example: Example::of(
        "flux-full.safetensors   a.weight, a.weight_scale, a.input_scale\nflux-mixed.safetensors  a.weight, \
                 a.weight_scale",
        "flux-full.safetensors   a.weight, a.weight_scale, a.input_scale\nflux-mixed.safetensors  a.weight, \
                a.weight_scale, a.input_scale",
    ),
};

/// Ids or names that a message lists.
const LISTED: usize = 12;

pub(crate) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    experts(context, findings);
    blocks(context, findings);
    files(context, findings);
}

/// The leaf under which a layer stores its activation scale.
fn input_scale(layer: &LayerInfo) -> Option<&str> {
    let found = layer.members.iter().find(|m| role_of(layer.scheme, &m.leaf).0 == Role::InputScale);
    found.map(|m| m.leaf.as_str())
}

/// Layers of one name: with an activation scale and without.
#[derive(Default)]
struct Split<'a> {
    have: Vec<&'a LayerInfo>,
    lack: Vec<&'a LayerInfo>,
    leaf: Option<&'a str>,
}

impl<'a> Split<'a> {
    fn add(&mut self, layer: &'a LayerInfo) {
        match input_scale(layer) {
            Some(leaf) => {
                self.leaf = Some(leaf);
                self.have.push(layer);
            }
            None => self.lack.push(layer),
        }
    }

    fn is_mixed(&self) -> bool {
        !self.have.is_empty() && !self.lack.is_empty()
    }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let mut items: Vec<String> = items.into_iter().map(|i| i.to_string()).collect();
    let more = items.len().saturating_sub(LISTED);
    items.truncate(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", items.join(", "))
}

fn experts(context: HeaderContext<'_>, findings: &mut Findings) {
    let mut blocks: BTreeMap<&str, BTreeMap<&str, Split<'_>>> = BTreeMap::new();
    for layer in context.model.layers.iter().filter(|l| l.is_quantized()) {
        if let Some((block, _, rest)) = expert(&layer.name) {
            blocks.entry(block).or_default().entry(rest).or_default().add(layer);
        }
    }
    for (block, projections) in blocks {
        let ids = |layers: &[&LayerInfo]| -> BTreeSet<u64> {
            layers.iter().filter_map(|l| expert(&l.name)).map(|(_, id, _)| id).gather_set()
        };
        let all: BTreeSet<u64> =
            projections.values().flat_map(|s| ids(&s.have).into_iter().chain(ids(&s.lack))).gather_set();
        let mixed: Vec<&Split<'_>> = projections.values().filter(|s| s.is_mixed()).collect();
        let lacking: BTreeSet<u64> = mixed.iter().flat_map(|s| ids(&s.lack)).gather_set();
        let Some(leaf) = mixed.first().and_then(|s| s.leaf) else { continue };
        let message = format!(
            "{} of {} experts of `{block}` lack `{leaf}`: {}",
            lacking.len(),
            all.len(),
            list(&lacking)
        );
        let mut finding = SC003.finding(block, message);
        finding =
            finding.expecting(format!("`{leaf}` on every expert"), format!("{} without", lacking.len()));
        finding.layers = mixed.iter().flat_map(|s| s.lack.iter().map(|l| l.name.clone())).collect();
        findings.push(finding);
    }
}

/// The same layer of several blocks, stored alike but for the activation scale.
fn blocks(context: HeaderContext<'_>, findings: &mut Findings) {
    let mut names: BTreeMap<(String, &str), Split<'_>> = BTreeMap::new();
    let calibrated = |l: &&LayerInfo| {
        l.is_quantized() && l.scheme.about().quantizes_activations && expert(&l.name).is_none()
    };
    for layer in context.model.layers.iter().filter(calibrated) {
        names.entry((without_numbers(&layer.name), layer.scheme.id())).or_default().add(layer);
    }
    for ((name, _), split) in names.into_iter().filter(|(_, s)| s.is_mixed()) {
        let leaf = split.leaf.unwrap_or(INPUT_SCALE_LEAF);
        let lacking = list(split.lack.iter().map(|l| format!("`{}`", l.name)));
        let total = split.have.len().saturating_add(split.lack.len());
        let message = format!("{} of {total} layers `{name}` lack `{leaf}`: {lacking}", split.lack.len());
        let mut finding = SC003.finding(name, message);
        finding =
            finding.expecting(format!("`{leaf}` on all or none"), format!("{} without", split.lack.len()));
        finding.layers = split.lack.iter().map(|l| l.name.clone()).collect();
        findings.push(finding);
    }
}

/// Files that hold mostly the same tensors are copies of one model.
fn files(context: HeaderContext<'_>, findings: &mut Findings) {
    let mut common: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    for shards in context.model.repeated.values() {
        // Against the first alone: files by files would be quadratic in a folder of many copies.
        let Some((&a, others)) = shards.split_first() else { continue };
        for &b in others.iter().filter(|&&b| b != a) {
            *common.entry((a.min(b), a.max(b))).or_default() += 1;
        }
    }
    let shard = |i: u32| context.checkpoint.shards.get(usize::try_from(i).ok()?);
    for ((a, b), count) in common {
        let (Some(a), Some(b)) = (shard(a), shard(b)) else { continue };
        let smaller = a.header.tensors.len().min(b.header.tensors.len());
        if count < 2 || count.saturating_mul(2) < smaller {
            continue;
        }
        for (poor, rich) in [(a, b), (b, a)] {
            let has: HashMap<&str, _> = poor.header.tensors.iter().map(|t| (t.name, t.dtype)).collect();
            let weights: HashMap<&str, _> = rich.header.tensors.iter().map(|t| (t.name, t.dtype)).collect();
            // A layer stored in another form lacks nothing: a plain weight needs no scales.
            let other_form = |name: &str| {
                let (module, _) = split_name(name);
                let layer = context.model.layer(module);
                let weight = layer.map(|l| l.naming.tensor(module, l.weight_leaf()));
                weight
                    .is_some_and(|w| has.get(w.as_str()).is_some_and(|d| weights.get(w.as_str()) != Some(d)))
            };
            let names = rich.header.tensors.iter().map(|t| t.name);
            let lacking: Vec<&str> =
                names.filter(|name| !has.contains_key(name) && !other_form(name)).collect();
            let Some(first) = lacking.first() else { continue };
            let message = format!(
                "{} lacks {} that {}, a copy of the same model, has, e.g. `{first}`",
                poor.file,
                number(lacking.len(), "tensor", "tensors"),
                rich.file
            );
            let finding = SC004.finding(poor.file.as_str(), message).in_file(poor.file.as_str());
            let found = format!("{} absent", lacking.len());
            let mut finding = finding.expecting(format!("the tensors of {}", rich.file), found);
            let modules: BTreeSet<&str> = lacking.iter().map(|name| split_name(name).0).gather_set();
            finding.layers = modules.into_iter().map(str::to_string).collect();
            findings.push(finding);
        }
    }
}
