//! Calibrated maxima of the layers to be packed: their own, and those they share.
//!
//! Source: `formats.md` c and h.

use crate::builder::Builder;
use crate::calibrate::{Found, Given, Resolver};
use crate::calibration::Blocks;
use crate::error::ConvertError;
use crate::fused;
use crate::plan::{GivenBlocks, PackedLayer};
use crate::recipe::{Conv3d, TiePolicy};
use crate::refused::{Refused, gather};
use quantscope_schemes::{EncodeSettings, Kind, Role, kv};

/// Whether the scheme of a layer writes an activation scale. Weight-only ones that may have a stray one do not.
pub(crate) fn stores_input_scale(packed: &PackedLayer) -> bool {
    let about = packed.scheme.about();
    about.quantizes_activations && about.companions.iter().any(|c| c.role == Role::InputScale)
}

impl Builder<'_> {
    pub(crate) fn resolve(&self) -> Found {
        Resolver::new(&self.views, self.recipe, self.ties, &self.tied.shared()).resolve()
    }

    /// Maxima of weights: of the tensor, of its fused group, of its blocks.
    pub(crate) fn apply_weights(&mut self, found: &Found) -> Result<(), ConvertError> {
        for (&module, &i) in &self.packed {
            let Some(packed) = self.plan.packed.get_mut(i) else { continue };
            let applied = apply_weight(packed, module, found, &self.recipe.settings);
            gather(&mut self.plan.refused, applied)?;
        }
        Ok(())
    }

    /// Maxima of activations, the largest of all ties and of each fused group for all members.
    pub(crate) fn apply_inputs(&mut self, found: &mut Found) {
        let keeps_own = self.recipe.ties == TiePolicy::KeepInputScale;
        for (alias, &(module, amax)) in &found.aliases {
            match self.packed.get(&module) {
                Some(&i) if keeps_own => {
                    self.alias_inputs.insert(alias.clone(), (i, amax));
                }
                _ => {
                    let largest = found.inputs.entry(module).or_insert(0.0);
                    *largest = largest.max(amax);
                }
            }
        }
        for (module, &i) in &self.packed {
            if let Some(packed) = self.plan.packed.get_mut(i).filter(|p| stores_input_scale(p)) {
                packed.input_amax = found.inputs.get(module).copied();
            }
        }
        self.alias_inputs.retain(|_, (i, _)| self.plan.packed.get(*i).is_some_and(stores_input_scale));
        for group in fused::sharing_inputs(&self.plan.packed, &self.recipe.fuse_groups) {
            let members = || group.iter().filter_map(|&i| self.plan.packed.get(i)?.input_amax);
            let Some(largest) = members().reduce(f32::max) else { continue };
            for &i in &group {
                if let Some(packed) = self.plan.packed.get_mut(i).filter(|p| stores_input_scale(p)) {
                    packed.input_amax = Some(largest);
                }
            }
        }
        self.share_alias_inputs();
        self.caches = found
            .caches
            .iter()
            .map(|((attention, side), &amax)| (kv::scale_name(attention, *side), kv::scale(amax)))
            .collect();
    }

    /// Layers that are written under two names have the same maxima under both; with a policy that keeps each side's
    /// own, but those of activations.
    pub(crate) fn share_with_twins(&mut self) {
        let packed = |name: &str| self.packed.get(&self.views.find(name)?).copied();
        let pairs: Vec<(String, usize, usize)> = self
            .tied
            .twins
            .iter()
            .filter_map(|(alias, canonical)| Some((alias.clone(), packed(alias)?, packed(canonical)?)))
            .collect();
        for (alias, own, other) in pairs {
            let Some(other) = self.plan.packed.get(other).cloned() else { continue };
            let kept = self.alias_inputs.remove(&alias).map(|(_, amax)| amax);
            if let Some(own) = self.plan.packed.get_mut(own) {
                *own = PackedLayer {
                    name: own.name.clone(),
                    place: own.place.clone(),
                    naming: own.naming,
                    input_amax: kept.or(other.input_amax),
                    ..other
                };
            }
        }
    }

    /// Aliases that keep their own scales share them in their own fused groups.
    fn share_alias_inputs(&mut self) {
        let ghosts: Vec<PackedLayer> = self
            .alias_inputs
            .iter()
            .filter_map(|(alias, &(i, amax))| {
                let packed = self.plan.packed.get(i)?;
                Some(PackedLayer { name: alias.clone(), input_amax: Some(amax), ..packed.clone() })
            })
            .collect();
        for group in fused::sharing_inputs(&ghosts, &self.recipe.fuse_groups) {
            let members = || group.iter().filter_map(|&i| ghosts.get(i));
            let largest = members().filter_map(|g| g.input_amax).fold(0.0, f32::max);
            for ghost in members() {
                if let Some((_, amax)) = self.alias_inputs.get_mut(&ghost.name) {
                    *amax = largest;
                }
            }
        }
    }

    /// What the head of the reference's pull request demands of a convolution beyond its scheme.
    pub(crate) fn check_conv3d(&mut self) {
        let strict = self.recipe.conv3d == Conv3d::Strict;
        for packed in self.plan.packed.iter().filter(|p| strict && p.kind == Kind::Conv3d) {
            let reason = match packed.input_amax {
                _ if packed.given.is_some() => "has calibrated block maxima, which --conv3d strict refuses",
                None => "has no calibrated activation maximum, which --conv3d strict demands",
                Some(amax) if amax <= 0.0 => "has an activation maximum of 0, which --conv3d strict refuses",
                Some(_) => continue,
            };
            self.plan.refused.push(Refused {
                name: packed.name.clone(),
                reason: reason.into(),
                remedy: format!(
                    "calibrate it, or choose --conv3d lenient, or keep it with --layer '{}=keep'",
                    packed.name
                ),
            });
        }
    }
}

