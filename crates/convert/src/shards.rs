//! Which tensor goes to which file: shards of a wanted size, and what the files are called.
//!
//! Sizes count the bytes of tensors, without headers, as the libraries that write shards do. Tensors of one module
//! stay together: a weight without its scales is of no use.

use crate::configs::{is_diffusers, plain_name};
use crate::layout::Entry;
use quantscope_audit::Checkpoint;
use quantscope_format::TensorSpec;
use quantscope_schemes::split_name;
use std::collections::HashMap;

/// What libraries call the one weight file of a component of diffusers.
const DIFFUSERS_STEM: &str = "diffusion_pytorch_model";

/// Bytes of a tensor; saturating, since laying the file out refuses what cannot be counted.
fn byte_len(spec: &TensorSpec) -> u64 {
    let elements = spec.shape.iter().fold(1_u64, |n, &d| n.saturating_mul(d));
    spec.dtype.byte_len(elements).unwrap_or(u64::MAX)
}

/// Cuts entries into shards of at most `most` bytes, in their order. A module that is larger has a shard of its own.
/// There is always one shard, if an empty one.
pub(crate) fn cut(entries: Vec<Entry>, most: u64) -> Vec<Vec<Entry>> {
    let mut modules: Vec<(u64, Vec<Entry>)> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for entry in entries {
        let module = split_name(&entry.0.name).0.to_string();
        let at = *known.entry(module).or_insert_with(|| {
            modules.push((0, Vec::new()));
            modules.len() - 1
        });
        if let Some((bytes, members)) = modules.get_mut(at) {
            *bytes = bytes.saturating_add(byte_len(&entry.0));
            members.push(entry);
        }
    }
    let mut shards = Vec::new();
    let (mut filled, mut shard) = (0_u64, Vec::new());
    for (bytes, members) in modules {
        if filled.saturating_add(bytes) > most && !shard.is_empty() {
            shards.push(std::mem::take(&mut shard));
            filled = 0;
        }
        filled = filled.saturating_add(bytes);
        shard.extend(members);
    }
    if !shard.is_empty() || shards.is_empty() {
        shards.push(shard);
    }
    shards
}

/// What file names begin with: the name that the component's own library looks for.
pub(crate) fn stem(checkpoint: &Checkpoint) -> String {
    let first = checkpoint.shards.first().map_or("", |s| plain_name(&s.file));
    let base = first.strip_suffix(".safetensors").unwrap_or(first);
    // What comes after the stem is `-00001-of-00004`, a variant such as `.fp16`, or both.
    let numbered = base.rsplit_once("-of-").and_then(|(before, _)| before.rsplit_once('-'));
    let base = numbered.map_or(base, |(stem, _)| stem);
    match base {
        "" => "model".into(),
        _ if base.starts_with(DIFFUSERS_STEM) || is_diffusers(checkpoint) => base.into(),
        _ => "model".into(),
    }
}

/// Names of that many shards, from `-00001-of-0000N` on; a single one goes without a number.
pub(crate) fn names(stem: &str, count: usize) -> Vec<String> {
    if count == 1 {
        return vec![format!("{stem}.safetensors")];
    }
    (1..=count).map(|i| format!("{stem}-{i:05}-of-{count:05}.safetensors")).collect()
}

#[cfg(test)]
mod tests {
    use super::{cut, names};
    use crate::layout::Entry;
    use crate::plan::Step;
    use quantscope_format::TensorSpec;
    use quantscope_numeric::Dtype;

    fn entry(name: &str, bytes: u64) -> Entry {
        let spec = TensorSpec { name: name.into(), dtype: Dtype::U8, shape: vec![bytes] };
        (spec, Step::Constant(0.0))
    }

    fn shards(entries: &[(&str, u64)], most: u64) -> Vec<Vec<String>> {
        let entries = entries.iter().map(|(name, bytes)| entry(name, *bytes)).collect();
        let name = |(spec, _): Entry| spec.name;
        cut(entries, most).into_iter().map(|shard| shard.into_iter().map(name).collect()).collect()
    }

    #[test]
    fn shards_are_filled_in_order() {
        let entries = [("a.weight", 4), ("b.weight", 4), ("c.weight", 4), ("d.weight", 2), ("e.weight", 2)];
        assert_eq!(
            shards(&entries, 8),
            [vec!["a.weight", "b.weight"], vec!["c.weight", "d.weight", "e.weight"]]
        );
        assert_eq!(shards(&entries, 16).len(), 1);
        assert_eq!(shards(&entries, 15).len(), 2);
    }

    #[test]
    fn what_is_larger_has_a_shard_of_its_own() {
        let entries = [("a.weight", 1), ("b.weight", 90), ("c.weight", 1), ("d.weight", 1)];
        assert_eq!(shards(&entries, 8), [vec!["a.weight"], vec!["b.weight"], vec!["c.weight", "d.weight"]]);
        assert_eq!(shards(&entries, 1).len(), 4);
    }

    /// A header lists types apart: the scale of `a` comes after the weight of `b`.
    #[test]
    fn companions_stay_with_their_weight() {
        let entries = [("a.weight", 6), ("b.weight", 6), ("a.weight_scale", 3), ("b.weight_scale", 3)];
        assert_eq!(
            shards(&entries, 10),
            [vec!["a.weight", "a.weight_scale"], vec!["b.weight", "b.weight_scale"]]
        );
    }

    #[test]
    fn nothing_is_one_empty_shard() {
        assert_eq!(shards(&[], 8), [Vec::<String>::new()]);
    }

    #[test]
    fn a_hundred_thousand_tensors_are_cut_at_once() {
        let begun = std::time::Instant::now();
        let entries: Vec<Entry> = (0..50_000)
            .map(|i| entry(&format!("l.{i}.weight"), 100))
            .chain((0..50_000).map(|i| entry(&format!("l.{i}.weight_scale"), 10)))
            .collect();
        let shards = cut(entries, 1_100);
        assert_eq!(shards.len(), 5_000);
        assert!(shards.iter().all(|shard| shard.len() == 20));
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }

    #[test]
    fn names_are_those_of_the_hub() {
        assert_eq!(names("model", 1), ["model.safetensors"]);
        assert_eq!(names("vae", 2), ["vae-00001-of-00002.safetensors", "vae-00002-of-00002.safetensors"]);
    }
}
