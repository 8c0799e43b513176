//! Recipes as TOML files: read with the line of every fault, and written so that they read back the same.
//!
//! Knows the keys and their order. A key it does not know is refused by name: what a mistyped line asks for would
//! otherwise be left undone without a word.

use super::{
    RecipeFields, ZeroTensors, choice, configs, float, given_choices, glob, kind, refuse, target, tie,
};
use crate::error::ConvertError;
use crate::names::Rules;
use crate::size;
use quantscope_format::Arrange as _;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;
use toml::{Spanned, Value};

/// A recipe as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<String>,
    default: Option<Spanned<Value>>,
    dtype: Option<Spanned<String>>,
    group_size: Option<Spanned<u64>>,
    fp8_rounding: Option<Spanned<String>>,
    conv3d: Option<Spanned<String>>,
    zero_tensors: Option<Spanned<String>>,
    #[serde(default)]
    exclude: Vec<Spanned<String>>,
    rename: Option<Spanned<Value>>,
    #[serde(default)]
    layer: Vec<Layer>,
    #[serde(default)]
    fuse: Vec<Fuse>,
    #[serde(default)]
    ties: Ties,
    #[serde(default)]
    output: Output,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    #[serde(rename = "match")]
    pattern: Spanned<String>,
    scheme: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fuse {
    members: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ties {
    policy: Option<Spanned<String>>,
    canonical: Option<String>,
    declared: Declared,
    expand: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Output {
    pad: Option<Spanned<String>>,
    swizzle: bool,
    fuse: bool,
    shard_size: Option<Spanned<String>>,
    configs: Option<Spanned<Vec<String>>>,
}

/// Declared ties in the order of their lines, as the first that matches counts: a table `{ alias = canonical }`, or a
/// list of names, prefixes, patterns and such tables.
#[derive(Default)]
struct Declared(Vec<(Range<usize>, String)>);

impl<'de> Deserialize<'de> for Declared {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lines;
        impl<'de> Visitor<'de> for Lines {
            type Value = Declared;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a table or a list of ties")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Declared, A::Error> {
                let mut pairs = Vec::new();
                while let Some((alias, canonical)) = map.next_entry::<String, Spanned<String>>()? {
                    pairs.push((canonical.span(), format!("{alias}={}", canonical.get_ref())));
                }
                // Tables are read in the order of their keys.
                pairs.arrange_by_key(|(span, _)| span.start);
                Ok(Declared(pairs))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Declared, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = list.next_element::<Spanned<Entry>>()? {
                    let span = entry.span();
                    match entry.into_inner() {
                        Entry::Member(text) => all.push((span, text)),
                        Entry::Pairs(pairs) => all.extend(pairs.0),
                    }
                }
                Ok(Declared(all))
            }
        }
        deserializer.deserialize_any(Lines)
    }
}

/// One entry of a list of ties.
enum Entry {
    Member(String),
    Pairs(Declared),
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Entry;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a tied weight or module, or { alias = canonical }")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Entry, E> {
                Ok(Entry::Member(text.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                Declared::deserialize(MapAccessDeserializer::new(map)).map(Entry::Pairs)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The text of a recipe, for the lines of its faults.
struct Text<'t>(&'t str);

impl Text<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.0.as_bytes().iter().take(span.start);
        before.filter(|byte| **byte == b'\n').count() + 1
    }

    /// A fault with its line.
    fn at<T>(&self, span: &Range<usize>, checked: Result<T, ConvertError>) -> Result<T, ConvertError> {
        checked.map_err(|error| ConvertError::Recipe { line: self.line(span), reason: error.to_string() })
    }

    /// A word, once it was checked.
    fn word<T>(
        &self,
        word: Option<Spanned<String>>,
        check: impl Fn(&str) -> Result<T, ConvertError>,
    ) -> Result<Option<String>, ConvertError> {
        let Some(word) = word else { return Ok(None) };
        self.at(&word.span(), check(word.get_ref()))?;
        Ok(Some(word.into_inner()))
    }
}

fn word_of(value: &Value) -> Result<String, ConvertError> {
    match value {
        Value::String(word) => Ok(word.clone()),
        other => refuse(format!("expected the id of a scheme in quotes, found {}", other.type_str())),
    }
}

/// The default: one id, or one for each kind.
fn default(value: &Value, fields: &mut RecipeFields) -> Result<(), ConvertError> {
    if let Value::Table(table) = value {
        for (word, id) in table {
            let id = word_of(id)?;
            kind(word)?;
            target(&id)?;
            fields.by_kind.push((word.clone(), id));
        }
        return if table.is_empty() { refuse("the default names no kind".into()) } else { Ok(()) };
    }
    fields.to = word_of(value)?;
    target(&fields.to).map(|_| ())
}

