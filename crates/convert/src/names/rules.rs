//! Rules that rename and split, as JSON gives them: checked, compiled, applied to one name at a time.
//!
//! Source: `formats.md` i and the contract's "Rename rules". Rules come in the order in which they apply: splits
//! first, then every rename on every key. Does not know tensors, shapes or checkpoints.

use super::needed::needed_text;
use super::replacement::Replacement;
use crate::error::ConvertError;
use regex_lite::{Regex, RegexBuilder};
use serde_json::{Map, Value};

/// Longest text of rules. The longest known, of a multimodal model, is under 4 KiB.
const MOST_BYTES: usize = 1 << 20;
/// Most rules of one kind.
const MOST_RULES: usize = 1 << 10;
/// Largest compiled pattern, in bytes.
const PATTERN_BYTES: usize = 1 << 18;
/// Longest name that renaming may make, in bytes: what other readers take.
pub(crate) const LONGEST_NAME: usize = 4096;

/// What stands below a module whose path is renamed, so that patterns written for tensors match. No tensor of a
/// model is called so.
const PROBE: &str = ".\u{1}";

/// A fused module that becomes several, cut along its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Split {
    /// How paths of fused modules end, such as `.gate_up_proj`.
    pub(crate) fused_suffix: String,
    /// What the end becomes, in the order of the rows.
    pub(crate) part_suffixes: Vec<String>,
}

impl Split {
    /// Paths of the modules that a fused one becomes; `None` for other modules.
    pub(crate) fn parts(&self, module: &str) -> Option<Vec<String>> {
        let base = module.strip_suffix(self.fused_suffix.as_str())?;
        Some(self.part_suffixes.iter().map(|suffix| format!("{base}{suffix}")).collect())
    }
}

/// One substitution.
#[derive(Debug, Clone)]
struct Rename {
    pattern: Regex,
    /// What every match holds, where it is known.
    needed: Option<String>,
    replacement: Replacement,
    /// Beginnings of the names it is for, which it does not see; none means all names.
    scopes: Vec<String>,
}

impl Rename {
    fn apply(&self, name: &str) -> String {
        let prefix = match self.scopes.as_slice() {
            [] => "",
            scopes => match scopes.iter().find(|prefix| name.starts_with(prefix.as_str())) {
                Some(prefix) => prefix,
                None => return name.to_string(),
            },
        };
        let rest = name.strip_prefix(prefix).unwrap_or(name);
        if self.needed.as_deref().is_some_and(|needed| !rest.contains(needed)) {
            return name.to_string();
        }
        format!("{prefix}{}", self.replacement.substitute(&self.pattern, rest))
    }
}

/// Rules of a conversion.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// Fused modules and what they become.
    pub(crate) splits: Vec<Split>,
    renames: Vec<Rename>,
    /// Last segments of stacks of experts that must not survive below `.experts.`.
    pub(crate) stacked_leaves: Vec<String>,
    /// What the text holds that means nothing here.
    pub(crate) warnings: Vec<String>,
}

/// Reading of one text, with where in it the reader is.
struct Reader<'w> {
    warnings: &'w mut Vec<String>,
}

fn refuse<T>(at: &str, found: &str, expected: &str) -> Result<T, ConvertError> {
    Err(ConvertError::Refused(format!("the rename rules: {at} is {found}; {expected}")))
}

/// A value in few words.
fn seen(value: Option<&Value>) -> String {
    match value {
        None => "missing".into(),
        Some(Value::Array(_)) => "a list".into(),
        Some(Value::Object(_)) => "an object".into(),
        Some(other) => {
            let text = other.to_string();
            let short: String = text.chars().take(60).collect();
            if short.len() < text.len() { format!("{short}…") } else { short }
        }
    }
}

