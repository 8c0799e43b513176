//! Recipes read from TOML files, with the line of every fault.
//!
//! Knows the keys. A key it does not know is refused by name: what a mistyped line asks for would otherwise be left
//! undone without a word.

use super::lines::{Table, Text, Word};
use super::{
    RecipeFields, ZeroTensors, choice, configs, float, given_choices, glob, kind, refuse, target, tie,
};
use crate::error::ConvertError;
use crate::names::Rules;
use crate::size;
use quantscope_format::Arrange as _;
use serde_json::Value;
use std::ops::Range;
use toml::Spanned;
use toml::de::DeValue;

const FILE: &[&str] = &[
    "name",
    "default",
    "dtype",
    "group_size",
    "fp8_rounding",
    "conv3d",
    "zero_tensors",
    "exclude",
    "rename",
    "layer",
    "fuse",
    "ties",
    "output",
];
const LAYER: &[&str] = &["match", "scheme"];
const FUSE: &[&str] = &["members"];
const TIES: &[&str] = &["policy", "canonical", "declared", "expand"];
const OUTPUT: &[&str] = &["pad", "swizzle", "fuse", "shard_size", "configs"];

fn word_of(value: &DeValue<'_>) -> Result<String, ConvertError> {
    match value {
        DeValue::String(word) => Ok(word.to_string()),
        other => refuse(format!("expected the id of a scheme in quotes, found {}", other.type_str())),
    }
}

/// The default: one id, or one for each kind.
fn default(value: &DeValue<'_>, fields: &mut RecipeFields) -> Result<(), ConvertError> {
    if let DeValue::Table(table) = value {
        for (word, id) in table {
            let id = word_of(id.get_ref())?;
            kind(word.get_ref())?;
            target(&id)?;
            fields.by_kind.push((word.get_ref().to_string(), id));
        }
        return if table.is_empty() { refuse("the default names no kind".into()) } else { Ok(()) };
    }
    fields.to = word_of(value)?;
    target(&fields.to).map(|_| ())
}

/// Declared ties in the order of their lines, as the first that matches counts: a table `{ alias = canonical }`, or a
/// list of names, prefixes, patterns and such tables.
fn declared(
    text: Text<'_>,
    value: &Spanned<DeValue<'_>>,
) -> Result<Vec<(Range<usize>, String)>, ConvertError> {
    let items = match value.get_ref() {
        DeValue::Table(_) => return pairs(text, value),
        DeValue::Array(items) => items,
        other => return text.expected(value.span(), "a table or a list of ties", other),
    };
    let mut all = Vec::new();
    for item in items {
        match item.get_ref() {
            DeValue::String(member) => all.push((item.span(), member.to_string())),
            DeValue::Table(_) => all.extend(pairs(text, item)?),
            other => {
                let expected = "the name of a tied weight or module, or { alias = canonical }";
                return text.expected(item.span(), expected, other);
            }
        }
    }
    Ok(all)
}

fn pairs(text: Text<'_>, value: &Spanned<DeValue<'_>>) -> Result<Vec<(Range<usize>, String)>, ConvertError> {
    let DeValue::Table(table) = value.get_ref() else { return Ok(Vec::new()) };
    let mut pairs = Vec::new();
    for (alias, canonical) in table {
        let DeValue::String(name) = canonical.get_ref() else {
            return text.expected(canonical.span(), "a text in quotes", canonical.get_ref());
        };
        pairs.push((canonical.span(), format!("{}={name}", alias.get_ref())));
    }
    // Tables are read in the order of their keys.
    pairs.arrange_by_key(|(span, _)| span.start);
    Ok(pairs)
}

/// A value as JSON; times become texts.
fn json(value: &DeValue<'_>) -> Result<Value, ConvertError> {
    Ok(match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(whole) => match i64::from_str_radix(whole.as_str(), whole.radix()) {
            Ok(whole) => Value::from(whole),
            Err(_) => return refuse(format!("the rules of renaming: {whole} is too large")),
        },
        DeValue::Float(float) => number(float.as_str()),
        DeValue::Boolean(set) => Value::from(*set),
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Array(items) => {
            Value::from(items.iter().map(|item| json(item.get_ref())).collect::<Result<Vec<_>, _>>()?)
        }
        DeValue::Table(table) => {
            let mut members = serde_json::Map::new();
            for (key, member) in table {
                members.insert(key.get_ref().to_string(), json(member.get_ref())?);
            }
            Value::Object(members)
        }
    })
}

