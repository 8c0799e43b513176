//! Recipes written as TOML files, so that they read back the same.

use super::{RecipeFields, ZeroTensors, refuse};
use crate::error::ConvertError;
use quantscope_format::Gather as _;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use toml_writer::{ToTomlKey as _, ToTomlValue as _};

impl RecipeFields {
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
    word.to_toml_value()
}

fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(", "))
}

/// Declared ties: a table where all have a direction and no alias comes twice, else a list.
fn declared(ties: &[String]) -> String {
    let pairs: Vec<Option<(&str, &str)>> = ties.iter().map(|tie| tie.split_once('=')).collect();
    let pair = |(alias, canonical): &(&str, &str)| format!("{} = {}", quoted(alias), quoted(canonical));
    let aliases: BTreeSet<&str> = pairs.iter().flatten().map(|(alias, _)| *alias).gather_set();
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

/// JSON as a value of TOML, which has no null: members that are null are as good as absent.
fn toml_value(json: &str) -> Result<String, ConvertError> {
    let wrong = |error: String| ConvertError::Refused(format!("the rules of renaming: {error}"));
    let value: Value = serde_json::from_str(json).map_err(|e| wrong(e.to_string()))?;
    inline(&value)
}

fn inline(value: &Value) -> Result<String, ConvertError> {
    match value {
        Value::Null => refuse("the rules of renaming: a list holds null, which TOML does not have".into()),
        Value::Bool(set) => Ok(set.to_string()),
        Value::Number(number) => Ok(match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.to_string(),
            (None, Some(float)) => float.to_toml_value(),
            (None, None) => number.to_string(),
        }),
        Value::String(text) => Ok(quoted(text)),
        Value::Array(items) => {
            let items = items.iter().map(inline).collect::<Result<Vec<_>, _>>()?;
            Ok(format!("[{}]", items.join(", ")))
        }
        Value::Object(members) => {
            let members = members.iter().filter(|(_, member)| !member.is_null());
            let members = members
                .map(|(key, member)| Ok(format!("{} = {}", key.to_toml_key(), inline(member)?)))
                .collect::<Result<Vec<String>, ConvertError>>()?;
            Ok(format!("{{ {} }}", members.join(", ")))
        }
    }
}