fn text<'v>(at: &str, value: Option<&'v Value>) -> Result<&'v str, ConvertError> {
    match value {
        Some(Value::String(text)) if text.len() <= LONGEST_NAME => Ok(text),
        Some(Value::String(text)) => {
            refuse(at, &format!("{} bytes long", text.len()), &format!("at most {LONGEST_NAME} are taken"))
        }
        other => refuse(at, &seen(other), "a text is needed"),
    }
}

/// A list that may be missing.
fn list<'v>(at: &str, value: Option<&'v Value>) -> Result<&'v [Value], ConvertError> {
    match value {
        None => Ok(&[]),
        Some(Value::Array(values)) if values.len() <= MOST_RULES => Ok(values),
        Some(Value::Array(values)) => {
            refuse(at, &format!("{} entries long", values.len()), &format!("at most {MOST_RULES} are taken"))
        }
        other => refuse(at, &seen(other), "a list is needed"),
    }
}

fn texts(at: &str, value: Option<&Value>) -> Result<Vec<String>, ConvertError> {
    let one = |(i, value)| text(&format!("{at}[{i}]"), Some(value)).map(str::to_string);
    list(at, value)?.iter().enumerate().map(one).collect()
}

impl Reader<'_> {
    /// The fields of an object, others than `known` being told of.
    fn object<'v>(
        &mut self,
        at: &str,
        value: &'v Value,
        known: &[&str],
    ) -> Result<&'v Map<String, Value>, ConvertError> {
        let Value::Object(fields) = value else {
            return refuse(at, &seen(Some(value)), "an object is needed");
        };
        for key in fields.keys().filter(|key| !known.contains(&key.as_str())) {
            self.warnings.push(format!("the rename rules: {at} has the field {key:?}, which is not used"));
        }
        Ok(fields)
    }

    fn split(&mut self, i: usize, value: &Value) -> Result<Split, ConvertError> {
        let at = format!("splits[{i}]");
        let fields = self.object(&at, value, &["fused_suffix", "part_suffixes", "dim"])?;
        let fused_suffix = text(&format!("{at}.fused_suffix"), fields.get("fused_suffix"))?.to_string();
        let part_suffixes = texts(&format!("{at}.part_suffixes"), fields.get("part_suffixes"))?;
        if fused_suffix.is_empty() {
            return refuse(&format!("{at}.fused_suffix"), "empty", "it must tell fused modules from others");
        }
        if part_suffixes.len() < 2 {
            let found = format!("{} entries long", part_suffixes.len());
            return refuse(&format!("{at}.part_suffixes"), &found, "a split makes two parts or more");
        }
        if let Some(twice) =
            part_suffixes.iter().enumerate().find(|(i, p)| part_suffixes.iter().take(*i).any(|o| o == *p))
        {
            let found = format!("{:?} twice", twice.1);
            return refuse(&format!("{at}.part_suffixes"), &found, "each part needs a name of its own");
        }
        match fields.get("dim") {
            None => {}
            Some(dim) if dim.as_u64() == Some(0) => {}
            other => {
                return refuse(
                    &format!("{at}.dim"),
                    &seen(other),
                    "only the output dimension, 0, can be split: what stands along the others shares scales",
                );
            }
        }
        Ok(Split { fused_suffix, part_suffixes })
    }

    fn rename(&mut self, i: usize, value: &Value) -> Result<Rename, ConvertError> {
        let at = format!("renames[{i}]");
        let fields = self.object(&at, value, &["pattern", "repl", "scope_prefixes"])?;
        let pattern = text(&format!("{at}.pattern"), fields.get("pattern"))?;
        let replacement = text(&format!("{at}.repl"), fields.get("repl"))?;
        let scopes = texts(&format!("{at}.scope_prefixes"), fields.get("scope_prefixes"))?;
        let needed = needed_text(pattern);
        let compiled = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
        let pattern = match compiled {
            Ok(regex) => regex,
            Err(error) => {
                let found = format!("no pattern that can be matched in linear time: {}", one_line(&error));
                return refuse(
                    &format!("{at}.pattern"),
                    &found,
                    "write it without look-around and back-references",
                );
            }
        };
        match Replacement::parse(replacement, &pattern) {
            Ok(replacement) => Ok(Rename { pattern, needed, replacement, scopes }),
            Err(found) => {
                refuse(&format!("{at}.repl"), &found, r"write \1, \g<1> or \g<name> for what a group matched")
            }
        }
    }
}