/// A float as JSON. It is read as JSON's are, so that one reader of floats is enough; what JSON has not, infinities
/// and what is no number, is null.
fn number(text: &str) -> Value {
    serde_json::from_str::<f64>(text.trim_start_matches('+')).map_or(Value::Null, Value::from)
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
        let text = Text(text);
        let file = text.parse()?;
        let file = Table::new(text, file.span(), file.get_ref(), FILE)?;
        let mut fields = Self { name: file.word("name")?.map(|name| name.text), ..Self::default() };
        if let Some(value) = file.value("default") {
            text.at(&value.span(), default(value.get_ref(), &mut fields))?;
        }
        let no_dtype = |word: &str| match float(word) {
            Some(_) => Ok(()),
            None => refuse(format!("{word:?} is no dtype; choose bf16, f16 or f32")),
        };
        fields.dtype = file.checked("dtype", no_dtype)?;
        fields.group_size = match file.count("group_size")? {
            Some((0, span)) => return text.at(&span, refuse("group_size must not be 0".into())),
            size => size.map(|(size, _)| size),
        };
        fields.fp8_rounding = file.checked("fp8_rounding", given_choices::fp8_rounding)?;
        fields.conv3d = file.checked("conv3d", given_choices::conv3d)?;
        if let Some(word) = file.word("zero_tensors")? {
            let words = [("refuse", ZeroTensors::Refuse), ("reference", ZeroTensors::Reference)];
            fields.zero_tensors = text.at(&word.span, choice("treatment of zeros", &word.text, &words))?;
        }
        for pattern in file.words("exclude")?.unwrap_or_default() {
            text.at(&pattern.span, glob(&pattern.text))?;
            fields.exclude.push(pattern.text);
        }
        for layer in file.tables("layer", LAYER)? {
            let (pattern, scheme) = (layer.needed_word("match")?, layer.needed_word("scheme")?);
            text.at(&pattern.span, glob(&pattern.text))?;
            text.at(&scheme.span, target(&scheme.text))?;
            fields.layers.push(format!("{}={}", pattern.text, scheme.text));
        }
        for group in file.tables("fuse", FUSE)? {
            fields.fuse_groups.push(texts(group.needed("members", group.words("members")?)?));
        }
        if let Some(rules) = file.value("rename") {
            let json = text.at(&rules.span(), json(rules.get_ref()))?.to_string();
            text.at(&rules.span(), Rules::from_json(&json))?;
            fields.rename_json = Some(json);
        }
        if let Some(ties) = file.table("ties", TIES)? {
            fields.ties = ties.checked("policy", given_choices::ties)?;
            fields.canonical = ties.word("canonical")?.map(|word| word.text);
            fields.expand_ties = ties.flag("expand")?;
            let all = ties.value("declared").map(|value| declared(text, value)).transpose()?;
            for (span, declared) in all.unwrap_or_default() {
                text.at(&span, tie(&declared))?;
                fields.declared_ties.push(declared);
            }
        }
        if let Some(output) = file.table("output", OUTPUT)? {
            fields.pad = output.checked("pad", given_choices::pad)?;
            (fields.swizzle, fields.fuse) = (output.flag("swizzle")?, output.flag("fuse")?);
            fields.shard_size = output.checked("shard_size", size::parse)?;
            fields.configs = output.words("configs")?.map(texts);
            if let Some(names) = output.value("configs") {
                text.at(&names.span(), configs(&fields))?;
            }
        }
        Ok(fields)
    }
}

fn texts(words: Vec<Word>) -> Vec<String> {
    words.into_iter().map(|word| word.text).collect()
}

#[cfg(test)]
mod tests;
