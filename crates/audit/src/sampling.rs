//! Which layers the statistics of layouts look at, and how much of each: a few dozen layers, a bounded
//! sample of each, whatever the size of the checkpoint. A layout is a habit of the writer, not of a layer.

use crate::bytes::ByteAuditError;
use crate::findings::Findings;
use crate::forensics::{
    CodeSample, ColumnProfile, Evidence, Order, ScaleSample, TILE_COLS, TILE_ROWS, nibbles_look_exchanged,
    profiles_disagree, scale_order,
};
use crate::model::{LayerInfo, Model};
use crate::names::fused_groups;
use crate::reader::Reader;
use crate::report::Finding;
use crate::rules::layout;
use quantscope_numeric::Dtype;
use quantscope_schemes::ScaleLayout;
use std::collections::{BTreeMap, BTreeSet};

/// Layers looked at alone, and groups of layers that read the same input.
const LAYERS: usize = 32;
const GROUPS: usize = 12;
/// Bytes of a sample, and rows of codes.
const SAMPLE_BYTES: usize = 256 << 10;
const SAMPLE_ROWS: usize = 64;

/// A packed layer: names and sizes of what is sampled.
#[derive(Clone, Copy)]
struct Packed<'a> {
    layer: &'a LayerInfo,
    scale: &'static str,
    block: usize,
    rows: usize,
    row_bytes: usize,
}

fn packed<'a>(reader: &Reader<'_>, layer: &'a LayerInfo) -> Option<Packed<'a>> {
    let ScaleLayout::Fp4Blocks { block, scale, .. } = layer.scale_layout(reader.checkpoint()) else {
        return None;
    };
    let (shard, weight) = layer.tensor(reader.checkpoint(), layer.weight_leaf())?;
    let &[rows, row_bytes] = weight.shape else { return None };
    let usable = weight.dtype == Dtype::U8 && shard.header.is_readable(weight) && rows > 0 && row_bytes > 0;
    let (rows, row_bytes) = (usize::try_from(rows).ok()?, usize::try_from(row_bytes).ok()?);
    let block = usize::try_from(block).ok()?;
    (usable && row_bytes <= SAMPLE_BYTES).then_some(Packed { layer, scale, block, rows, row_bytes })
}

/// At most `most` items, evenly spread.
fn spread<T>(items: Vec<T>, most: usize) -> Vec<T> {
    let step = items.len().div_ceil(most.max(1)).max(1);
    items.into_iter().step_by(step).collect()
}

/// Looks at layouts and tells what looks wrong.
pub(crate) async fn check(
    reader: &mut Reader<'_>,
    model: &Model,
    findings: &mut Findings,
) -> Result<(), ByteAuditError> {
    let all: Vec<Packed<'_>> = model.layers.iter().filter_map(|l| packed(reader, l)).collect();
    let groups: Vec<Vec<Packed<'_>>> = fused_groups(model)
        .into_iter()
        .map(|g| g.members.into_iter().filter_map(|l| packed(reader, l)).collect::<Vec<_>>())
        .filter(|g| g.len() > 1)
        .collect();
    let (layers, groups) = (spread(all, LAYERS), spread(groups, GROUPS));
    let mut names = BTreeSet::new();
    let chosen = layers.iter().chain(groups.iter().flatten()).filter(|p| names.insert(p.layer.name.as_str()));
    let chosen: Vec<Packed<'_>> = chosen.copied().collect();
    let sample = u64::try_from(SAMPLE_BYTES).unwrap_or(u64::MAX);
    let bytes = |p: &Packed<'_>| p.layer.bytes.min(sample.saturating_mul(2));
    reader.begin("Comparing layouts", chosen.iter().map(bytes).fold(0, u64::saturating_add));
    let mut profiles: BTreeMap<&str, ColumnProfile> = BTreeMap::new();
    for layer in &chosen {
        let scales = scales(reader, layer).await?;
        // What a header says of the order is expected; else rows are, since that is how most readers take them.
        let form = layer.layer.scheme.packed_form(&layer.layer.view(reader.checkpoint()));
        let noted = form.filter(|f| f.is_shape_known).map(|f| f.scales.1.is_tiled);
        match scales {
            Some((order @ Order::Tiled, evidence)) if noted != Some(true) => {
                findings.push(layout::scale_order(layer.layer, order, &evidence));
            }
            Some((order @ Order::Linear, evidence)) if noted == Some(true) => {
                findings.push(layout::scale_order(layer.layer, order, &evidence));
            }
            _ => {}
        }
        let bytes = codes(reader, layer).await?;
        let sample = CodeSample { bytes: &bytes, row_bytes: layer.row_bytes };
        if let Some(evidence) = nibbles_look_exchanged(&sample) {
            findings.push(layout::nibbles(layer.layer, &evidence));
        }
        profiles.insert(&layer.layer.name, ColumnProfile::of(&sample, layer.block));
    }
    for group in &groups {
        let with = group.iter().filter_map(|p| Some((p.layer, profiles.get(p.layer.name.as_str())?)));
        findings.extend(odd_one(&with.collect::<Vec<_>>()));
    }
    Ok(())
}

