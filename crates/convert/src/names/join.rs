//! Modules that a runtime holds as one, joined: their rows one after another, their scales too.
//!
//! Source: `formats.md` h, "Fused groups", and the contract's `--fuse`. What goes into one matrix must share what there is
//! one of: a scheme, a global scale, factors on columns. Whether numbers are equal is known when they are read.

use super::apply::scale_rows;
use crate::error::ConvertError;
use crate::fused;
use crate::plan::Place;
use crate::refused::gather;
use crate::views::{Beyond, Member, Module, View, Views};
use quantscope_audit::{Checkpoint, LayerInfo, Model};
use quantscope_schemes::{Kind, Naming, Role, ScaleLayout, role_of};
use std::collections::{BTreeMap, BTreeSet};

/// The name of what several are joined to, made of the parts in which they differ: `q_proj`, `k_proj`, `v_proj` are
/// `qkv_proj`; `gate_proj`, `up_proj` are `gate_up_proj`; `w1`, `w3` are `w13`; `to_q`, `to_k`, `to_v` are `to_qkv`.
fn joined_name(names: &[&str]) -> String {
    let first: Vec<char> = names.first().map(|name| name.chars().collect()).unwrap_or_default();
    let alike = |at: &dyn Fn(&str) -> Option<char>, own: char| names.iter().all(|name| at(name) == Some(own));
    let shortest = names.iter().map(|name| name.chars().count()).min().unwrap_or(0);
    let before = (0..shortest)
        .take_while(|&i| first.get(i).is_some_and(|&own| alike(&|name| name.chars().nth(i), own)));
    // Words stay whole: what is shared ends, and begins again, at an underscore; or at a digit, in `w1`.
    let before = before.count();
    let head: String = first.iter().take(before).collect();
    let head = match head.rfind('_') {
        Some(at) => head.get(..=at).unwrap_or_default().to_string(),
        None if names.iter().all(|n| n.chars().skip(before).all(|c| c.is_ascii_digit())) => head,
        None => String::new(),
    };
    let rests: Vec<&str> = names.iter().map(|name| name.strip_prefix(&head).unwrap_or(name)).collect();
    let tail =
        rests.first().and_then(|rest| rest.rfind('_').and_then(|at| rest.get(at..))).unwrap_or_default();
    let tail = if rests.iter().all(|rest| rest.ends_with(tail)) { tail } else { "" };
    let own: Vec<&str> = rests.iter().map(|rest| rest.strip_suffix(tail).unwrap_or(rest)).collect();
    let between = if own.iter().all(|part| part.chars().count() == 1) { "" } else { "_" };
    format!("{head}{}{tail}", own.join(between))
}

/// What to do about layers that cannot be joined.
const REMEDY: &str = "quantize them jointly, with --fuse from the unquantized source, or leave --fuse out";

/// The members of a group, complete and in order.
struct Group<'a> {
    parent: String,
    members: Vec<(usize, &'a LayerInfo)>,
}

/// Members found so far, by their place in the group: index of the module, and its layer.
type Slots<'a> = Vec<Option<(usize, &'a LayerInfo)>>;

/// Views that take the place of others, by index, and those that go.
type Rearranged = (BTreeMap<usize, View>, BTreeSet<usize>);

/// What becomes of the views of a leaf.
enum Together {
    Rows,
    Equal,
}

