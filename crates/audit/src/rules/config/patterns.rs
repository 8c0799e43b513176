//! CF303: exclude patterns that match nothing, usually for a prefix that the model nests otherwise.

use super::super::HeaderContext;
use crate::findings::Findings;
use crate::registry::{Example, FindingExt, Rule};
use crate::report::Severity;
use crate::{names, ties};
use quantscope_format::{Gather as _, Glob};
use std::collections::{BTreeSet, HashMap};

pub(super) const RULES: &[Rule] = &[CF303];

const CF303: Rule = Rule {
    id: "CF303",
    severity: Severity::Warning,
    needs: "H,C",
    title: "Exclude pattern matches nothing",
    why: "The pattern names modules by another nesting of prefixes than the tensors. Loaders do not recognise the \
          excluded layers, build quantized ones for them, and stop at a shape check or load garbage.",
    fix: "Rewrite the prefix in the exclude lists of both configs.",
    repairable: true,
    example: Example::of(
        "ignore: [\"language_model.layers.0.mlp.gate\"]\nmodel.language_model.layers.0.mlp.gate.weight",
        "ignore: [\"model.language_model.layers.0.mlp.gate\"]\nmodel.language_model.layers.0.mlp.gate.weight",
    ),
};

/// Every module path of the model and of what it is part of.
struct Paths<'a> {
    /// Sorted bytewise, so that those with a common beginning stand together.
    sorted: Vec<&'a str>,
    segments: BTreeSet<&'a str>,
    /// Endings of paths that begin at a segment; built when the first suggestion is wanted.
    endings: Option<HashMap<&'a str, &'a str>>,
}

impl<'a> Paths<'a> {
    fn of(context: HeaderContext<'a>) -> Self {
        let mut paths: BTreeSet<&str> = BTreeSet::new();
        for layer in &context.model.layers {
            let name = layer.name.as_str();
            let mut ancestors = names::ancestors(name).rev();
            paths.insert(name);
            // What is above a path that is known is known too.
            while ancestors.next().is_some_and(|path| paths.insert(path)) {}
        }
        let segments = paths.iter().map(|p| p.rsplit('.').next().unwrap_or(p)).gather_set();
        Self { sorted: paths.into_iter().collect(), segments, endings: None }
    }

    /// Paths that begin with a text.
    fn beginning(&self, start: &str) -> &[&'a str] {
        let rest = self.sorted.get(self.sorted.partition_point(|p| *p < start)..).unwrap_or_default();
        let end = rest.partition_point(|p| p.starts_with(start));
        rest.get(..end).unwrap_or_default()
    }

    /// Whether a loader would find a module for the pattern. Generous: loaders differ.
    fn matches(&self, pattern: &str) -> bool {
        if !is_glob(pattern) {
            let is_path = self.beginning(pattern).first().is_some_and(|p| *p == pattern);
            // A name without a path is taken for any module of that name.
            return is_path || (!pattern.contains('.') && self.segments.contains(pattern));
        }
        let literal = pattern.find(['*', '?', '[']).and_then(|at| pattern.get(..at)).unwrap_or_default();
        let candidates = self.beginning(literal);
        if pattern.strip_prefix(literal) == Some("*") {
            return !candidates.is_empty();
        }
        let Ok(glob) = Glob::new(pattern) else { return false };
        // Patterns are matched against the path and, in the reference's recipes, the path with a dot behind.
        candidates.iter().any(|path| glob.is_match(path))
            || (pattern.contains('.') && candidates.iter().any(|path| glob.is_match(&format!("{path}."))))
    }

    /// The path that ends as the pattern does, with another beginning.
    fn nearest(&mut self, pattern: &str) -> Option<String> {
        let literal = pattern.split(['*', '?', '[']).next().unwrap_or_default();
        let (wanted, rest) = match pattern.strip_prefix(literal) {
            Some("") => (literal, ""),
            _ => {
                let whole = literal.rsplit_once('.').map_or("", |(whole, _)| whole);
                (whole, pattern.strip_prefix(whole).unwrap_or_default())
            }
        };
        let sorted = &self.sorted;
        let endings = self.endings.get_or_insert_with(|| {
            let mut endings = HashMap::new();
            for &path in sorted {
                endings.entry(path).or_insert(path);
                for ending in names::endings(path) {
                    endings.entry(ending).or_insert(path);
                }
            }
            endings
        });
        let mut tails = std::iter::once(wanted).chain(names::endings(wanted)).filter(|tail| !tail.is_empty());
        // A single word or number says too little, unless it is all there is.
        let telling = |tail: &&str| tail.contains('.') || *tail == wanted;
        tails
            .find_map(|tail| Some(tail).filter(telling).and_then(|t| endings.get(t)))
            .map(|path| format!("{path}{rest}"))
            .filter(|nearest| nearest != pattern)
    }
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// Regular expressions and class names of compressed-tensors are no paths.
fn is_path_pattern(pattern: &str) -> bool {
    let class = !pattern.contains(['.', '*', '_']) && pattern.starts_with(|c: char| c.is_ascii_uppercase());
    !pattern.is_empty() && !pattern.starts_with("re:") && !class
}

pub(super) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    let Some(declaration) = context.checkpoint.declaration() else { return };
    if declaration.exclude.is_empty() || context.model.layers.is_empty() || !context.is_whole() {
        return;
    }
    let mut paths = Paths::of(context);
    let tied: Vec<String> =
        ties::declared(context.checkpoint, context.model).into_iter().map(|tie| tie.alias).collect();
    // The head of a model whose config does not say that it is untied.
    let flag = context.checkpoint.model_config().and_then(|c| c.tie_word_embeddings);
    let untied = flag == Some(false);
    let is_alias = |pattern: &str, paths: &Paths<'_>| {
        let name = pattern.trim_matches(['*', '.']);
        // Of a tied pair of sides only one is in the file; the list names both.
        let other_side = |from: &str, to: &str| {
            let mut segments: Vec<&str> = pattern.split('.').collect();
            let side = segments.iter_mut().find(|s| **s == from);
            side.map(|s| *s = to).is_some() && paths.matches(&segments.join("."))
        };
        let sides =
            flag == Some(true) && (other_side("encoder", "decoder") || other_side("decoder", "encoder"));
        tied.iter().any(|alias| alias == name || (!name.is_empty() && alias.ends_with(&format!(".{name}"))))
            || (!untied && ties::is_head(name))
            || sides
    };
    let file = context.declaring_file();
    for pattern in declaration.exclude.iter().filter(|p| is_path_pattern(p)) {
        if paths.matches(pattern) || is_alias(pattern, &paths) {
            continue;
        }
        let nearest = paths.nearest(pattern);
        let hint = match &nearest {
            Some(path) => format!("the nearest is `{path}`"),
            None => "nothing has a name like it".to_string(),
        };
        let message = format!("the exclude pattern `{pattern}` matches no module; {hint}");
        let finding = CF303.finding(pattern.as_str(), message).in_file(file);
        findings
            .push(finding.expecting(nearest.unwrap_or_else(|| "no such pattern".into()), pattern.as_str()));
    }
}
