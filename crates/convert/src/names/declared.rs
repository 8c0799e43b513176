//! What configs declare of modules, under the new names: exclude lists, layers of mixed models, targets of groups.
//!
//! Source: `formats.md` i, "exclude_modules / quantized_layers keys get the same renames". Fields of other meaning stay
//! as they are. Other than in the reference, names follow splits too, and a pattern that loses modules on the way, since
//! it is shorter than the rule that moves them, is joined by one that has them.

use super::rules::Rules;
use quantscope_format::Arrange as _;
use quantscope_schemes::exclude::{ExcludeList, summarise};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};

/// Keys of configs whose values are exclude lists.
const LISTS: [&str; 3] = ["ignore", "exclude_modules", "modules_to_not_convert"];
/// Keys of `config.json` under which quantization is declared.
const SECTIONS: [&str; 3] = ["quantization_config", "quantization", "compression_config"];

/// A module on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moved<'a> {
    /// Path in the source.
    pub(crate) before: &'a str,
    /// Path in the output.
    pub(crate) after: &'a str,
    /// Whether it is quantized.
    pub(crate) is_quantized: bool,
}

/// Rules on the way through a config, with the modules they move.
pub(crate) struct Declared<'a> {
    rules: &'a Rules,
    modules: &'a [Moved<'a>],
    /// Modules that are joined to another, and which.
    joined: HashMap<&'a str, &'a str>,
    /// Paths in the output, sorted.
    after: Vec<&'a str>,
    /// Patterns that are left without a module.
    pub(crate) strangers: BTreeSet<String>,
}

/// Regular expressions of compressed-tensors, and names of classes.
fn is_no_path(name: &str) -> bool {
    name.starts_with("re:") || name.chars().next().is_some_and(|first| first.is_ascii_uppercase())
}

impl<'a> Declared<'a> {
    pub(crate) fn new(rules: &'a Rules, modules: &'a [Moved<'a>], joined: HashMap<&'a str, &'a str>) -> Self {
        let mut after: Vec<&str> = modules.iter().map(|m| m.after).collect();
        after.arrange();
        Self { rules, modules, joined, after, strangers: BTreeSet::new() }
    }

    /// `config.json` under the new names.
    pub(crate) fn config(&mut self, config: &mut Value) {
        for key in SECTIONS {
            if let Some(Value::Object(section)) = config.get_mut(key) {
                self.section(section);
            }
            if let Some(Value::Object(section)) = config.get_mut("text_config").and_then(|t| t.get_mut(key)) {
                self.section(section);
            }
        }
    }

    /// `hf_quant_config.json` under the new names.
    pub(crate) fn hf_quant_config(&mut self, config: &mut Value) {
        if let Some(Value::Object(section)) = config.get_mut("quantization") {
            self.section(section);
        }
    }

    /// One section.
    pub(crate) fn section(&mut self, section: &mut Map<String, Value>) {
        for key in LISTS {
            if let Some(Value::Array(list)) = section.get_mut(key) {
                *list = self.excluded(list);
            }
        }
        if let Some(Value::Object(layers)) = section.get_mut("quantized_layers") {
            let old = std::mem::take(layers);
            for (name, value) in old {
                layers.extend(self.names(&name).into_iter().map(|name| (name, value.clone())));
            }
        }
        let groups = section.get_mut("config_groups").and_then(Value::as_object_mut);
        for group in groups.into_iter().flat_map(Map::values_mut) {
            if let Some(Value::Array(targets)) = group.get_mut("targets") {
                *targets = self.renamed(targets);
            }
        }
    }

    /// What a name becomes.
    fn names(&self, name: &str) -> Vec<String> {
        let names = self.rules.config_names(name).into_iter();
        names
            .map(|name| self.joined.get(name.as_str()).map_or(name, |joined| (*joined).to_string()))
            .collect()
    }

    /// Names of a list, each once. What is no text stays where it is.
    fn renamed(&self, list: &[Value]) -> Vec<Value> {
        let mut seen = BTreeSet::new();
        let mut renamed = Vec::new();
        for value in list {
            let names = match value.as_str() {
                Some(name) if !is_no_path(name) => self.names(name),
                Some(name) => vec![name.to_string()],
                None => {
                    renamed.push(value.clone());
                    continue;
                }
            };
            renamed.extend(names.into_iter().filter(|name| seen.insert(name.clone())).map(Value::from));
        }
        renamed
    }

    fn excluded(&mut self, list: &[Value]) -> Vec<Value> {
        let patterns = |list: &[Value]| -> Vec<String> {
            list.iter().filter_map(Value::as_str).map(str::to_string).collect()
        };
        let mut renamed = self.renamed(list);
        let new = patterns(&renamed);
        let (before, after) = (ExcludeList::new(&patterns(list)), ExcludeList::new(&new));
        let is_lost = |m: &&Moved<'_>| {
            !m.is_quantized && before.naming(m.before).is_some() && after.naming(m.after).is_none()
        };
        let lost: Vec<&str> = self.modules.iter().filter(is_lost).map(|m| m.after).collect();
        let quantized: Vec<&str> = self.modules.iter().filter(|m| m.is_quantized).map(|m| m.after).collect();
        let added = summarise(&lost, &quantized);
        renamed.extend(added.into_iter().map(Value::from));
        let strangers: Vec<String> = new.into_iter().filter(|pattern| !self.is_met(pattern)).collect();
        self.strangers.extend(strangers);
        renamed
    }

    /// Whether a module's path begins as a pattern does.
    fn is_met(&self, pattern: &str) -> bool {
        let stem = pattern.find(['*', '?', '[']).and_then(|end| pattern.get(..end)).unwrap_or(pattern);
        let at = self.after.partition_point(|name| *name < stem);
        is_no_path(pattern) || self.after.get(at).is_some_and(|name| name.starts_with(stem))
    }
}
