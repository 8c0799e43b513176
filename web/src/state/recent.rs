//! Recipes that were run lately, as this device remembers them. What was chosen for single layers by hand and the
//! calibration belong to a checkpoint, and are not among it.

use super::form::Form;
use super::route::{decode, encode};

/// How many are remembered.
const MOST: usize = 5;
/// Longest text that is taken back.
const LONGEST: usize = 64 << 10;
/// Before the scheme of a kind.
const KIND: &str = "kind.";

/// A recipe as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recent(Form);

/// A part of the form that is text.
type Text = (&'static str, fn(&mut Form) -> &mut String);
/// A part of the form that is on or off.
type Switch = (&'static str, fn(&mut Form) -> &mut bool);

const TEXTS: [Text; 13] = [
    ("name", |form| &mut form.name),
    ("scheme", |form| &mut form.scheme),
    ("exclude", |form| &mut form.exclude),
    ("dtype", |form| &mut form.dtype),
    ("group", |form| &mut form.group_size),
    ("rounding", |form| &mut form.fp8_rounding),
    ("conv3d", |form| &mut form.conv3d),
    ("ties", |form| &mut form.ties),
    ("canonical", |form| &mut form.canonical),
    ("declared", |form| &mut form.declared_ties),
    ("rename", |form| &mut form.rename),
    ("pad", |form| &mut form.pad),
    ("shard", |form| &mut form.shard_size),
];
const SWITCHES: [Switch; 4] = [
    ("expand", |form| &mut form.expand_ties),
    ("swizzle", |form| &mut form.swizzle),
    ("fuse", |form| &mut form.fuse),
    ("zero", |form| &mut form.zero_tensors_as_reference),
];

impl Recent {
    /// What is worth remembering of a form; nothing of one that passes on more of a recipe file than it shows.
    pub(crate) fn of(form: &Form) -> Option<Self> {
        let by_layer = Default::default();
        form.beyond.words().is_empty().then(|| Self(Form { by_layer, calibration: None, ..form.clone() }))
    }

    /// The form that it was.
    pub(crate) fn form(&self) -> Form {
        self.0.clone()
    }

    /// In words.
    pub(crate) fn words(&self) -> String {
        let form = &self.0;
        let mut words = if form.name.is_empty() { form.scheme.clone() } else { form.name.clone() };
        if let Some(kinds) = &form.by_kind {
            let kinds: Vec<String> = kinds.iter().map(|(kind, scheme)| format!("{kind} {scheme}")).collect();
            words = kinds.join(", ");
        }
        for (word, text) in [("cast to ", &form.dtype), ("without ", &form.exclude)] {
            if !text.is_empty() {
                words.push_str(&format!(", {word}{text}"));
            }
        }
        words
    }

    /// A line of `key=value`, with `&` between.
    fn write(&self) -> String {
        let mut form = self.0.clone();
        let mut pairs = Vec::new();
        for (key, part) in TEXTS {
            let value = part(&mut form);
            if !value.is_empty() {
                pairs.push(format!("{key}={}", encode(value)));
            }
        }
        for (key, part) in SWITCHES {
            if *part(&mut form) {
                pairs.push(format!("{key}=1"));
            }
        }
        pairs.extend(form.rules.iter().map(|rule| format!("rule={}", encode(rule))));
        let kinds = form.by_kind.iter().flatten();
        pairs.extend(kinds.map(|(kind, scheme)| format!("{KIND}{}={}", encode(kind), encode(scheme))));
        pairs.join("&")
    }

    fn read(line: &str) -> Option<Self> {
        let mut form = Form { scheme: String::new(), ..Form::default() };
        for (key, value) in line.split('&').filter_map(|pair| pair.split_once('=')) {
            let value = decode(value)?;
            if let Some((_, part)) = TEXTS.iter().find(|(known, _)| *known == key) {
                *part(&mut form) = value;
            } else if let Some((_, part)) = SWITCHES.iter().find(|(known, _)| *known == key) {
                *part(&mut form) = value == "1";
            } else if key == "rule" {
                form.rules.push(value);
            } else if let Some(kind) = key.strip_prefix(KIND).and_then(decode) {
                form.by_kind.get_or_insert_with(Default::default).insert(kind, value);
            }
        }
        Some(Self(form)).filter(|Self(form)| !form.scheme.is_empty() || form.by_kind.is_some())
    }
}

/// Puts a recipe first; what was there twice, or too long ago, goes.
pub(crate) fn remember(recents: &mut Vec<Recent>, recent: Recent) {
    recents.retain(|known| *known != recent);
    recents.insert(0, recent);
    recents.truncate(MOST);
}

/// The recipes as text, a line each.
pub(crate) fn write(recents: &[Recent]) -> String {
    recents.iter().map(Recent::write).collect::<Vec<_>>().join("\n")
}

/// Reads what [`write`] wrote. What is not understood is left out: it may be of another version.
pub(crate) fn read(text: &str) -> Vec<Recent> {
    if text.len() > LONGEST {
        return Vec::new();
    }
    text.lines().filter_map(Recent::read).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recent(form: &Form) -> Recent {
        Recent::of(form).expect("nothing beyond the form")
    }

    #[test]
    fn recipes_survive_a_visit() {
        let mut kinds = Form {
            by_kind: Some([("linear".to_owned(), "fp8".to_owned())].into()),
            fuse: true,
            ..Form::default()
        };
        kinds.rules = vec!["*.mlp.*=nvfp4-mse".into(), "a&b=keep".into()];
        let mut plain = Form { exclude: "*head*,\n\té".into(), dtype: "bf16".into(), ..Form::default() };
        plain.by_layer.insert("model.layers.0".into(), "keep".into());
        let mut recents = Vec::new();
        remember(&mut recents, recent(&kinds));
        remember(&mut recents, recent(&plain));
        let text = write(&recents);
        assert!(!text.contains("layers.0"), "{text}");
        assert_eq!(read(&text), recents);
        assert_eq!(recents[1].form(), kinds);
        assert_eq!(recents[0].words(), "nvfp4, cast to bf16, without *head*,\n\té");
        assert_eq!(recents[1].words(), "linear fp8");
    }

    #[test]
    fn the_last_five_are_kept_each_once() {
        let mut recents = Vec::new();
        for scheme in ["a", "b", "c", "d", "e", "f", "b"] {
            remember(&mut recents, recent(&Form { scheme: scheme.into(), ..Form::default() }));
        }
        let schemes: Vec<String> = recents.iter().map(Recent::words).collect();
        assert_eq!(schemes, ["b", "f", "e", "d", "c"]);
    }

    #[test]
    fn what_somebody_else_wrote_is_left_out() {
        assert_eq!(read("nvfp4\n\nscheme=\nscheme=%zz\nfuse=1\n\u{0}"), []);
        assert_eq!(read(&"scheme=a\n".repeat(9000)), []);
        assert_eq!(read(&"scheme=a\n".repeat(9)).len(), 5);
    }
}
