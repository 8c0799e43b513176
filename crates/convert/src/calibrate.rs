//! Which module each calibrated maximum is for.
//!
//! Source: `formats.md` g and h, ModelOpt's names of quantizers. A name counts as it is given, then as presets
//! rename it, then as ties say whose weight its module shares.

use crate::calibration::{Amax, Blocks};
use crate::dedup::{Ties, canonical_names};
use crate::experts::expert_of;
use crate::names::Rules;
use crate::recipe::Recipe;
use crate::views::Views;
use quantscope_format::Gather as _;
use std::collections::BTreeMap;

/// Block maxima of a module.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    /// Key under which they were given.
    pub(crate) key: String,
    /// The maxima.
    pub(crate) blocks: Blocks,
    /// Whether the module is the second of two that may share the list: up after gate.
    pub(crate) is_second: bool,
}

/// Maxima by module index.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Of activations.
    pub(crate) inputs: BTreeMap<usize, f32>,
    /// Of weights.
    pub(crate) weights: BTreeMap<usize, f32>,
    /// Of weights over a fused group.
    pub(crate) globals: BTreeMap<usize, f32>,
    /// Of blocks.
    pub(crate) blocks: BTreeMap<usize, Given>,
    /// Of activations of modules that share the weight of another, by the alias's name.
    pub(crate) aliases: BTreeMap<String, (usize, f32)>,
    /// Of KV caches, by attention module and side.
    pub(crate) caches: BTreeMap<(String, char), f32>,
    /// What could not be used, in words.
    pub(crate) warnings: Vec<String>,
}