impl RecipeFields {
    /// Reads a recipe.
    ///
    /// ```
    /// # use quantscope_convert::RecipeFields;
    /// let recipe = RecipeFields::from_toml(r#"
    ///     default = { linear = "fp8-block", conv3d = "nvfp4" }
    ///     [[layer]]
    ///     match = "*.attentions.*"
    ///     scheme = "keep"
    /// "#)?;
    /// assert_eq!(recipe.layers, ["*.attentions.*=keep"]);
    /// let error = RecipeFields::from_toml("default = \"nvfp4\"\nscheme = \"fp8\"").unwrap_err();
    /// assert!(error.to_string().starts_with("the recipe, line 2: unknown field `scheme`"));
    /// # Ok::<(), quantscope_convert::ConvertError>(())
    /// ```
    ///
    /// # Errors
    /// If it is no TOML, has a key that is not known, or names a scheme, kind, pattern or choice that there is not;
    /// with the line.
    pub fn from_toml(text: &str) -> Result<Self, ConvertError> {
        let file: File = toml::from_str(text).map_err(|error| ConvertError::Recipe {
            line: error.span().map_or(1, |span| Text(text).line(&span)),
            reason: error.message().to_string(),
        })?;
        let text = Text(text);
        let mut fields = Self { name: file.name, ..Self::default() };
        if let Some(value) = file.default {
            text.at(&value.span(), default(value.get_ref(), &mut fields))?;
        }
        let no_dtype = |word: &str| match float(word) {
            Some(_) => Ok(()),
            None => refuse(format!("{word:?} is no dtype; choose bf16, f16 or f32")),
        };
        fields.dtype = text.word(file.dtype, no_dtype)?;
        fields.group_size = match file.group_size {
            Some(size) if *size.get_ref() == 0 => {
                return text.at(&size.span(), refuse("group_size must not be 0".into()));
            }
            size => size.map(Spanned::into_inner),
        };
        fields.fp8_rounding = text.word(file.fp8_rounding, given_choices::fp8_rounding)?;
        fields.conv3d = text.word(file.conv3d, given_choices::conv3d)?;
        if let Some(word) = file.zero_tensors {
            let words = [("refuse", ZeroTensors::Refuse), ("reference", ZeroTensors::Reference)];
            let chosen = choice("treatment of zeros", word.get_ref(), &words);
            fields.zero_tensors = text.at(&word.span(), chosen)?;
        }
        for pattern in file.exclude {
            text.at(&pattern.span(), glob(pattern.get_ref()))?;
            fields.exclude.push(pattern.into_inner());
        }
        for layer in file.layer {
            text.at(&layer.pattern.span(), glob(layer.pattern.get_ref()))?;
            text.at(&layer.scheme.span(), target(layer.scheme.get_ref()))?;
            fields.layers.push(format!("{}={}", layer.pattern.get_ref(), layer.scheme.get_ref()));
        }
        fields.fuse_groups = file.fuse.into_iter().map(|group| group.members).collect();
        if let Some(rules) = file.rename {
            let json = json_text(rules.get_ref())?;
            text.at(&rules.span(), Rules::from_json(&json))?;
            fields.rename_json = Some(json);
        }
        fields.ties = text.word(file.ties.policy, given_choices::ties)?;
        fields.canonical = file.ties.canonical;
        fields.expand_ties = file.ties.expand;
        for (span, declared) in file.ties.declared.0 {
            text.at(&span, tie(&declared))?;
            fields.declared_ties.push(declared);
        }
        fields.pad = text.word(file.output.pad, given_choices::pad)?;
        (fields.swizzle, fields.fuse) = (file.output.swizzle, file.output.fuse);
        fields.shard_size = text.word(file.output.shard_size, size::parse)?;
        if let Some(names) = file.output.configs {
            let span = names.span();
            fields.configs = Some(names.into_inner());
            text.at(&span, configs(&fields))?;
        }
        Ok(fields)
    }

