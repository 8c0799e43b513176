//! SN201, SN202, SV103: scales under another name, of another rank, or zero where loaders divide by them.
//!
//! A reshape moves no byte: only dimensions of one come and go. A zero scale is replaced only over a block whose
//! codes are all zero, so that every decoded value stays what it was.

use super::Origin;
use super::draft::{Draft, Fate};
use quantscope_audit::report::Finding;
use quantscope_audit::targets::{Profile, Scale};
use quantscope_audit::{LayerInfo, targets};
use quantscope_format::TensorSpec;
use quantscope_schemes::{Role, ScaleLayout, role_of};
use std::collections::BTreeMap;

pub(super) fn mend(draft: &mut Draft<'_>) {
    spellings(draft);
    for finding in draft.asked(&["SN202"]) {
        if let Err(reason) = fit_runtime(draft, finding) {
            draft.refuse(finding, reason);
        }
    }
    for finding in draft.asked(&["SV103"]) {
        zero_scales(draft, finding);
    }
}

/// One spelling for each scale of the layers that share a scheme's layout: the one most of them have.
fn spellings(draft: &mut Draft<'_>) {
    const RULE: &str = "SN201";
    let findings = draft.asked(&[RULE]);
    if findings.is_empty() {
        return;
    }
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let quantized: Vec<&LayerInfo> = draft.model.layers.iter().filter(|l| l.is_quantized()).collect();
    let is_scale = |layer: &LayerInfo, leaf: &str| role_of(layer.scheme, leaf).0 == Role::WeightScale;
    for layer in &quantized {
        for member in layer.members.iter().filter(|m| is_scale(layer, &m.leaf)) {
            *counts.entry(member.leaf.as_str()).or_default() += 1;
        }
    }
    let common = counts.iter().max_by_key(|(leaf, count)| (**count, std::cmp::Reverse(**leaf)));
    let Some(common) = common.map(|(leaf, _)| (*leaf).to_string()) else { return };
    for layer in quantized {
        let others = layer.members.iter().filter(|m| is_scale(layer, &m.leaf) && m.leaf != common);
        for member in others {
            let place = (member.shard, member.tensor);
            let Some(fate) = draft.at(place).cloned() else { continue };
            let name = layer.naming.tensor(&layer.name, &common);
            let spec = TensorSpec { name, ..fate.spec };
            if !draft.replace(place, RULE, "rename", Fate { spec, origin: fate.origin }) {
                for finding in findings.iter().filter(|f| f.layers.contains(&layer.name)) {
                    draft.refuse(
                        finding,
                        format!("`{}` has both spellings; which one holds is not known", layer.name),
                    );
                }
            }
        }
    }
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
    let leaf = if named(&member.leaf) { &member.leaf } else { &scale.leaf };
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

fn zero_scales(draft: &mut Draft<'_>, finding: &Finding) {
    let layer =
        finding.layers.iter().chain(std::iter::once(&finding.subject)).find_map(|n| draft.model.layer(n));
    let Some(layer) = layer else { return draft.refuse(finding, "its layer is not known") };
    let ScaleLayout::Fp4Blocks { block, scale, .. } = layer.scheme.scale_layout() else {
        return draft.refuse(finding, "only block scales of E4M3 under packed FP4 are mended");
    };
    let (Some(codes), Some(scales)) = (layer.member(layer.weight_leaf()), layer.member(scale)) else {
        return;
    };
    let shape =
        |m: &quantscope_audit::Member| draft.checkpoint.tensor(m.shard, m.tensor).map(|(_, t)| &t.shape);
    let block_bytes = u64::from(block) / 2;
    // Padded or tiled scales lie elsewhere than beside their codes.
    let beside = match (shape(codes).map(Vec::as_slice), shape(scales).map(Vec::as_slice)) {
        (Some(&[rows, bytes]), Some(&[down, across])) => {
            rows == down && across.checked_mul(block_bytes) == Some(bytes)
        }
        _ => false,
    };
    if !beside {
        return draft.refuse(finding, "its scales are padded or tiled; convert the layer instead");
    }
    let origin = Origin::Scales { shard: codes.shard, tensor: codes.tensor, block_bytes };
    let name = layer.naming.tensor(&layer.name, scale);
    draft.remake((scales.shard, scales.tensor), origin);
    let (before, after) = ("scale 0 over blocks of zeros", "the smallest scale, 2^-9; decoded values stay");
    draft.change("SV103", &name, "replace", before.into(), after.into());
}