impl Group<'_> {
    fn refused(&self, modules: &[Module], reason: &str) -> ConvertError {
        let named = |&(i, _): &(usize, &LayerInfo)| modules.get(i).map(|m| m.name.as_str());
        let mut names = self.members.iter().filter_map(named);
        let first = names.next().unwrap_or_default().to_string();
        let others: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        ConvertError::Tensor {
            tensor: first,
            reason: format!("cannot be joined with {}: {reason}", others.join(" and ")),
            remedy: REMEDY.into(),
        }
    }

    /// Whether scales are for tiles of several rows.
    fn has_tiles(&self) -> bool {
        let tiles = |layer: &LayerInfo| match layer.scheme.scale_layout() {
            ScaleLayout::Fp8Tiles { rows, .. } => rows > 1 && rows != u32::MAX,
            _ => false,
        };
        self.members.iter().any(|(_, layer)| tiles(layer))
    }

    /// Checks that the members are stored alike.
    fn check(&self, checkpoint: &Checkpoint, modules: &[Module]) -> Result<(), ConvertError> {
        let Some(((_, first), rest)) = self.members.split_first() else { return Ok(()) };
        for (_, layer) in rest {
            let alike = layer.scheme.id() == first.scheme.id()
                && layer.scale_layout(checkpoint) == first.scale_layout(checkpoint);
            if !alike {
                let [own, other] = [first, layer].map(|l| l.scheme.id());
                let reason =
                    format!("one is stored as {own}, another as {other}, or with scales that lie otherwise");
                return Err(self.refused(modules, &reason));
            }
        }
        if !first.is_quantized() {
            return Ok(());
        }
        let mut rows = None;
        for (_, layer) in &self.members {
            rows = scale_rows(checkpoint, layer)
                .map_err(|reason| self.refused(modules, &format!("`{}` {reason}", layer.name)))?;
        }
        let Some(tile) = rows else { return Ok(()) };
        let before_last = self.members.split_last().map(|(_, before)| before).unwrap_or_default();
        let rows = before_last.iter().map(|(_, layer)| layer.shape.first().copied().unwrap_or(0));
        match rows.into_iter().find(|rows| !rows.is_multiple_of(tile.max(1))) {
            Some(rows) => {
                let reason = format!("the {rows} rows of one are no whole tiles of {tile}");
                Err(self.refused(modules, &reason))
            }
            None => Ok(()),
        }
    }

    /// How the tensors of a leaf come together.
    fn together(
        &self,
        modules: &[Module],
        role: Role,
        leaf: &str,
        views: &[&View],
    ) -> Result<Together, ConvertError> {
        let same_type = views.windows(2).all(|w| match w {
            [a, b] => {
                a.dtype == b.dtype && a.shape.get(1..) == b.shape.get(1..) && a.shape.len() == b.shape.len()
            }
            _ => true,
        });
        if !same_type {
            return Err(self.refused(modules, &format!("their `{leaf}` differ in type or shape")));
        }
        let same_shape = views.windows(2).all(|w| matches!(w, [a, b] if a.shape == b.shape));
        let is_scalar = views.iter().all(|view| matches!(view.shape.as_slice(), [] | [1]));
        match role {
            Role::Weight | Role::Bias => Ok(Together::Rows),
            Role::WeightScale if !is_scalar => Ok(Together::Rows),
            Role::WeightScale if self.has_tiles() => {
                Err(self.refused(modules, "each has a single scale for its only tile"))
            }
            Role::WeightScale | Role::GlobalScale | Role::InputScale if is_scalar => Ok(Together::Equal),
            Role::Correction if same_shape => Ok(Together::Equal),
            _ => Err(self.refused(modules, &format!("nobody can tell what their `{leaf}` would mean"))),
        }
    }
}

impl Views {
    /// Joins the groups of which all members are there.
    ///
    /// # Errors
    /// If members of one group are stored differently, or their scales do not let them be one.
    pub(crate) fn join(
        &mut self,
        checkpoint: &Checkpoint,
        model: &Model,
        own_groups: &[Vec<String>],
    ) -> Result<(), ConvertError> {
        let mut tensors_of: Vec<Vec<usize>> = vec![Vec::new(); self.modules.len()];
        for (i, view) in self.tensors.iter().enumerate() {
            if let Some(own) = tensors_of.get_mut(view.module) {
                own.push(i);
            }
        }
        let mut replaced: BTreeMap<usize, View> = BTreeMap::new();
        let mut gone: BTreeSet<usize> = BTreeSet::new();
        let mut members: BTreeSet<usize> = BTreeSet::new();
        for group in self.complete_groups(model, own_groups) {
            let alike = group.check(checkpoint, &self.modules);
            let joined = alike.and_then(|()| self.join_group(&group, &tensors_of));
            let Some((views, without)) = gather(&mut self.refused, joined)? else { continue };
            replaced.extend(views);
            gone.extend(without);
            members.extend(group.members.iter().map(|(i, _)| *i));
        }
        self.rebuild(replaced, &gone, &members);
        Ok(())
    }

