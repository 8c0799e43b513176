//! Where the bytes are: layers summed up by module, at the depth at which a picture can still show them.

use crate::api::SizeCell;
use quantscope_audit::LayerInfo;
use std::collections::BTreeMap;

/// Most cells of the picture.
const MOST: usize = 150;
/// Deepest module path that is tried.
const DEEPEST: usize = 12;

/// The first `depth` segments of a module path.
fn prefix(name: &str, depth: usize) -> &str {
    let end = name.match_indices('.').nth(depth - 1).map_or(name.len(), |(dot, _)| dot);
    name.get(..end).unwrap_or(name)
}

/// Sums layers up by module and scheme; `None` if there are more cells than a picture shows.
fn cells(layers: &[LayerInfo], depth: usize) -> Option<Vec<SizeCell>> {
    let mut cells: BTreeMap<(&str, &str), SizeCell> = BTreeMap::new();
    for layer in layers.iter().filter(|l| l.bytes > 0) {
        let key = (prefix(&layer.name, depth), layer.scheme.id());
        let cell = cells.entry(key).or_insert_with(|| SizeCell {
            name: layer.name.clone(),
            scheme: layer.scheme.id().into(),
            family: layer.scheme.family().id().into(),
            layers: 0,
            bytes: 0,
        });
        if cell.layers == 1 {
            // No longer alone: the cell is the module's.
            cell.name = key.0.to_string();
        }
        cell.layers += 1;
        cell.bytes = cell.bytes.saturating_add(layer.bytes);
        if cells.len() > MOST && depth > 1 {
            return None;
        }
    }
    let mut cells: Vec<SizeCell> = cells.into_values().collect();
    cells.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    cells.truncate(MOST);
    Some(cells)
}

/// The cells at the greatest depth that a picture can show, the largest first.
pub(crate) fn size_map(layers: &[LayerInfo]) -> Vec<SizeCell> {
    let mut best = cells(layers, 1).unwrap_or_default();
    for depth in 2..=DEEPEST {
        match cells(layers, depth) {
            Some(finer) => best = finer,
            None => break,
        }
    }
    best
}
