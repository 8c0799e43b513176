//! SN: names of scales that disagree with each other or with the config.

use super::{HeaderContext, number};
use crate::findings::Findings;
use crate::model::LayerInfo;
use crate::registry::{Example, FindingExt, Rule};
use crate::report::Severity;
use quantscope_format::Arrange as _;
use quantscope_numeric::Dtype;
use quantscope_schemes::{Match, Role, ScaleLayout, Scheme, algo_scheme, by_id, role_of};
use std::collections::BTreeMap;

pub(crate) const RULES: &[Rule] = &[SN201, SN203];

const SN201: Rule = Rule {
    id: "SN201",
    severity: Severity::Error,
    needs: "H",
    title: "Two spellings of one scale",
    why: "Layers stored alike call their scale by different names. A loader knows one of them; it drops the other \
          scales or reads them uninitialised, and those weights come out hundreds of times too large.",
    fix: "Rename to one spelling; the bytes stay as they are.",
    repairable: true,
    example: Example::of(
        "layers.0.q_proj.weight_scale_inv  F32 [32, 32]\nlayers.1.q_proj.weight_scale      F32 [32, 32]",
        "layers.0.q_proj.weight_scale_inv  F32 [32, 32]\nlayers.1.q_proj.weight_scale_inv  F32 [32, 32]",
    ),
};

const SN203: Rule = Rule {
    id: "SN203",
    severity: Severity::Error,
    needs: "H,C",
    title: "Config and tensors name different schemes",
    why: "The loader picks its kernels and the names it looks for from the config. The tensors are of another scheme, \
          so scales are not found or bytes are read as what they are not.",
    fix: "Correct the algorithm in the configs to what the tensors are.",
    repairable: true,
    example: Example::of(
        "quant_algo: FP8\nmlp.up_proj.weight_scale_inv  F32 [16, 16]",
        "quant_algo: FP8_PB\nmlp.up_proj.weight_scale_inv  F32 [16, 16]",
    ),
};

pub(crate) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    spellings(context, findings);
    declared(context, findings);
    tiles_in_a_group(context, findings);
}

/// How the scales of a layer relate to its weight: what makes two layers "stored alike".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grid {
    /// One number.
    Tensor,
    /// One per row.
    Row,
    /// One per tile of 128 x 128.
    Tile,
    /// Another grid, by its columns per scale.
    Other(u64),
}

fn grid(context: HeaderContext<'_>, layer: &LayerInfo, weight: &[u64], scale: &[u64]) -> Option<Grid> {
    if let ScaleLayout::Fp8Tiles { rows, cols, .. } = layer.scale_layout(context.checkpoint) {
        return Some(match (rows, cols) {
            (u32::MAX, u32::MAX) => Grid::Tensor,
            (1, u32::MAX) => Grid::Row,
            _ => Grid::Tile,
        });
    }
    let &[rows, cols] = weight else { return None };
    let squeezed: Vec<u64> = scale.iter().copied().filter(|&d| d != 1).collect();
    let tiles: Vec<u64> = [rows.div_ceil(128), cols.div_ceil(128)].into_iter().filter(|&d| d != 1).collect();
    match squeezed.as_slice() {
        [] => Some(Grid::Tensor),
        [n] if *n == rows => Some(Grid::Row),
        s if s == tiles => Some(Grid::Tile),
        [_, across] => Some(Grid::Other(cols.div_ceil((*across).max(1)))),
        _ => None,
    }
}

fn spellings(context: HeaderContext<'_>, findings: &mut Findings) {
    type Spellings<'a> = BTreeMap<&'a str, Vec<&'a LayerInfo>>;
    let mut alike: BTreeMap<(Dtype, Grid), Spellings<'_>> = BTreeMap::new();
    for layer in &context.model.layers {
        let Some((_, weight)) = layer.tensor(context.checkpoint, layer.weight_leaf()) else { continue };
        // Words and plain numbers carry their scale's name by scheme; only bytes are stored alike in several.
        if weight.dtype.bits() != 8 || weight.shape.len() < 2 {
            continue;
        }
        for member in layer.members.iter().filter(|m| role_of(layer.scheme, &m.leaf).0 == Role::WeightScale) {
            let Some((_, scale)) = context.checkpoint.tensor(member.shard, member.tensor) else { continue };
            if let Some(grid) = grid(context, layer, weight.shape, scale.shape) {
                alike.entry((weight.dtype, grid)).or_default().entry(&member.leaf).or_default().push(layer);
            }
        }
    }
    for ((dtype, _), spellings) in alike.into_iter().filter(|(_, s)| s.len() > 1) {
        let mut sorted: Vec<(&str, Vec<&LayerInfo>)> = spellings.into_iter().collect();
        sorted.arrange_by_key(|(_, layers)| std::cmp::Reverse(layers.len()));
        let counts: Vec<String> =
            sorted.iter().map(|(leaf, layers)| format!("`{leaf}` x{}", layers.len())).collect();
        let Some(((usual, _), rare)) = sorted.split_first() else { continue };
        let names: Vec<String> = rare.iter().flat_map(|(_, l)| l.iter().map(|l| l.name.clone())).collect();
        let first = names.first().cloned().unwrap_or_default();
        let message = format!(
            "two spellings of one scale of {dtype} weights: {}; `{first}` is one of the fewer",
            counts.join(", ")
        );
        let rare: Vec<String> = rare.iter().map(|(leaf, _)| format!("`{leaf}`")).collect();
        let mut finding =
            SN201.finding(first, message).expecting(format!("`{usual}` everywhere"), rare.join(", "));
        finding.layers = names;
        findings.push(finding);
    }
}

