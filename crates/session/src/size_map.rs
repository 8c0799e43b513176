//! Where the bytes are: layers summed up by module and scheme, at the depth at which a picture can still show them.

use crate::api::{SizeCell, SizeView};
use crate::tree::place;
use crate::{Session, count};
use quantscope_audit::LayerInfo;
use quantscope_format::Arrange as _;
use std::collections::BTreeMap;

/// Most cells of a picture that goes deeper than one level.
const MOST: usize = 150;
/// Most cells of one level; the smallest beyond are one cell together.
const MOST_SIBLINGS: usize = 300;
/// Levels that are tried.
const DEEPEST: usize = 12;

/// The first `depth` segments of a module path.
fn prefix(name: &str, depth: usize) -> &str {
    let mut dots = name.bytes().enumerate().filter(|(_, byte)| *byte == b'.');
    let end = dots.nth(depth.saturating_sub(1)).map_or(name.len(), |(dot, _)| dot);
    name.get(..end).unwrap_or(name)
}

/// Sums layers up by module and scheme, the largest first; `None` if there are more than `most` cells.
fn cells<'a>(
    layers: impl Iterator<Item = &'a LayerInfo>,
    depth: usize,
    most: usize,
) -> Option<Vec<SizeCell>> {
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut cells: Vec<SizeCell> = Vec::new();
    // Neighbours are of one cell as a rule: most layers need no look-up.
    let mut last: Option<(&str, &'static str, usize)> = None;
    for layer in layers.filter(|l| l.bytes > 0) {
        let (name, scheme) = (layer.name.as_str(), layer.scheme.id());
        let below = |module: &str| name.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'));
        let same = last.filter(|&(module, of, _)| of == scheme && below(module));
        let (module, at) = same.map(|(module, _, at)| (module, at)).unwrap_or_else(|| {
            let module = prefix(name, depth);
            let at = *places.entry((module, scheme)).or_insert_with(|| {
                cells.push(SizeCell {
                    name: layer.name.clone(),
                    scheme: scheme.into(),
                    family: layer.scheme.family().id().into(),
                    layers: 0,
                    bytes: 0,
                });
                cells.len() - 1
            });
            (module, at)
        });
        // Only a module that was cut off at this depth has all the names below it.
        last = (module.len() < name.len()).then_some((module, scheme, at));
        if cells.len() > most {
            return None;
        }
        let Some(cell) = cells.get_mut(at) else { continue };
        if cell.layers == 1 {
            // No longer alone: the cell is the module's.
            cell.name = module.to_string();
        }
        cell.layers += 1;
        cell.bytes = cell.bytes.saturating_add(layer.bytes);
    }
    cells.arrange_by(|a, b| {
        let order = b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name));
        order.then_with(|| a.scheme.cmp(&b.scheme))
    });
    Some(cells)
}

/// Puts the smallest together where there are more than a picture shows.
fn with_rest(mut cells: Vec<SizeCell>) -> Vec<SizeCell> {
    if cells.len() <= MOST_SIBLINGS {
        return cells;
    }
    let rest = cells.split_off(MOST_SIBLINGS - 1);
    let sum = |value: fn(&SizeCell) -> u64| rest.iter().map(value).fold(0, u64::saturating_add);
    let (layers, bytes) = (sum(|cell| cell.layers), sum(|cell| cell.bytes));
    cells.push(SizeCell {
        name: String::new(),
        scheme: String::new(),
        family: "plain".into(),
        layers,
        bytes,
    });
    cells
}

/// The cells below a module whose path has `above` segments, at the greatest depth that a picture can show.
fn picture<'a>(layers: &(impl Iterator<Item = &'a LayerInfo> + Clone), above: usize) -> Vec<SizeCell> {
    let first = cells(layers.clone(), above + 1, usize::MAX).unwrap_or_default();
    let mut best = with_rest(first);
    for depth in above + 2..=above + DEEPEST {
        match cells(layers.clone(), depth, MOST) {
            Some(finer) => best = finer,
            None => break,
        }
    }
    best
}

/// The picture of a whole checkpoint.
pub(crate) fn size_map(layers: &[LayerInfo]) -> Vec<SizeCell> {
    picture(&layers.iter(), 0)
}

impl Session {
    /// Where the bytes of a module are; of the whole checkpoint, if the path is empty. `None` if there is no such
    /// module.
    #[must_use]
    pub fn size_view(&self, path: &str) -> Option<SizeView> {
        let forest = self.forest();
        let all = &self.model.layers;
        let node = forest.find(all, path)?;
        let below = forest.layers_below(&[node]);
        let layers = below.iter().filter_map(|&index| all.get(place(index)));
        let segments = if path.is_empty() { 0 } else { path.split('.').count() };
        Some(SizeView {
            path: path.to_string(),
            cells: picture(&layers, segments),
            layers: count(below.len()),
            bytes: layers.clone().map(|l| l.bytes).fold(0, u64::saturating_add),
            parameters: layers.map(|l| l.parameters).fold(0, u64::saturating_add),
        })
    }
}
