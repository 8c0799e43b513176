//! Weights with identical bytes: found by a 64-bit hash, confirmed byte by byte.

use crate::bytes::ByteAuditError;
use crate::checkpoint::Checkpoint;
use crate::model::{LayerInfo, Model};
use crate::reader::Reader;
use crate::report::{Finding, Tie};
use crate::rules::ties as tie_rules;
use crate::rules::values::Observed;
use crate::ties::{self, DeclaredTie, InputScales};
use quantscope_format::Arrange as _;
use quantscope_numeric::Dtype;
use quantscope_schemes::{INPUT_SCALE_LEAF, Role, TIED_LEAVES, WEIGHT_LEAF};
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
                alike.entry((tensor.dtype, tensor.shape)).or_default().push(&layer.name);
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
    rest.arrange_by_key(|l| !declared.iter().any(|d| d.canonical == l.name));
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

/// Declared ties whose sides are stored alike and yet differ: those that were hashed and are in no group.
pub(crate) async fn broken_ties(
    reader: &mut Reader<'_>,
    model: &Model,
    groups: &[Tie],
    hashed: &BTreeSet<&str>,
) -> Result<Vec<Finding>, ByteAuditError> {
    let mut findings = Vec::new();
    for tie in ties::declared(reader.checkpoint(), model) {
        let same = groups.iter().filter(|g| g.evidence != "declared").any(|g| {
            let holds = |name: &String| g.canonical == *name || g.aliases.contains(name);
            holds(&tie.alias) && holds(&tie.canonical)
        });
        let (Some(alias), Some(canonical)) = (model.layer(&tie.alias), model.layer(&tie.canonical)) else {
            continue;
        };
        if same || !hashed.contains(tie.alias.as_str()) || !hashed.contains(tie.canonical.as_str()) {
            continue;
        }
        if let Compared::Differ(at) = compare(reader, alias, canonical, WEIGHT_LEAF).await? {
            findings.push(tie_rules::different(&tie, at));
        }
    }
    Ok(findings)
}

/// Ties of equal bytes whose activation scales differ, with both values.
pub(crate) fn different_inputs(groups: &[Tie], observed: &Observed) -> Vec<Finding> {
    let differ = groups.iter().filter(|g| g.input_scale == InputScales::Differ.id());
    let mut findings = Vec::new();
    for group in differ {
        let Some(kept) = observed.get(&group.canonical, Role::InputScale) else { continue };
        for alias in &group.aliases {
            let own = observed.get(alias, Role::InputScale).filter(|own| own.to_bits() != kept.to_bits());
            findings.extend(own.map(|own| tie_rules::input_scales((&group.canonical, kept), (alias, own))));
        }
    }
    findings
}

/// How two tensors compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    /// Every byte is equal.
    Same,
    /// The first byte that is not.
    Differ(u64),
    /// They are stored in different forms, or one cannot be read.
    Apart,
}

/// Whether two layers' tensors of one leaf are equal in dtype, shape and every byte.
async fn equal_bytes(
    reader: &mut Reader<'_>,
    a: &LayerInfo,
    b: &LayerInfo,
    leaf: &str,
) -> Result<bool, ByteAuditError> {
    Ok(compare(reader, a, b, leaf).await? == Compared::Same)
}

async fn compare(
    reader: &mut Reader<'_>,
    a: &LayerInfo,
    b: &LayerInfo,
    leaf: &str,
) -> Result<Compared, ByteAuditError> {
    let checkpoint = reader.checkpoint();
    let (Some(at_a), Some(at_b)) = (a.member(leaf), b.member(leaf)) else { return Ok(Compared::Apart) };
    let (Some((shard_a, ta)), Some((shard_b, tb))) =
        (checkpoint.tensor(at_a.shard, at_a.tensor), checkpoint.tensor(at_b.shard, at_b.tensor))
    else {
        return Ok(Compared::Apart);
    };
    let readable = shard_a.header.is_readable(ta) && shard_b.header.is_readable(tb);
    if !readable || ta.dtype != tb.dtype || ta.shape != tb.shape {
        return Ok(Compared::Apart);
    }
    let step = (reader.limits().tile_bytes / 2).max(1);
    let mut offset = 0;
    while offset < ta.byte_len() {
        let length = step.min(ta.byte_len() - offset);
        let left = reader.read_vec(at_a.shard, ta, offset, length).await?;
        let right = reader.read_vec(at_b.shard, tb, offset, length).await?;
        if let Some(at) = left.iter().zip(&right).position(|(a, b)| a != b) {
            return Ok(Compared::Differ(offset.saturating_add(u64::try_from(at).unwrap_or(0))));
        }
        offset += length;
    }
    Ok(Compared::Same)
}