    /// Writes the recipe as TOML; the calibration is no part of it.
    ///
    /// # Errors
    /// If its rules of renaming are no JSON.
    pub fn to_toml(&self) -> Result<String, ConvertError> {
        let mut text = String::new();
        let top = [
            ("name", self.name.as_deref()),
            ("dtype", self.dtype.as_deref()),
            ("default", Some(self.to.as_str()).filter(|to| !to.is_empty())),
            ("fp8_rounding", self.fp8_rounding.as_deref()),
            ("conv3d", self.conv3d.as_deref()),
            ("zero_tensors", (self.zero_tensors == ZeroTensors::Reference).then_some("reference")),
        ];
        words(&mut text, &top);
        if !self.by_kind.is_empty() {
            let pairs: Vec<String> =
                self.by_kind.iter().map(|(k, id)| format!("{k} = {}", quoted(id))).collect();
            let _ = writeln!(text, "default = {{ {} }}", pairs.join(", "));
        }
        if let Some(size) = self.group_size {
            let _ = writeln!(text, "group_size = {size}");
        }
        if !self.exclude.is_empty() {
            let _ = writeln!(text, "exclude = {}", list(&self.exclude));
        }
        if let Some(rules) = self.rename_json.as_deref().filter(|rules| !rules.is_empty()) {
            let _ = writeln!(text, "rename = {}", toml_value(rules)?);
        }
        for (pattern, scheme) in self.layers.iter().filter_map(|rule| rule.rsplit_once('=')) {
            let _ = writeln!(text, "\n[[layer]]\nmatch = {}\nscheme = {}", quoted(pattern), quoted(scheme));
        }
        for members in &self.fuse_groups {
            let _ = writeln!(text, "\n[[fuse]]\nmembers = {}", list(members));
        }
        let mut ties = String::new();
        words(&mut ties, &[("policy", self.ties.as_deref()), ("canonical", self.canonical.as_deref())]);
        if !self.declared_ties.is_empty() {
            let _ = writeln!(ties, "declared = {}", declared(&self.declared_ties));
        }
        flags(&mut ties, &[("expand", self.expand_ties)]);
        let mut output = String::new();
        words(&mut output, &[("pad", self.pad.as_deref()), ("shard_size", self.shard_size.as_deref())]);
        flags(&mut output, &[("swizzle", self.swizzle), ("fuse", self.fuse)]);
        if let Some(names) = &self.configs {
            let _ = writeln!(output, "configs = {}", list(names));
        }
        for (title, lines) in [("ties", ties), ("output", output)] {
            if !lines.is_empty() {
                let _ = write!(text, "\n[{title}]\n{lines}");
            }
        }
        Ok(text)
    }
}

fn quoted(word: &str) -> String {
    Value::String(word.to_string()).to_string()
}

fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(", "))
}

/// Declared ties: a table where all have a direction and no alias comes twice, else a list.
fn declared(ties: &[String]) -> String {
    let pairs: Vec<Option<(&str, &str)>> = ties.iter().map(|tie| tie.split_once('=')).collect();
    let pair = |(alias, canonical): &(&str, &str)| format!("{} = {}", quoted(alias), quoted(canonical));
    let aliases: BTreeSet<&str> = pairs.iter().flatten().map(|(alias, _)| *alias).collect();
    if aliases.len() == ties.len() {
        let pairs: Vec<String> = pairs.iter().flatten().map(pair).collect();
        return format!("{{ {} }}", pairs.join(", "));
    }
    let entry = |(tie, directed): (&String, &Option<(&str, &str)>)| match directed {
        Some(directed) => format!("{{ {} }}", pair(directed)),
        None => quoted(tie),
    };
    let entries: Vec<String> = ties.iter().zip(&pairs).map(entry).collect();
    format!("[{}]", entries.join(", "))
}

fn words(text: &mut String, lines: &[(&str, Option<&str>)]) {
    for (key, word) in lines {
        if let Some(word) = word {
            let _ = writeln!(text, "{key} = {}", quoted(word));
        }
    }
}

fn flags(text: &mut String, lines: &[(&str, bool)]) {
    for (key, _) in lines.iter().filter(|(_, is_set)| *is_set) {
        let _ = writeln!(text, "{key} = true");
    }
}

fn json_text(rules: &Value) -> Result<String, ConvertError> {
    serde_json::to_string(rules).or_else(|error| refuse(format!("the rules of renaming: {error}")))
}

/// JSON as a value of TOML, which has no null: members that are null are as good as absent.
fn toml_value(json: &str) -> Result<Value, ConvertError> {
    fn without_null(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(members) => {
                members.retain(|_, member| !member.is_null());
                members.values_mut().for_each(without_null);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(without_null),
            _ => {}
        }
    }
    let wrong = |error: String| ConvertError::Refused(format!("the rules of renaming: {error}"));
    let mut value: serde_json::Value = serde_json::from_str(json).map_err(|e| wrong(e.to_string()))?;
    without_null(&mut value);
    Value::try_from(value).map_err(|e| wrong(e.to_string()))
}

#[cfg(test)]
mod tests;
