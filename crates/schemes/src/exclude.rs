//! Exclude lists of configs: how they are read, and how the reference writes them.
//!
//! Source: `formats.md` e, "exclude_modules / ignore".

use quantscope_format::Arrange as _;
use quantscope_format::Glob;
use std::collections::{BTreeSet, HashMap};

/// Segments of a module path that are looked at for what it is part of.
const DEPTH: usize = 64;

/// An exclude list made ready for matching. Names and prefixes are looked up, whatever their number; only
/// patterns with stars in other places are tried one by one.
#[derive(Debug, Clone, Default)]
pub struct ExcludeList {
    patterns: Vec<String>,
    /// Each pattern by its text: one that is no glob matches literally, and one that is does too.
    exact: HashMap<String, usize>,
    /// Patterns of the form `text*`, by the text.
    prefixes: HashMap<String, usize>,
    /// Their lengths, each once.
    prefix_lengths: BTreeSet<usize>,
    globs: Vec<(usize, Glob)>,
}

impl ExcludeList {
    /// Takes the patterns as the config has them. A pattern that is no glob still matches literally.
    #[must_use]
    pub fn new(patterns: &[String]) -> Self {
        let mut list = Self { patterns: patterns.to_vec(), ..Self::default() };
        let is_literal = |text: &str| !text.contains(['*', '?', '[']);
        for (i, pattern) in patterns.iter().enumerate() {
            list.exact.entry(pattern.clone()).or_insert(i);
            match (pattern.strip_suffix('*'), Glob::new(pattern)) {
                _ if is_literal(pattern) => {}
                (Some(text), Ok(_)) if is_literal(text) => {
                    list.prefix_lengths.insert(text.len());
                    list.prefixes.entry(text.to_string()).or_insert(i);
                }
                (_, Ok(glob)) => list.globs.push((i, glob)),
                (_, Err(_)) => {}
            }
        }
        list
    }

    fn naming_index(&self, module: &str) -> Option<usize> {
        let prefix = |&length: &usize| self.prefixes.get(module.get(..length)?);
        let looked_up =
            self.prefix_lengths.iter().filter_map(prefix).chain(self.exact.get(module)).min().copied();
        let before = looked_up.unwrap_or(usize::MAX);
        let mut globs = self.globs.iter().take_while(|(i, _)| *i < before);
        globs.find(|(_, glob)| glob.is_match(module)).map(|(i, _)| *i).or(looked_up)
    }

    /// The first pattern that names the module itself: equal, or as a glob (a trailing `*` crosses dots).
    #[must_use]
    pub fn naming(&self, module: &str) -> Option<&str> {
        self.naming_index(module).and_then(|i| self.patterns.get(i)).map(String::as_str)
    }

    /// The first pattern under which a loader may leave the module alone: one that names it, or names a
    /// module it is part of.
    #[must_use]
    pub fn covering(&self, module: &str) -> Option<&str> {
        // A path of thousands of segments is none of a model's, and each look costs its length.
        let dots = || module.match_indices('.').take(DEPTH);
        let parents = || dots().filter_map(|(dot, _)| self.exact.get(module.get(..dot)?));
        let index = self.naming_index(module).or_else(|| parents().min().copied());
        index.and_then(|i| self.patterns.get(i)).map(String::as_str)
    }
}

/// Summarises unquantized modules by prefixes exactly as the reference does.
///
/// For each module: at each dot from the left, `prefix*` if no quantized module starts with it, else
/// `prefix.*` if none lies below it; failing both at every dot, the name itself.
///
/// ```
/// use quantscope_schemes::exclude::summarise;
/// let quantized = ["m.a.conv1", "m.b.conv1"];
/// assert_eq!(summarise(&["m.a.attn.qkv", "m.a.attn.proj", "head"], &quantized), ["head", "m.a.attn*"]);
/// ```
#[must_use]
pub fn summarise<S: AsRef<str>, Q: AsRef<str>>(unquantized: &[S], quantized: &[Q]) -> Vec<String> {
    let mut sorted: Vec<&str> = quantized.iter().map(AsRef::as_ref).collect();
    sorted.arrange();
    let mut list = BTreeSet::new();
    for module in unquantized {
        list.insert(summarise_one(module.as_ref(), &sorted));
    }
    list.into_iter().collect()
}

/// Whether any of the sorted names begins with the prefix: the first not below it does, or none.
fn any_starts_with(sorted: &[&str], prefix: &str) -> bool {
    let at = sorted.partition_point(|name| *name < prefix);
    sorted.get(at).is_some_and(|name| name.starts_with(prefix))
}

fn summarise_one(module: &str, quantized: &[&str]) -> String {
    for (dot, _) in module.match_indices('.') {
        let prefix = module.get(..dot).unwrap_or(module);
        if !any_starts_with(quantized, prefix) {
            return format!("{prefix}*");
        }
        let below = format!("{prefix}.");
        if quantized.binary_search(&prefix).is_err() && !any_starts_with(quantized, &below) {
            return format!("{prefix}.*");
        }
    }
    module.to_string()
}

/// Patterns of modules that the reference's own recipes leave unquantized (`formats.md` n), matched
/// against the module path followed by a dot.
pub const DEFAULT_EXCLUDES: &[&str] = &[
    "*block_sparse_moe.gate*",
    "*linear_attn.conv1d*",
    "*linear_attn.in_proj_a*",
    "*linear_attn.in_proj_b*",
    "*lm_head*",
    "*mixer.conv1d*",
    "*mlp.gate.*",
    "*mlp.shared_expert_gate.*",
    "*output_layer*",
    "*proj_out.*",
    "*router*",
    "mtp.*",
    "output.*",
    "*embed_vision*",
    "*vision_tower*",
    "*visual*",
    "*vision_model*",
    "*multi_modal_projector*",
    "*self_conditioning*",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pattern tried on its own, in order: what the list must answer however it looks things up.
    fn one_by_one<'a>(patterns: &'a [String], module: &str) -> Option<&'a str> {
        let hit = |p: &&String| p.as_str() == module || Glob::new(p).is_ok_and(|g| g.is_match(module));
        patterns.iter().find(hit).map(String::as_str)
    }

    #[test]
    fn looking_up_answers_as_trying_each_pattern_does() {
        let words = [
            "a", "a.b", "a.b.c", "b.c", "ab", "a*", "*", "a.*", "*.c", "a?b", "[ab]", "a.b*", "", "a[", "*b*",
        ];
        let modules = ["a", "b", "ab", "a.b", "a.b.c", "a.bc", "b.c", "c", "", "a[", "a*"];
        for first in words {
            for second in words {
                for third in words {
                    let patterns = [first, second, third].map(String::from);
                    let list = ExcludeList::new(&patterns);
                    for module in modules {
                        let expected = one_by_one(&patterns, module);
                        assert_eq!(list.naming(module), expected, "{module} under {patterns:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_pattern_covers_what_is_part_of_its_module() {
        let list = ExcludeList::new(&["x*".to_string(), "a.b".to_string(), "a".to_string()]);
        assert_eq!(list.covering("a.b.c"), Some("a.b"));
        assert_eq!(list.covering("a.c"), Some("a"));
        assert_eq!(list.covering("ab.c"), None);
    }
}