    fn complete_groups<'m>(&self, model: &'m Model, own_groups: &[Vec<String>]) -> Vec<Group<'m>> {
        let mut slots: BTreeMap<(&str, usize), Slots<'m>> = BTreeMap::new();
        for (i, module) in self.modules.iter().enumerate() {
            let (parent, last) = module.name.rsplit_once('.').unwrap_or(("", &module.name));
            let Some((group, member, len)) = fused::place_in_group(last, own_groups) else { continue };
            let is_matrix = matches!(module.kind, Kind::Linear | Kind::Expert)
                && self.weight(module).is_some_and(|weight| weight.shape.len() == 2);
            let Some(layer) = model.layers.get(module.layer).filter(|_| is_matrix) else { continue };
            let slots = slots.entry((parent, group)).or_insert_with(|| vec![None; len]);
            if let Some(slot) = slots.get_mut(member) {
                *slot = Some((i, layer));
            }
        }
        let complete = slots.into_iter().filter_map(|((parent, _), slots)| {
            let members: Option<Vec<(usize, &LayerInfo)>> = slots.into_iter().collect();
            Some(Group { parent: parent.to_string(), members: members? })
        });
        complete.collect()
    }

    fn join_group(
        &mut self,
        group: &Group<'_>,
        tensors_of: &[Vec<usize>],
    ) -> Result<Rearranged, ConvertError> {
        let (mut replaced, mut gone) = Rearranged::default();
        let Some(&(first, layer)) = group.members.first() else { return Ok((replaced, gone)) };
        let modules: Vec<Module> =
            group.members.iter().filter_map(|&(i, _)| self.modules.get(i).cloned()).collect();
        let lasts: Vec<&str> = modules.iter().filter_map(|m| m.name.rsplit('.').next()).collect();
        let dot = if group.parent.is_empty() { "" } else { "." };
        let name = format!("{}{dot}{}", group.parent, joined_name(&lasts));
        if self.find(&name).is_some() {
            return Err(group.refused(&self.modules, &format!("`{name}` is there already")));
        }
        let index = self.modules.len();
        let of = |module: usize| tensors_of.get(module).map(Vec::as_slice).unwrap_or_default();
        let mut weight = None;
        let mut joined: BTreeSet<usize> = BTreeSet::new();
        for &at in of(first) {
            let Some(view) = self.tensors.get(at) else { continue };
            let role = role_of(layer.scheme, &view.leaf).0;
            if role == Role::KvScale {
                continue;
            }
            let same_leaf = |&i: &usize| self.tensors.get(i).is_some_and(|v| v.leaf == view.leaf);
            let places: Vec<usize> =
                group.members.iter().filter_map(|&(m, _)| of(m).iter().copied().find(same_leaf)).collect();
            let views: Vec<&View> = places.iter().filter_map(|&i| self.tensors.get(i)).collect();
            if views.len() != group.members.len() {
                return Err(
                    group.refused(&self.modules, &format!("only some of them have a `{}`", view.leaf))
                );
            }
            let together = group.together(&self.modules, role, &view.leaf, &views)?;
            let others: Vec<Place> = views.iter().skip(1).map(|v| v.place.clone()).collect();
            let mut shape = view.shape.clone();
            let beyond = match together {
                Together::Rows => {
                    let rows = views.iter().try_fold(0_u64, |n, v| n.checked_add(v.shape.first().copied()?));
                    match (rows, shape.first_mut()) {
                        (Some(rows), Some(first)) => *first = rows,
                        _ => {
                            return Err(
                                group.refused(&self.modules, "their rows are more than can be counted")
                            );
                        }
                    }
                    Beyond::Rows(others)
                }
                Together::Equal => Beyond::Equal(others),
            };
            let is_weight = modules.first().is_some_and(|m| m.weight == Some(at));
            let new = View {
                name: Naming::Dotted.tensor(&name, &view.leaf),
                module: index,
                shape,
                beyond,
                ..view.clone()
            };
            weight = if is_weight { Some(at) } else { weight };
            joined.extend(&places);
            gone.extend(places.iter().skip(1));
            replaced.insert(at, new);
        }
        let stray = group.members.iter().flat_map(|&(m, _)| of(m)).filter(|i| !joined.contains(i));
        let strays: Vec<usize> = stray.copied().collect();
        for i in strays {
            let Some(view) = self.tensors.get_mut(i) else { continue };
            if role_of(layer.scheme, &view.leaf).0 != Role::KvScale {
                let leaf = view.leaf.clone();
                return Err(group.refused(&self.modules, &format!("only some of them have a `{leaf}`")));
            }
            // A scale of the cache stays under the name that readers of caches look for.
            view.module = index;
        }
        let member = |m: &Module| Member { layer: m.layer, name: m.name.clone() };
        for module in &modules {
            self.by_name.insert(module.name.clone(), index);
        }
        self.by_name.insert(name.clone(), index);
        self.modules.push(Module {
            name,
            before: None,
            is_part: true,
            joined: modules.iter().map(member).collect(),
            naming: Naming::Dotted,
            weight,
            bytes: modules.iter().fold(0, |n, m| n.saturating_add(m.bytes)),
            layer: modules.first().map_or(0, |m| m.layer),
            kind: modules.first().map_or(Kind::Linear, |m| m.kind),
            stack: None,
            twin_of: None,
        });
        Ok((replaced, gone))
    }

    /// Puts joined tensors in the place of the first of each, and takes the modules out that have become others.
    fn rebuild(
        &mut self,
        mut replaced: BTreeMap<usize, View>,
        gone: &BTreeSet<usize>,
        members: &BTreeSet<usize>,
    ) {
        let mut new_module = Vec::with_capacity(self.modules.len());
        let mut count = 0;
        for i in 0..self.modules.len() {
            let stays = !members.contains(&i);
            new_module.push(stays.then_some(count));
            count += usize::from(stays);
        }
        let mut new_tensor = Vec::with_capacity(self.tensors.len());
        let mut tensors = Vec::new();
        for (i, view) in std::mem::take(&mut self.tensors).into_iter().enumerate() {
            new_tensor.push(tensors.len());
            if gone.contains(&i) {
                continue;
            }
            let mut view = replaced.remove(&i).unwrap_or(view);
            view.module = new_module.get(view.module).copied().flatten().unwrap_or(usize::MAX);
            tensors.push(view);
        }
        self.tensors = tensors;
        let mut at = new_module.iter();
        self.modules.retain(|_| at.next().copied().flatten().is_some());
        for module in &mut self.modules {
            module.weight = module.weight.and_then(|i| new_tensor.get(i).copied());
        }
        self.by_name.retain(|_, module| match new_module.get(*module).copied().flatten() {
            Some(new) => {
                *module = new;
                true
            }
            None => false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::joined_name;

    /// Names that runtimes and model definitions use for joined matrices.
    #[test]
    fn joined_modules_have_the_names_that_are_in_use() {
        for (members, name) in [
            (["q_proj", "k_proj", "v_proj"].as_slice(), "qkv_proj"),
            (&["gate_proj", "up_proj"], "gate_up_proj"),
            (&["w1", "w3"], "w13"),
            (&["to_q", "to_k", "to_v"], "to_qkv"),
            (&["add_q_proj", "add_k_proj", "add_v_proj"], "add_qkv_proj"),
            (&["query", "key", "value"], "query_key_value"),
        ] {
            assert_eq!(joined_name(members), name);
        }
    }
}