/// What a key speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject<'k> {
    Input(&'k str),
    Weight(&'k str),
    /// Activations of all experts, by the name of the fused parameter.
    ExpertsInput(&'k str),
    /// The weight of one expert, by the name of the fused parameter.
    ExpertWeight(&'k str, &'k str),
    Cache(&'k str, char),
}

fn is_fused(parameter: &str) -> bool {
    matches!(parameter.rsplit('.').next(), Some("gate_up_proj" | "down_proj"))
}

/// Reads a key without its leaf.
fn subject(key: &str) -> Option<Subject<'_>> {
    if let Some(module) = key.strip_suffix(".input_quantizer") {
        return Some(Subject::Input(module));
    }
    if let Some(module) = key.strip_suffix(".weight_quantizer") {
        return Some(Subject::Weight(module));
    }
    for (suffix, side) in [(".k_bmm_quantizer", 'k'), (".v_bmm_quantizer", 'v')] {
        if let Some(attention) = key.strip_suffix(suffix) {
            return Some(Subject::Cache(attention, side));
        }
    }
    if let Some(parameter) = key.strip_suffix("_input_quantizer").filter(|p| is_fused(p)) {
        return Some(Subject::ExpertsInput(parameter));
    }
    if let Some(parameter) = key.strip_suffix("_weight_quantizer").filter(|p| is_fused(p)) {
        return Some(Subject::Weight(parameter));
    }
    let (parameter, number) = key.rsplit_once("_weight_quantizers.")?;
    is_fused(parameter).then_some(Subject::ExpertWeight(parameter, number))
}

/// Last segments of the modules that a fused parameter becomes, in its order.
fn leaves(parameter: &str) -> &'static [&'static str] {
    if parameter.ends_with("gate_up_proj") {
        &["gate_proj", "up_proj", "w1", "w3"]
    } else {
        &["down_proj", "w2"]
    }
}

/// A module that a key was resolved to.
#[derive(Clone)]
struct Target {
    module: usize,
    /// The name it was found by, where that is not its own.
    alias: Option<String>,
    is_second: bool,
}

/// Resolves names over the modules of a source.
pub(crate) struct Resolver<'a> {
    views: &'a Views,
    recipe: &'a Recipe,
    rules: &'a Rules,
    /// Modules that share the weight of another, and which.
    aliases: BTreeMap<&'a str, &'a str>,
    /// Modules of experts by the path of all of them.
    experts: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Resolver<'a> {
    /// `dropped` are modules of the file that share the weight of another.
    pub(crate) fn new(
        views: &'a Views,
        recipe: &'a Recipe,
        ties: &'a Ties,
        dropped: &'a BTreeMap<String, String>,
    ) -> Self {
        let absent = ties.absent.iter().map(|(alias, canonical)| (alias.as_str(), canonical.as_str()));
        let dropped = dropped.iter().map(|(alias, canonical)| (alias.as_str(), canonical.as_str()));
        let mut experts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (i, module) in views.modules.iter().enumerate() {
            if let Some((parent, _, _)) = expert_of(&module.name) {
                experts.entry(parent).or_default().push(i);
            }
        }
        Self {
            views,
            recipe,
            rules: &views.applied.rules,
            aliases: absent.chain(dropped).gather_map(),
            experts,
        }
    }

    /// The module of a name.
    fn module(&self, name: &str) -> Option<Target> {
        let plain = |module| Target { module, alias: None, is_second: false };
        let tied = |alias: &str, canonical: &str| {
            let module = self.views.find(canonical)?;
            Some(Target { module, alias: Some(alias.to_string()), is_second: false })
        };
        let names = [name.to_string(), self.rules.module(name)];
        let direct = names.iter().find_map(|n| match self.aliases.get(n.as_str()) {
            Some(canonical) => tied(n, canonical),
            None => self.views.find(n).map(plain),
        });
        direct.or_else(|| {
            let by_name = |n: &String| canonical_names(self.recipe, n).iter().find_map(|c| tied(n, c));
            names.iter().find_map(by_name)
        })
    }

    /// The module of a name, or those that a rule splits it into.
    fn modules(&self, name: &str) -> Vec<Target> {
        let whole: Vec<Target> = self.module(name).into_iter().collect();
        let Some(parts) = self.rules.split(name).filter(|_| whole.is_empty()) else { return whole };
        let part = |(i, path): (usize, &String)| Some(Target { is_second: i == 1, ..self.module(path)? });
        parts.iter().enumerate().filter_map(part).collect()
    }

    /// Modules that a fused parameter stands for: of every expert, or of the one of that number.
    fn experts(&self, parameter: &str, number: Option<&str>) -> Vec<Target> {
        if number.is_none()
            && let Some(stack) = self.module(parameter)
        {
            return vec![stack];
        }
        let parent = parameter.rsplit_once('.').map_or("", |(parent, _)| parent);
        let hub = self.rules.module(parent);
        let tied = [parent, hub.as_str()].into_iter().flat_map(|p| canonical_names(self.recipe, p));
        let tied: Vec<String> = tied.collect();
        let mut targets = Vec::new();
        for name in [parent, hub.as_str()].into_iter().chain(tied.iter().map(String::as_str)) {
            for &module in self.experts.get(name).map(Vec::as_slice).unwrap_or_default() {
                let Some(found) = self.views.modules.get(module) else { continue };
                let Some((_, own, last)) = expert_of(&found.name) else { continue };
                // What was joined is found by the names it was joined of.
                let joined = found.joined.iter().filter_map(|member| member.name.rsplit('.').next());
                let is_leaf =
                    std::iter::once(last).chain(joined).any(|leaf| leaves(parameter).contains(&leaf));
                let wanted = number.is_none_or(|n| n == own) && is_leaf;
                let Some(mut target) = self.module(&found.name).filter(|_| wanted) else { continue };
                if tied.iter().any(|canonical| canonical == name) {
                    target.alias = Some(format!("{parent}.{own}.{last}"));
                }
                target.is_second = matches!(last, "up_proj" | "w3");
                targets.push(target);
            }
            if !targets.is_empty() {
                break;
            }
        }
        targets
    }

    /// Whether modules stand below a path.
    fn stands(&self, path: &str) -> bool {
        let below = |name: &str| name.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
        self.views.modules.iter().any(|m| below(&m.name))
    }

    fn attention(&self, name: &str) -> Option<String> {
        let hub = self.rules.module(name);
        let tied = canonical_names(self.recipe, &hub);
        [name.to_string(), hub].into_iter().chain(tied).find(|n| self.stands(n))
    }

    /// Resolves every key of the calibration.
    pub(crate) fn resolve(&self) -> Found {
        let mut found = Found::default();
        let (mut strangers, mut unknown) = (Vec::new(), Vec::new());
        for (key, amax) in self.recipe.calibration.entries() {
            let (name, is_global) =
                key.strip_suffix("._global_amax").map_or((key, false), |name| (name, true));
            let Some(subject) = subject(name) else {
                unknown.push(key);
                continue;
            };
            let targets = match subject {
                Subject::Input(module) | Subject::Weight(module) => self.modules(module),
                Subject::ExpertsInput(parameter) => self.experts(parameter, None),
                Subject::ExpertWeight(parameter, number) => self.experts(parameter, Some(number)),
                Subject::Cache(attention, side) => {
                    match (self.attention(attention), amax) {
                        (Some(attention), Amax::One(amax)) => {
                            let largest = found.caches.entry((attention, side)).or_insert(0.0);
                            *largest = largest.max(*amax);
                        }
                        _ => strangers.push(key),
                    }
                    continue;
                }
            };
            if targets.is_empty() {
                strangers.push(key);
            }
            let is_input = matches!(subject, Subject::Input(_) | Subject::ExpertsInput(_));
            if is_input && matches!(amax, Amax::Many(_)) {
                found
                    .warnings
                    .push(format!("the calibration of {key:?} holds several maxima; it is not used"));
                continue;
            }
            for target in targets {
                found.add(key, amax, target, is_input, is_global);
            }
        }
        summarise(&mut found.warnings, &strangers, "is of no module of this checkpoint");
        summarise(&mut found.warnings, &unknown, "is of no form that can be used");
        found
    }
}