/// Gives a layer the maxima that its calibration has for its weight.
fn apply_weight(
    packed: &mut PackedLayer,
    module: usize,
    found: &Found,
    settings: &EncodeSettings,
) -> Result<(), ConvertError> {
    packed.weight_amax = found.globals.get(&module).or(found.weights.get(&module)).copied();
    // A list of one looks like the maximum of the tensor. Beside a global maximum it is that of the only block, if
    // there is but one.
    let single = found.weights.get(&module).filter(|_| found.globals.contains_key(&module));
    let single =
        single.map(|&amax| Given { key: packed.name.clone(), blocks: Blocks::one(amax), is_second: false });
    let given = found.blocks.get(&module).or(single.as_ref());
    let Some((given, scheme)) = given.zip(packed.scheme.with_given_blocks()) else { return Ok(()) };
    let refuse = |reason: String, remedy: &str| ConvertError::Tensor {
        tensor: packed.name.clone(),
        reason,
        remedy: remedy.into(),
    };
    let encoding = scheme
        .encoding(packed.matrix, settings)
        .map_err(|r| refuse(r.reason, "calibrate without block maxima"))?;
    let scales = encoding.outputs.iter().find(|o| o.role == Role::WeightScale && !o.shape.is_empty());
    let expected = scales.map_or(0, |o| o.shape.iter().fold(1_u64, |n, &d| n.saturating_mul(d)));
    let count = given.blocks.count();
    if single.is_some() && !found.blocks.contains_key(&module) && expected != 1 {
        return Ok(());
    }
    let first = match count {
        n if n == expected => 0,
        n if Some(n) == expected.checked_mul(2) && fused::is_half(&packed.name) => {
            if given.is_second {
                expected
            } else {
                0
            }
        }
        _ => {
            let found = format!("the calibration gives {count} maxima under {:?}", given.key);
            return Err(refuse(
                format!("has {expected} blocks, and {found}"),
                "calibrate this model, or without block maxima",
            ));
        }
    };
    packed.given = Some(GivenBlocks { key: given.key.clone(), blocks: given.blocks.clone(), first });
    (packed.scheme, packed.encoding) = (scheme, encoding);
    Ok(())
}