/// The first rows of codes.
async fn codes(reader: &mut Reader<'_>, layer: &Packed<'_>) -> Result<Vec<u8>, ByteAuditError> {
    let rows = layer.rows.min(SAMPLE_ROWS).min((SAMPLE_BYTES / layer.row_bytes).max(1));
    read(reader, layer.layer, layer.layer.weight_leaf(), 0, rows.saturating_mul(layer.row_bytes)).await
}

/// Bytes of a tensor, read in pieces of the budget.
async fn read(
    reader: &mut Reader<'_>,
    layer: &LayerInfo,
    leaf: &str,
    offset: u64,
    length: usize,
) -> Result<Vec<u8>, ByteAuditError> {
    let place =
        layer.member(leaf).and_then(|m| Some((m.shard, reader.checkpoint().tensor(m.shard, m.tensor)?.1)));
    let Some((shard, tensor)) = place else { return Ok(Vec::new()) };
    let mut bytes = vec![0; length];
    let piece = usize::try_from(reader.limits().tile_bytes).unwrap_or(usize::MAX).max(1);
    let mut at = offset;
    for piece in bytes.chunks_mut(piece) {
        reader.read(shard, tensor, at, piece).await?;
        at = at.saturating_add(u64::try_from(piece.len()).unwrap_or(0));
    }
    Ok(bytes)
}

/// The order of a layer's scales, where their tensor has the sizes of tiles.
async fn scales(
    reader: &mut Reader<'_>,
    layer: &Packed<'_>,
) -> Result<Option<(Order, Evidence)>, ByteAuditError> {
    let Some((shard, tensor)) = layer.layer.tensor(reader.checkpoint(), layer.scale) else { return Ok(None) };
    let &[high, wide] = tensor.shape else { return Ok(None) };
    let sizes = (usize::try_from(high), usize::try_from(wide));
    let (Ok(high), Ok(cols)) = sizes else { return Ok(None) };
    let blocks = layer.row_bytes.saturating_mul(2).div_ceil(layer.block.max(1));
    let group = TILE_ROWS.saturating_mul(cols);
    let tiled = high % TILE_ROWS == 0 && cols % TILE_COLS == 0 && high >= layer.rows && cols >= blocks;
    if !tiled
        || group == 0
        || group > SAMPLE_BYTES
        || tensor.dtype != Dtype::F8_E4M3
        || !shard.header.is_readable(tensor)
    {
        return Ok(None);
    }
    // The last groups hold the padding of rows.
    let groups = high / TILE_ROWS;
    let taken = groups.min(SAMPLE_BYTES / group);
    let first = groups - taken;
    let offset = u64::try_from(first.saturating_mul(group)).unwrap_or(0);
    let bytes = read(reader, layer.layer, layer.scale, offset, taken.saturating_mul(group)).await?;
    let rows = (first..groups).map(|g| layer.rows.saturating_sub(g.saturating_mul(TILE_ROWS)).min(TILE_ROWS));
    Ok(scale_order(&ScaleSample { bytes: &bytes, cols, rows: rows.collect(), blocks }))
}

/// The layer of a group that differs from the others; of two, neither is known to be the wrong one.
fn odd_one(group: &[(&LayerInfo, &ColumnProfile)]) -> Option<Finding> {
    let mut disagreements: Vec<(usize, usize, Evidence)> = Vec::new();
    for (i, (_, a)) in group.iter().enumerate() {
        for (j, (_, b)) in group.iter().enumerate().skip(i + 1) {
            disagreements.extend(profiles_disagree(a, b).map(|evidence| (i, j, evidence)));
        }
    }
    let (i, j, evidence) = disagreements.first()?;
    let involved = |k: usize| disagreements.iter().filter(|(a, b, _)| *a == k || *b == k).count();
    let (odd, other) = if involved(*j) > involved(*i) { (*j, *i) } else { (*i, *j) };
    let sure = involved(odd) > 1 && involved(odd) == disagreements.len();
    let ((odd, _), (other, _)) = (group.get(odd)?, group.get(other)?);
    Some(layout::nibbles_apart(odd, other, sure, evidence))
}
