//! SN201, SN202: scales under another name or of another rank than is read.
//!
//! A reshape moves no byte: only dimensions of one come and go.

use super::draft::{Draft, Fate};
use quantscope_audit::report::Finding;
use quantscope_audit::targets::{Profile, Scale};
use quantscope_audit::{LayerInfo, Member, targets};
use quantscope_format::Gather as _;
use quantscope_format::TensorSpec;
use quantscope_numeric::Dtype;
use quantscope_schemes::{Role, ScaleLayout, role_of};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn mend(draft: &mut Draft<'_>) {
    spellings(draft);
    for finding in draft.asked(&["SN202"]) {
        if let Err(reason) = fit_runtime(draft, finding) {
            draft.refuse(finding, reason);
        }
    }
}

/// How the scales of an FP8 layer lie: one, one a row, or one a tile.
fn form(draft: &Draft<'_>, layer: &LayerInfo) -> Option<(Dtype, u8)> {
    let (_, weight) = layer.tensor(draft.checkpoint, layer.weight_leaf())?;
    let ScaleLayout::Fp8Tiles { rows, cols, .. } = layer.scheme.scale_layout() else { return None };
    let grid = match (rows, cols) {
        (u32::MAX, u32::MAX) => 0,
        (_, u32::MAX) => 1,
        _ => 2,
    };
    Some((weight.dtype, grid))
}

/// The layers that a finding names take the name and rank of the scales of all others that are stored alike.
fn spellings(draft: &mut Draft<'_>) {
    const RULE: &str = "SN201";
    for finding in draft.asked(&[RULE]) {
        let model = draft.model;
        let rare: BTreeSet<&str> = finding.layers.iter().map(String::as_str).gather_set();
        let mut usual: BTreeMap<(Dtype, u8), (String, usize)> = BTreeMap::new();
        for layer in model.layers.iter().filter(|l| !rare.contains(l.name.as_str())) {
            let (Some(form), Some(member)) = (form(draft, layer), weight_scale(layer)) else { continue };
            let rank = draft.at((member.shard, member.tensor)).map_or(0, |fate| fate.spec.shape.len());
            usual.entry(form).or_insert_with(|| (member.leaf.to_string(), rank));
        }
        for layer in rare.iter().filter_map(|name| model.layer(name)) {
            let found =
                form(draft, layer).and_then(|form| usual.get(&form).cloned()).zip(weight_scale(layer));
            let Some(((leaf, rank), member)) = found else {
                draft.refuse(finding, format!("which spelling holds for `{}` is not known", layer.name));
                continue;
            };
            let place = (member.shard, member.tensor);
            let Some(fate) = draft.at(place).cloned() else { continue };
            let shape = reshaped(layer, &fate.spec.shape, rank).unwrap_or_else(|| fate.spec.shape.clone());
            let name = layer.naming.tensor(&layer.name, &leaf);
            let spec = TensorSpec { name, dtype: fate.spec.dtype, shape };
            if !draft.replace(place, RULE, "rename", Fate { spec, origin: fate.origin }) {
                draft.refuse(
                    finding,
                    format!("`{}` has both spellings; which one holds is not known", layer.name),
                );
            }
        }
    }
}

fn weight_scale(layer: &LayerInfo) -> Option<&Member> {
    layer.members.iter().find(|m| role_of(layer.scheme, &m.leaf).0 == Role::WeightScale)
}

/// Gives a scale the name and rank that a runtime reads.
fn fit_runtime(draft: &mut Draft<'_>, finding: &Finding) -> Result<(), String> {
    let target = finding.target.as_deref();
    let profile = draft.request.targets.iter().find(|p| Some(p.id.as_str()) == target);
    let layer = draft.model.layer(&finding.subject);
    let (Some(profile), Some(layer)) = (profile, layer) else {
        return Err("the runtime that it is about was not named".into());
    };
    let method = targets::method_of(draft.checkpoint);
    let scales = targets::scales_of(profile, layer, method);
    if scales.is_empty() {
        return Err(format!("what {} reads for such layers is not known", profile.title));
    }
    let mut fitted = false;
    for scale in scales {
        fitted |= fit_scale(draft, profile, layer, scale)?;
    }
    if fitted {
        Ok(())
    } else {
        Err("there is nothing to rename: the scale is absent; export the layer again".into())
    }
}

/// Whether the scale was one that needed fitting.
fn fit_scale(
    draft: &mut Draft<'_>,
    profile: &Profile,
    layer: &LayerInfo,
    scale: &Scale,
) -> Result<bool, String> {
    let role = role_of(layer.scheme, &scale.leaf).0;
    let named = |leaf: &str| leaf == scale.leaf || scale.or.as_deref() == Some(leaf);
    let own = layer.members.iter().find(|m| named(&m.leaf));
    let member = own.or_else(|| layer.members.iter().find(|m| role_of(layer.scheme, &m.leaf).0 == role));
    let Some(member) = member else { return Ok(false) };
    let place = (member.shard, member.tensor);
    let Some(fate) = draft.at(place).cloned() else { return Ok(false) };
    let fits_rank = scale.ranks.contains(&fate.spec.shape.len());
    if named(&member.leaf) && fits_rank {
        return Ok(false);
    }
    let shape = if fits_rank {
        fate.spec.shape.clone()
    } else {
        let shape = scale.ranks.iter().find_map(|&rank| reshaped(layer, &fate.spec.shape, rank));
        shape.ok_or_else(|| {
            format!("{:?} cannot be written with the rank that {} reads", fate.spec.shape, profile.title)
        })?
    };
    let leaf = if named(&member.leaf) { member.leaf.as_str() } else { &scale.leaf };
    let name = layer.naming.tensor(&layer.name, leaf);
    let what = if name == fate.spec.name { "reshape" } else { "rename" };
    let spec = TensorSpec { name: name.clone(), dtype: fate.spec.dtype, shape };
    if draft.replace(place, "SN202", what, Fate { spec, origin: fate.origin }) {
        Ok(true)
    } else {
        Err(format!("`{name}` stands in the file already"))
    }
}

/// The same numbers with so many dimensions: only ones come and go.
fn reshaped(layer: &LayerInfo, shape: &[u64], rank: usize) -> Option<Vec<u64>> {
    let elements = shape.iter().try_fold(1_u64, |n, &d| n.checked_mul(d))?;
    if let (ScaleLayout::Fp8Tiles { rows, cols, .. }, &[n, k]) =
        (layer.scheme.scale_layout(), layer.shape.as_slice())
        && rows != u32::MAX
        && cols != u32::MAX
    {
        let (down, across) = (n.div_ceil(u64::from(rows).max(1)), k.div_ceil(u64::from(cols).max(1)));
        if down.checked_mul(across) != Some(elements) {
            return None;
        }
        return match rank {
            0 if elements == 1 => Some(vec![]),
            2 => Some(vec![down, across]),
            4 => Some(vec![down, 1, across, 1]),
            _ => None,
        };
    }
    let dims: Vec<u64> = shape.iter().copied().filter(|&d| d != 1).collect();
    let ones = rank.checked_sub(dims.len())?;
    Some(dims.into_iter().chain(std::iter::repeat_n(1, ones)).collect())
}
