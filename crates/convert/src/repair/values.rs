//! SV103, SV105, SC003, TI703, TI704: single numbers that are made anew.
//!
//! A zero scale is replaced only where all codes under it are zero, so that every decoded value stays what it
//! was. The others change what the model computes, and are mended only if they are named.

use super::Origin;
use super::draft::{Draft, Fate};
use quantscope_audit::report::Finding;
use quantscope_audit::{LayerInfo, Member};
use quantscope_format::TensorSpec;
use quantscope_numeric::Dtype;
use quantscope_schemes::{Role, ScaleLayout, role_of};

pub(super) fn mend(draft: &mut Draft<'_>) {
    for finding in draft.asked(&["SV103"]) {
        if let Err(reason) = zero_scales(draft, finding) {
            draft.refuse(finding, reason);
        }
    }
    for finding in draft.asked(&["SV105"]) {
        reciprocal(draft, finding);
    }
    for finding in draft.asked(&["SC003"]) {
        siblings(draft, finding);
    }
    for finding in draft.asked(&["TI704"]) {
        larger(draft, finding);
    }
}

/// The layers that a finding is about.
fn layers<'a>(draft: &Draft<'a>, finding: &Finding) -> Vec<&'a LayerInfo> {
    let names = finding.layers.iter().chain(std::iter::once(&finding.subject));
    let mut found: Vec<&LayerInfo> = names.filter_map(|name| draft.model.layer(name)).collect();
    found.dedup_by_key(|layer| &layer.name);
    found
}

fn of_role(layer: &LayerInfo, role: Role) -> Option<&Member> {
    layer.members.iter().find(|m| role_of(layer.scheme, &m.leaf).0 == role)
}

fn place(member: &Member) -> (u32, u32) {
    (member.shard, member.tensor)
}

fn zero_scales(draft: &mut Draft<'_>, finding: &Finding) -> Result<(), String> {
    let layer = layers(draft, finding).first().copied().ok_or("its layer is not known")?;
    let layout = layer.scheme.scale_layout();
    let leaf = layout.scale_leaf().ok_or("its scheme has no scales")?;
    let (Some(codes), Some(scales)) = (layer.member(layer.weight_leaf()), layer.member(leaf)) else {
        return Err("its weight or its scales are absent".into());
    };
    let origin = match layout {
        ScaleLayout::Fp4Blocks { block, .. } => {
            let block_bytes = u64::from(block) / 2;
            let shape = |m: &Member| draft.checkpoint.tensor(m.shard, m.tensor).map(|(_, t)| t.shape);
            // Padded or tiled scales lie elsewhere than beside their codes.
            let beside = match (shape(codes), shape(scales)) {
                (Some(&[rows, bytes]), Some(&[down, across])) => {
                    rows == down && across.checked_mul(block_bytes) == Some(bytes)
                }
                _ => false,
            };
            if !beside {
                return Err("its scales are padded or tiled; convert the layer instead".into());
            }
            Origin::BlockScales { codes: place(codes), block_bytes }
        }
        // The audit has seen that no code under a zero scale is anything but zero.
        ScaleLayout::Fp8Tiles { .. } => Origin::FloatScales,
        _ => return Err("scales of this form are not mended".into()),
    };
    draft.remake(place(scales), origin);
    let name = layer.naming.tensor(&layer.name, leaf);
    let before = "scales of 0 over codes of 0".to_string();
    draft.change("SV103", &name, "replace", before, "scales of 1; decoded values stay".into());
    Ok(())
}

fn reciprocal(draft: &mut Draft<'_>, finding: &Finding) {
    for layer in layers(draft, finding) {
        let global = of_role(layer, Role::GlobalScale).map(place);
        let single = global.filter(|p| draft.at(*p).is_some_and(|fate| is_number(&fate.spec)));
        let Some(global) = single else {
            draft.refuse(finding, "its global scale is no single F32 number");
            continue;
        };
        draft.remake(global, Origin::Reciprocal);
        let name = draft.at(global).map_or_else(String::new, |fate| fate.spec.name.clone());
        let (before, after) = (finding.found.clone(), finding.expected.clone());
        draft.change("SV105", &name, "replace", before.unwrap_or_default(), after.unwrap_or_default());
    }
}

fn is_number(spec: &TensorSpec) -> bool {
    spec.dtype == Dtype::F32 && spec.shape.iter().all(|&d| d == 1)
}

/// Path with its numbers left out, so that siblings have one name.
fn without_numbers(name: &str) -> String {
    let plain = |part: &str| {
        if part.bytes().all(|b| b.is_ascii_digit()) { "N".to_string() } else { part.to_string() }
    };
    name.split('.').map(plain).collect::<Vec<_>>().join(".")
}

/// Siblings differ in the number of the expert, or else of the block.
fn is_sibling(layer: &str, other: &str) -> bool {
    match (layer.split_once(".experts."), other.split_once(".experts.")) {
        (Some((block, rest)), Some((other_block, other_rest))) => {
            block == other_block && without_numbers(rest) == without_numbers(other_rest)
        }
        (None, None) => without_numbers(layer) == without_numbers(other),
        _ => false,
    }
}

/// A layer without an activation scale takes the largest of its siblings.
fn siblings(draft: &mut Draft<'_>, finding: &Finding) {
    let model = draft.model;
    for layer in layers(draft, finding) {
        let alike = model
            .layers
            .iter()
            .filter(|l| l.scheme.id() == layer.scheme.id() && is_sibling(&layer.name, &l.name));
        let scales: Vec<(&Member, (u32, u32))> =
            alike.filter_map(|l| of_role(l, Role::InputScale)).map(|m| (m, place(m))).collect();
        let numbers = scales.iter().all(|(_, p)| draft.at(*p).is_some_and(|fate| is_number(&fate.spec)));
        let (Some(((first, source), weight)), true) =
            (scales.first().zip(layer.member(layer.weight_leaf())), numbers)
        else {
            draft.refuse(finding, format!("`{}` has no sibling with a scale", layer.name));
            continue;
        };
        let name = layer.naming.tensor(&layer.name, &first.leaf);
        let spec = TensorSpec { name, dtype: Dtype::F32, shape: Vec::new() };
        let origin = Origin::Largest(scales.iter().map(|(_, p)| *p).collect());
        draft.add(weight.shard, "SC003", Fate { spec, origin }, *source);
    }
}

/// Both sides of a tie take the larger activation scale.
fn larger(draft: &mut Draft<'_>, finding: &Finding) {
    let scales: Vec<(u32, u32)> =
        layers(draft, finding).iter().filter_map(|l| of_role(l, Role::InputScale)).map(place).collect();
    if scales.len() < 2 || !scales.iter().all(|p| draft.at(*p).is_some_and(|fate| is_number(&fate.spec))) {
        return draft.refuse(finding, "the activation scales of both sides are not single F32 numbers");
    }
    for place in &scales {
        draft.remake(*place, Origin::Largest(scales.clone()));
        let name = draft.at(*place).map_or_else(String::new, |fate| fate.spec.name.clone());
        let (before, after) = (finding.found.clone(), finding.expected.clone());
        draft.change("TI704", &name, "replace", before.unwrap_or_default(), after.unwrap_or_default());
    }
}