/// The first five by name, the others by their number.
fn summarise(warnings: &mut Vec<String>, keys: &[&str], what: &str) {
    warnings.extend(keys.iter().take(5).map(|key| format!("the calibration key {key:?} {what}")));
    if let Some(more) = keys.len().checked_sub(6) {
        warnings.push(format!("and {} more calibration keys: each {what}", more + 1));
    }
}

fn raise<K: Ord>(maxima: &mut BTreeMap<K, f32>, key: K, amax: f32) {
    let largest = maxima.entry(key).or_insert(0.0);
    *largest = largest.max(amax);
}

impl Found {
    fn add(&mut self, key: &str, amax: &Amax, target: Target, is_input: bool, is_global: bool) {
        let Target { module, alias, is_second } = target;
        match (amax, is_input, is_global) {
            (Amax::One(amax), true, _) => match alias {
                Some(alias) => {
                    let entry = self.aliases.entry(alias).or_insert((module, 0.0));
                    entry.1 = entry.1.max(*amax);
                }
                None => raise(&mut self.inputs, module, *amax),
            },
            (Amax::One(amax), false, true) => raise(&mut self.globals, module, *amax),
            (Amax::One(amax), false, false) => raise(&mut self.weights, module, *amax),
            (Amax::Many(blocks), false, false) if alias.is_none() || !self.blocks.contains_key(&module) => {
                let given = Given { key: key.to_string(), blocks: blocks.clone(), is_second };
                self.blocks.insert(module, given);
            }
            (Amax::Many(_), ..) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Subject, subject};

    #[test]
    fn keys_name_what_they_are_of() {
        for (key, expected) in [
            ("a.b.input_quantizer", Some(Subject::Input("a.b"))),
            ("a.weight_quantizer", Some(Subject::Weight("a"))),
            ("a.experts.gate_up_proj_input_quantizer", Some(Subject::ExpertsInput("a.experts.gate_up_proj"))),
            ("a.experts.down_proj_weight_quantizer", Some(Subject::Weight("a.experts.down_proj"))),
            (
                "a.experts.down_proj_weight_quantizers.7",
                Some(Subject::ExpertWeight("a.experts.down_proj", "7")),
            ),
            ("a.k_bmm_quantizer", Some(Subject::Cache("a", 'k'))),
            ("a.v_bmm_quantizer", Some(Subject::Cache("a", 'v'))),
            ("a.output_quantizer", None),
            ("a.experts.other_input_quantizer", None),
            ("a", None),
        ] {
            assert_eq!(subject(key), expected, "{key}");
        }
    }
}
