//! Which layer of the second checkpoint stands for which of the first: by name, by the names that a conversion
//! gives, by rename rules.

use crate::calibration::Calibration;
use crate::diff::Side;
use crate::recipe::{Recipe, RecipeFields};
use crate::views::{View, Views};
use quantscope_audit::LayerInfo;
use quantscope_format::Gather as _;
use std::collections::{BTreeSet, HashMap, HashSet};

/// The tensors of one module of the first checkpoint, whole or a part of it.
pub(crate) struct Pair {
    /// Index of the layer in the first.
    pub(crate) a: usize,
    /// Index in the second.
    pub(crate) b: usize,
    /// The parts of the first's tensors that count, by leaf; empty for the whole layer.
    pub(crate) parts: HashMap<String, View>,
    /// The part of the second's tensors, where those are the larger.
    pub(crate) parts_b: HashMap<String, View>,
}

impl Pair {
    /// Whether either side is a part of a layer.
    pub(crate) fn is_split(&self) -> bool {
        !self.parts.is_empty() || !self.parts_b.is_empty()
    }
}

/// All pairs, and what has no partner.
pub(crate) struct Pairs {
    pub(crate) pairs: Vec<Pair>,
    pub(crate) only_a: Vec<usize>,
    pub(crate) only_b: Vec<usize>,
}

/// A module of a side under its name in a conversion.
struct Named {
    name: String,
    layer: usize,
    parts: HashMap<String, View>,
}

/// Modules as a conversion to a scheme would name them; none where that cannot be told.
fn named(side: Side<'_>, recipe: &Recipe) -> Vec<Named> {
    let Ok(views) = Views::new(side.checkpoint, side.model, recipe) else { return Vec::new() };
    let mut modules: Vec<Named> = views
        .modules
        .iter()
        .map(|m| Named { name: m.name.clone(), layer: m.layer, parts: HashMap::new() })
        .collect();
    for view in &views.tensors {
        let is_part = views.modules.get(view.module).is_some_and(|m| m.is_part);
        if let Some(module) = modules.get_mut(view.module).filter(|_| is_part) {
            module.parts.insert(view.leaf.clone(), view.clone());
        }
    }
    modules
}

/// The recipe under which names are looked up: that of the user's rules, as JSON, else one whose presets apply.
///
/// # Errors
/// If the rules cannot be read.
pub fn naming(rename_json: Option<&str>) -> Result<Recipe, crate::ConvertError> {
    let fields = RecipeFields {
        to: if rename_json.is_some() { String::new() } else { "fp8".into() },
        rename_json: rename_json.map(str::to_string),
        ..RecipeFields::default()
    };
    Recipe::new(&fields, Calibration::default())
}

impl Pairs {
    pub(crate) fn new(a: Side<'_>, b: Side<'_>, recipe: &Recipe) -> Self {
        let by_name = |layers: &[LayerInfo]| -> HashMap<String, usize> {
            layers.iter().enumerate().map(|(i, l)| (l.name.clone(), i)).collect()
        };
        let (names_a, names_b) = (by_name(&a.model.layers), by_name(&b.model.layers));
        let mut pairs: Vec<Pair> = Vec::new();
        let (mut known_a, mut known_b): (HashSet<usize>, HashSet<usize>) = Default::default();
        let mut add = |a: usize, b: usize, parts: HashMap<String, View>, parts_b: HashMap<String, View>| {
            known_a.insert(a);
            known_b.insert(b);
            pairs.push(Pair { a, b, parts, parts_b });
        };
        // The same name is the same layer, unless one side has it in parts under other names.
        for (i, layer) in a.model.layers.iter().enumerate() {
            if let Some(&other) = names_b.get(&layer.name) {
                add(i, other, HashMap::new(), HashMap::new());
            }
        }
        let (taken_a, taken_b): (BTreeSet<usize>, BTreeSet<usize>) =
            (pairs_of(&names_a, &names_b), pairs_of(&names_b, &names_a));
        let (mine, yours) = (named(a, recipe), named(b, recipe));
        let mut given: HashMap<&str, &Named> = HashMap::new();
        for module in yours.iter().filter(|m| !taken_b.contains(&m.layer)) {
            given.entry(module.name.as_str()).or_insert(module);
        }
        let mut done: HashSet<(usize, usize)> = HashSet::new();
        for module in mine.into_iter().filter(|m| !taken_a.contains(&m.layer)) {
            // What the conversion would call it, or what both would be called then.
            let direct = names_b.get(&module.name).copied().filter(|b| !taken_b.contains(b));
            let partner = direct.map(|b| (b, HashMap::new())).or_else(|| {
                let other = given.get(module.name.as_str())?;
                Some((other.layer, other.parts.clone()))
            });
            if let Some((other, parts_b)) = partner
                && (!module.parts.is_empty() || !parts_b.is_empty() || done.insert((module.layer, other)))
            {
                add(module.layer, other, module.parts, parts_b);
            }
        }
        // Names of the second as the first has them before its own renames: a conversion the other way round.
        let mut paired: HashSet<usize> = pairs.iter().map(|p| p.a).collect();
        for module in yours.iter().filter(|m| !taken_b.contains(&m.layer)) {
            if let Some(&mine) = names_a.get(&module.name).filter(|i| !taken_a.contains(i))
                && paired.insert(mine)
            {
                pairs.push(Pair {
                    a: mine,
                    b: module.layer,
                    parts: HashMap::new(),
                    parts_b: module.parts.clone(),
                });
            }
        }
        let used_a: HashSet<usize> = pairs.iter().map(|p| p.a).collect();
        let used_b: HashSet<usize> = pairs.iter().map(|p| p.b).collect();
        let left = |layers: &[LayerInfo], used: &HashSet<usize>| -> Vec<usize> {
            (0..layers.len()).filter(|i| !used.contains(i)).collect()
        };
        let only_a = left(&a.model.layers, &used_a);
        let only_b = left(&b.model.layers, &used_b);
        Self { pairs, only_a, only_b }
    }

    /// The pair of that name in either checkpoint.
    pub(crate) fn find(&self, name: &str, a: Side<'_>, b: Side<'_>) -> Option<&Pair> {
        let is = |side: Side<'_>, layer: usize| side.model.layers.get(layer).is_some_and(|l| l.name == name);
        let mut pairs = self.pairs.iter();
        pairs.find(|p| is(b, p.b)).or_else(|| self.pairs.iter().find(|p| is(a, p.a)))
    }
}

fn pairs_of(own: &HashMap<String, usize>, other: &HashMap<String, usize>) -> BTreeSet<usize> {
    own.iter().filter(|(name, _)| other.contains_key(*name)).map(|(_, &i)| i).gather_set()
}