/// Whether a layer stored as `found` is what a config that declares `declared` means.
fn agrees(declared: &dyn Scheme, found: &dyn Scheme) -> bool {
    let (a, b) = (declared.about(), found.about());
    // Schemes of one layout differ in what was done before, which a file does not show.
    a.id == b.id
        || (a.family == b.family && declared.scale_layout() == found.scale_layout())
        || a.algos.iter().any(|algo| b.algos.contains(algo))
}

fn declared(context: HeaderContext<'_>, findings: &mut Findings) {
    let declared = &context.model.declared;
    let mut wrong: BTreeMap<(&str, &str), Vec<&LayerInfo>> = BTreeMap::new();
    for layer in context.model.layers.iter().filter(|l| l.is_quantized() && l.is_complete) {
        if declared.exclude().covering(&layer.name).is_some() {
            continue;
        }
        let Some(scheme) = declared.hint(&layer.name).and_then(by_id) else { continue };
        // Small weights may fit several schemes: a single tile is a single tensor.
        let fits = || scheme.recognise(&layer.view(context.checkpoint)) == Match::Full;
        if !agrees(scheme, layer.scheme) && !fits() {
            let algo = scheme.about().algos.first().copied().unwrap_or_else(|| scheme.id());
            wrong.entry((algo, layer.scheme.id())).or_default().push(layer);
        }
    }
    let file = context.declaring_file();
    for ((algo, found), layers) in wrong {
        let Some(first) = layers.first() else { continue };
        let scale = first.member_of(Role::WeightScale).map_or("its scales", |m| m.leaf.as_str());
        let message = format!(
            "{file} says {algo}, but {} stored as {found}, e.g. `{}` by its `{scale}`",
            number(layers.len(), "layer is", "layers are"),
            first.name
        );
        let mut finding = SN203.finding(first.name.as_str(), message).in_file(file).expecting(algo, found);
        finding.layers = layers.iter().map(|l| l.name.clone()).collect();
        findings.push(finding);
    }
}

/// The reference writes FP8 tiles of a mixed model under the name of the native form, but declares them by a
/// group whose readers look for the other name. A warning: every such export has it.
fn tiles_in_a_group(context: HeaderContext<'_>, findings: &mut Findings) {
    let Some(declaration) = context.checkpoint.declaration() else { return };
    let group = declaration.groups.iter().find(|g| {
        let weights = g.weights.as_ref();
        weights.is_some_and(|w| w.strategy.as_deref() == Some("block") && w.num_bits == Some(8))
    });
    let (Some(group), Some(plain)) = (group, algo_scheme("FP8").and_then(|s| s.scale_layout().scale_leaf()))
    else {
        return;
    };
    let stored_otherwise = |l: &&LayerInfo| match l.scheme.scale_layout() {
        ScaleLayout::Fp8Tiles { cols, scale, .. } => {
            cols != u32::MAX && scale != plain && l.member(scale).is_some()
        }
        _ => false,
    };
    let layers: Vec<&LayerInfo> = context.model.layers.iter().filter(stored_otherwise).collect();
    let Some((first, scale)) = layers.first().and_then(|l| Some((l, l.scheme.scale_layout().scale_leaf()?)))
    else {
        return;
    };
    let file = context.declaring_file();
    let message = format!(
        "{file} declares FP8 tiles by `{}`, whose readers look for `{plain}`; {} `{scale}`, e.g. `{}`",
        group.name,
        number(layers.len(), "layer stores", "layers store"),
        first.name
    );
    let mut finding = SN203.finding(group.name.as_str(), message).in_file(file).expecting(plain, scale);
    finding.severity = Severity::Warning;
    finding.layers = layers.iter().map(|l| l.name.clone()).collect();
    findings.push(finding);
}