/// What a pattern's error says, without the drawing of the pattern above it.
fn one_line(error: &regex_lite::Error) -> String {
    let text = error.to_string();
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_string()
}

impl Rules {
    /// Reads `{"splits": […], "renames": […], "expert_fused_leaves": […]}`; each of them may be missing.
    ///
    /// ```text
    /// {"splits": [{"fused_suffix": ".gate_up_proj", "part_suffixes": [".gate_proj", ".up_proj"], "dim": 0}],
    ///  "renames": [{"pattern": "\\.mlp\\.", "repl": ".block_sparse_moe.", "scope_prefixes": ["model.visual."]}],
    ///  "expert_fused_leaves": ["gate_up_proj"]}
    /// ```
    ///
    /// # Errors
    /// If the text is too long or no such JSON, or a pattern cannot be matched in linear time.
    pub(crate) fn from_json(json: &str) -> Result<Self, ConvertError> {
        if json.len() > MOST_BYTES {
            let found = format!("{} bytes long", json.len());
            return refuse("the text", &found, &format!("at most {MOST_BYTES} are taken"));
        }
        let value: Value = match serde_json::from_str(json) {
            Ok(value) => value,
            Err(error) => {
                return refuse(
                    "the text",
                    &format!("no JSON ({error})"),
                    "see the documentation of --rename",
                );
            }
        };
        let mut warnings = Vec::new();
        let mut reader = Reader { warnings: &mut warnings };
        let fields = reader.object("the text", &value, &["splits", "renames", "expert_fused_leaves"])?;
        let splits = list("splits", fields.get("splits"))?;
        let renames = list("renames", fields.get("renames"))?;
        let splits = splits.iter().enumerate().map(|(i, v)| reader.split(i, v)).collect::<Result<_, _>>()?;
        let renames =
            renames.iter().enumerate().map(|(i, v)| reader.rename(i, v)).collect::<Result<_, _>>()?;
        let stacked_leaves = texts("expert_fused_leaves", fields.get("expert_fused_leaves"))?;
        Ok(Self { splits, renames, stacked_leaves, warnings })
    }

    /// A tensor's name after every rename.
    pub(crate) fn tensor(&self, name: &str) -> String {
        self.renames.iter().fold(name.to_string(), |name, rule| {
            // A name that grows without end is cut off from further growth; it is refused where it is used.
            if name.len() > LONGEST_NAME { name } else { rule.apply(&name) }
        })
    }

    /// A module's path after every rename: that which the names of its tensors begin with.
    pub(crate) fn module(&self, path: &str) -> String {
        let renamed = self.tensor(&format!("{path}{PROBE}"));
        match renamed.strip_suffix(PROBE) {
            Some(path) => path.to_string(),
            // A rule that takes away what stands below modules says nothing of modules.
            None => path.to_string(),
        }
    }

    /// Paths of the modules that one becomes by splitting, before renaming; `None` if no split is for it.
    pub(crate) fn split(&self, module: &str) -> Option<Vec<String>> {
        self.splits.iter().find_map(|split| split.parts(module))
    }

    /// Whether a renamed path is that of a stack of experts that must not survive, or of something below it.
    pub(crate) fn is_forbidden_stack(&self, path: &str) -> bool {
        let mut segments = path.split('.').peekable();
        while let Some(segment) = segments.next() {
            let leaf = segments.peek().copied().unwrap_or_default();
            if segment == "experts" && self.stacked_leaves.iter().any(|l| l == leaf) {
                return true;
            }
        }
        false
    }
}
