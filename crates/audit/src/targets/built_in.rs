//! The profiles that are built into the tool, taken from their JSON part by part.
//!
//! The build script has read them in the very form of [`Profile`], so nothing has to be said about a fault here; a
//! reader made by serde would say it for every field of every type, and a browser would download that.

use super::{Algos, Load, Parallel, Physical, Profile, Scale, Source};
use serde_json::Value;

/// Every profile of the text.
pub(super) fn profiles(text: &str) -> Vec<Profile> {
    serde_json::from_str::<Value>(text).map(|all| list(&all, profile)).unwrap_or_default()
}

fn profile(value: &Value) -> Profile {
    Profile {
        id: text(&value["id"]),
        title: text(&value["title"]),
        version: text(&value["version"]),
        kinds: list(&value["kinds"], text),
        source: list(&value["source"], |value| Source {
            project: text(&value["project"]),
            file: text(&value["file"]),
            release: text(&value["release"]),
            says: text(&value["says"]),
        }),
        algos: list(&value["algos"], |value| Algos {
            methods: list(&value["methods"], text),
            names: list(&value["names"], text),
        }),
        scheme: list(&value["scheme"], |value| Load {
            id: text(&value["id"]),
            methods: list(&value["methods"], text),
            scales: list(&value["scales"], |value| Scale {
                leaf: text(&value["leaf"]),
                or: some(&value["or"], text),
                ranks: list(&value["ranks"], |rank| usize::try_from(number(rank)).unwrap_or(usize::MAX)),
                needed: is_true(&value["needed"]),
            }),
            block: some(&value["block"], |value| [number(&value[0]), number(&value[1])]),
            whole: is_true(&value["whole"]),
        }),
        physical: list(&value["physical"], |value| Physical {
            model_types: list(&value["model_types"], text),
            flag: some(&value["flag"], text),
            untied: is_true(&value["untied"]),
            module: text(&value["module"]),
            twin: text(&value["twin"]),
            why: text(&value["why"]),
        }),
        parallel: some(&value["parallel"], |value| Parallel {
            sizes: list(&value["sizes"], number),
            column: list(&value["column"], text),
            row: list(&value["row"], text),
            kv_heads: list(&value["kv_heads"], text),
            merged: list(&value["merged"], |names| list(names, text)),
        }),
    }
}

fn list<T>(value: &Value, of: fn(&Value) -> T) -> Vec<T> {
    value.as_array().into_iter().flatten().map(of).collect()
}

fn some<T>(value: &Value, of: fn(&Value) -> T) -> Option<T> {
    (!value.is_null()).then(|| of(value))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::BUILT_IN;
    use super::*;

    #[test]
    fn they_are_what_a_reader_of_their_type_reads() {
        let read: Vec<Profile> = serde_json::from_str(BUILT_IN).unwrap();
        assert!(read.len() > 3, "{} profiles", read.len());
        assert!(read.iter().any(|profile| profile.parallel.is_some() && !profile.physical.is_empty()));
        assert_eq!(profiles(BUILT_IN), read);
    }
}
