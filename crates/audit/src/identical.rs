//! Weights with identical bytes: found by a 64-bit hash, confirmed byte by byte.

use crate::bytes::ByteAuditError;
use crate::checkpoint::Checkpoint;
use crate::model::{LayerInfo, Model};
use crate::reader::Reader;
use crate::report::Tie;
use crate::ties::{self, DeclaredTie, InputScales};
use quantscope_numeric::Dtype;
use quantscope_schemes::{INPUT_SCALE_LEAF, TIED_LEAVES, WEIGHT_LEAF};
use std::collections::{BTreeMap, BTreeSet};

/// Layers whose weight has a twin in dtype and shape, so that hashing it can tell something.
pub(crate) struct Candidates {
    names: BTreeSet<String>,
}

impl Candidates {
    /// Vectors and scalars are left out: norms of a fresh model are equal without being tied.
    pub(crate) fn of(checkpoint: &Checkpoint, model: &Model) -> Self {
        let mut alike: BTreeMap<(Dtype, &[u64]), Vec<&str>> = BTreeMap::new();
        for layer in &model.layers {
            let Some((shard, tensor)) = layer.tensor(checkpoint, WEIGHT_LEAF) else { continue };
            if tensor.shape.len() >= 2 && tensor.byte_len() > 0 && shard.header.is_readable(tensor) {
                alike.entry((tensor.dtype, &tensor.shape)).or_default().push(&layer.name);
            }
        }
        let twins = alike.into_values().filter(|names| names.len() > 1).flatten();
        Self { names: twins.map(str::to_string).collect() }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

/// Turns equal hashes into tie groups, comparing every byte, and adds the ties that configs declare.
pub(crate) async fn confirm(
    reader: &mut Reader<'_>,
    model: &Model,
    hashes: Vec<(&LayerInfo, u64)>,
) -> Result<Vec<Tie>, ByteAuditError> {
    let checkpoint = reader.checkpoint();
    let declared = ties::declared(checkpoint, model);
    let mut by_hash: BTreeMap<u64, Vec<&LayerInfo>> = BTreeMap::new();
    for (layer, hash) in hashes {
        by_hash.entry(hash).or_default().push(layer);
    }
    let suspects: Vec<Vec<&LayerInfo>> = by_hash.into_values().filter(|group| group.len() > 1).collect();
    let leaves = |l: &&LayerInfo| {
        let sizes =
            TIED_LEAVES.iter().filter_map(|leaf| l.tensor(checkpoint, leaf)).map(|(_, t)| t.byte_len());
        sizes.fold(0_u64, u64::saturating_add)
    };
    // Each layer but the first of its group is compared with the first: two reads of everything it shares.
    let compared = suspects.iter().flat_map(|group| group.iter().skip(1)).map(leaves);
    let total = compared.fold(0_u64, u64::saturating_add).saturating_mul(2);
    reader.begin("Comparing equal hashes", total);
    let mut groups = Vec::new();
    for suspects in suspects {
        groups.extend(split_by_bytes(reader, suspects, &declared).await?);
    }
    for tie in ties::declared_groups(checkpoint, model) {
        let known =
            |g: &Tie| tie.aliases.iter().all(|a| g.aliases.contains(a)) && g.canonical == tie.canonical;
        if !groups.iter().any(known) {
            groups.push(tie);
        }
    }
    Ok(groups)
}

/// Splits layers of one hash into groups of truly equal bytes.
async fn split_by_bytes(
    reader: &mut Reader<'_>,
    mut rest: Vec<&LayerInfo>,
    declared: &[DeclaredTie],
) -> Result<Vec<Tie>, ByteAuditError> {
    let mut groups = Vec::new();
    // The canonical side first: the one that a declaration names, else the first in natural order.
    rest.sort_by_key(|l| !declared.iter().any(|d| d.canonical == l.name));
    while let Some((&first, others)) = rest.split_first() {
        let (mut aliases, mut different) = (Vec::new(), Vec::new());
        for &other in others {
            let same = equal_bytes(reader, first, other, WEIGHT_LEAF).await?;
            if same { aliases.push(other) } else { different.push(other) }
        }
        if !aliases.is_empty() {
            groups.push(tie(reader, first, &aliases, declared).await?);
        }
        rest = different;
    }
    Ok(groups)
}

async fn tie(
    reader: &mut Reader<'_>,
    canonical: &LayerInfo,
    aliases: &[&LayerInfo],
    declared: &[DeclaredTie],
) -> Result<Tie, ByteAuditError> {
    let mut saved = 0_u64;
    let mut inputs = InputScales::Equal;
    for alias in aliases {
        for leaf in TIED_LEAVES {
            let Some((_, tensor)) = alias.tensor(reader.checkpoint(), leaf) else {
                if *leaf == INPUT_SCALE_LEAF {
                    inputs = InputScales::Absent;
                }
                continue;
            };
            let same = *leaf == WEIGHT_LEAF || equal_bytes(reader, canonical, alias, leaf).await?;
            if same {
                saved = saved.saturating_add(tensor.byte_len());
            } else if *leaf == INPUT_SCALE_LEAF && inputs == InputScales::Equal {
                inputs = InputScales::Differ;
            }
        }
    }
    let names: Vec<String> = aliases.iter().map(|l| l.name.clone()).collect();
    let is_declared =
        names.iter().all(|a| declared.iter().any(|d| d.alias == *a && d.canonical == canonical.name));
    Ok(Tie {
        canonical: canonical.name.clone(),
        aliases: names,
        bytes_saved: saved,
        evidence: if is_declared { "both" } else { "identical" }.into(),
        input_scale: inputs.id().into(),
    })
}

/// Whether two layers' tensors of one leaf are equal in dtype, shape and every byte.
async fn equal_bytes(
    reader: &mut Reader<'_>,
    a: &LayerInfo,
    b: &LayerInfo,
    leaf: &str,
) -> Result<bool, ByteAuditError> {
    let checkpoint = reader.checkpoint();
    let (Some(at_a), Some(at_b)) = (a.member(leaf), b.member(leaf)) else { return Ok(false) };
    let (Some((shard_a, ta)), Some((shard_b, tb))) =
        (checkpoint.tensor(at_a.shard, at_a.tensor), checkpoint.tensor(at_b.shard, at_b.tensor))
    else {
        return Ok(false);
    };
    let readable = shard_a.header.is_readable(ta) && shard_b.header.is_readable(tb);
    if !readable || ta.dtype != tb.dtype || ta.shape != tb.shape {
        return Ok(false);
    }
    let step = (reader.limits().tile_bytes / 2).max(1);
    let mut offset = 0;
    while offset < ta.byte_len() {
        let length = step.min(ta.byte_len() - offset);
        let left = reader.read_vec(at_a.shard, ta, offset, length).await?;
        let right = reader.read_vec(at_b.shard, tb, offset, length).await?;
        if left != right {
            return Ok(false);
        }
        offset += length;
    }
    Ok(true)
}
