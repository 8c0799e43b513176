//! What module paths tell: experts, repeated blocks, layers that runtimes fuse, towers beside the
//! language model.
//!
//! Source of the fused groups: `formats.md` h, and the stacked parameters of vLLM's model files
//! (`qkv_proj`, `gate_up_proj`, `fused_qkv_a_proj`, `in_proj_qkvz`, `in_proj_ba`).

use crate::model::{LayerInfo, Model};
use std::collections::BTreeMap;

/// Last segments that are loaded as one matrix when they stand under one parent.
const FUSED: &[&[&str]] = &[
    &["q_proj", "k_proj", "v_proj"],
    &["gate_proj", "up_proj"],
    &["w1", "w3"],
    &["q_a_proj", "kv_a_proj_with_mqa"],
    &["in_proj_qkv", "in_proj_z"],
    &["in_proj_a", "in_proj_b"],
    &["to_q", "to_k", "to_v"],
    &["add_q_proj", "add_k_proj", "add_v_proj"],
];

/// Segments under which a model keeps its vision tower.
const VISION: &[&str] =
    &["vision_tower", "visual", "vision_model", "vision_encoder", "embed_vision", "multi_modal_projector"];

/// Segments of a path that are looked at. Real paths have a dozen; a name of thousands would cost their square.
const DEPTH: usize = 64;

/// The modules that a module is part of, the outermost first.
pub(crate) fn ancestors(module: &str) -> impl DoubleEndedIterator<Item = &str> {
    let dots: Vec<usize> = module.match_indices('.').take(DEPTH).map(|(dot, _)| dot).collect();
    dots.into_iter().filter_map(|dot| module.get(..dot))
}

/// The endings of a path that begin at a segment, the longest first; not the path itself.
pub(crate) fn endings(module: &str) -> impl Iterator<Item = &str> {
    let mut dots: Vec<usize> = module.rmatch_indices('.').take(DEPTH).map(|(dot, _)| dot).collect();
    dots.reverse();
    dots.into_iter().filter_map(|dot| module.get(dot + 1..))
}

fn is_number(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit())
}

/// One expert's module: the path up to `experts`, the expert's number, the rest.
///
/// `layers.0.mlp.experts.12.up_proj` is expert 12 of `layers.0.mlp.experts`, its `up_proj`.
pub(crate) fn expert(module: &str) -> Option<(&str, u64, &str)> {
    for (at, word) in module.match_indices("experts.") {
        let end = at + word.len();
        let begins = at == 0 || module.get(..at).is_some_and(|s| s.ends_with('.'));
        let Some(rest) = module.get(end..).filter(|_| begins) else { continue };
        let (number, rest) = rest.split_once('.').unwrap_or((rest, ""));
        if is_number(number)
            && let (Ok(id), Some(block)) = (number.parse(), module.get(..end - 1))
        {
            return Some((block, id, rest));
        }
    }
    None
}

/// The path with every number replaced, so that the same layer of all blocks has one name.
pub(crate) fn without_numbers(module: &str) -> String {
    let segments = module.split('.').map(|s| if is_number(s) { "*" } else { s });
    segments.collect::<Vec<_>>().join(".")
}

/// Whether a module belongs to a vision tower.
pub(crate) fn is_vision(module: &str) -> bool {
    module.split('.').any(|segment| VISION.contains(&segment))
}

/// Layers that runtimes load as one.
pub(crate) struct FusedGroup<'a> {
    /// The path above them.
    pub(crate) parent: &'a str,
    /// Two or more, in natural order.
    pub(crate) members: Vec<&'a LayerInfo>,
}

impl FusedGroup<'_> {
    /// The parent and the last segments: `self_attn.{q_proj, k_proj}`.
    pub(crate) fn label(&self) -> String {
        let names: Vec<&str> = self.members.iter().map(|l| last_segment(&l.name)).collect();
        let dot = if self.parent.is_empty() { "" } else { "." };
        format!("{}{dot}{{{}}}", self.parent, names.join(", "))
    }
}

/// The last segment of a path.
pub(crate) fn last_segment(module: &str) -> &str {
    module.rsplit('.').next().unwrap_or(module)
}

/// The fused groups of a model, by parent.
pub(crate) fn fused_groups(model: &Model) -> Vec<FusedGroup<'_>> {
    let mut groups: BTreeMap<(&str, usize), Vec<&LayerInfo>> = BTreeMap::new();
    for layer in &model.layers {
        let (parent, last) = layer.name.rsplit_once('.').unwrap_or(("", &layer.name));
        let has_weight = layer.member(layer.weight_leaf()).is_some();
        if let Some(group) = FUSED.iter().position(|names| names.contains(&last)).filter(|_| has_weight) {
            groups.entry((parent, group)).or_default().push(layer);
        }
    }
    let groups = groups.into_iter().filter(|(_, members)| members.len() > 1);
    groups.map(|((parent, _), members)| FusedGroup { parent, members }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn experts_are_numbered_segments() {
        assert_eq!(expert("l.0.mlp.experts.12.up_proj"), Some(("l.0.mlp.experts", 12, "up_proj")));
        assert_eq!(expert("experts.3"), Some(("experts", 3, "")));
        assert_eq!(expert("mlp.shared_experts.up_proj"), None);
        assert_eq!(expert("mlp.shared_experts.0.up_proj"), None);
        assert_eq!(expert("mlp.experts.99999999999999999999.up_proj"), None);
    }

    #[test]
    fn paths_are_cut_at_dots() {
        assert_eq!(ancestors("a.b.c").collect::<Vec<_>>(), ["a", "a.b"]);
        assert_eq!(endings("a.b.c").collect::<Vec<_>>(), ["b.c", "c"]);
        let long = "a.".repeat(5000);
        assert_eq!((ancestors(&long).count(), endings(&long).count()), (DEPTH, DEPTH));
    }

    #[test]
    fn numbers_are_replaced_whole() {
        assert_eq!(without_numbers("layers.10.conv2.3"), "layers.*.conv2.*");
    }
}
