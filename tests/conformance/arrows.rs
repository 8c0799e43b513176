//! The doors between rooms: which crate may depend on which, and who may name which outside library.
//!
//! `ARCHITECTURE.md` draws the same arrows for people. What is not listed here is forbidden.

use quantscope_tests::manifests;
use std::collections::BTreeMap;

/// Room, and the rooms its code may name. Tests of a room may name whatever its code may reach.
const DOORS: &[(&str, &[&str])] = &[
    ("numeric", &[]),
    ("format", &["numeric"]),
    ("kernels", &["numeric"]),
    ("schemes", &["format", "kernels", "numeric"]),
    ("audit", &["schemes", "format", "kernels", "numeric"]),
    ("convert", &["audit", "schemes", "format", "kernels", "numeric"]),
    ("gpu", &["kernels"]),
    ("remote", &["format"]),
    ("session", &["convert", "audit", "schemes", "format", "kernels", "numeric"]),
    // The two faces implement the doors of `format` (Source, Sink) and pick an engine of `kernels`.
    ("cli", &["session", "gpu", "remote", "format", "kernels"]),
    ("web", &["session", "gpu", "remote", "format", "kernels"]),
    ("bench", &["kernels", "format", "numeric"]),
    ("xtask", &["format", "numeric"]),
    ("promises", &["session", "convert", "audit", "format", "numeric"]),
    ("tests", &["session", "gpu", "convert", "audit", "schemes", "format", "kernels", "numeric"]),
];

/// Outside library, and the only rooms whose code may name it.
const OWNERS: &[(&str, &[&str])] = &[
    ("wgpu", &["gpu"]),
    ("yew", &["web"]),
    ("yew-router", &["web"]),
    ("web-sys", &["web"]),
    ("gloo-timers", &["web"]),
    ("gloo-events", &["web"]),
    ("serde-wasm-bindgen", &["web"]),
    ("clap", &["cli"]),
    ("indicatif", &["cli"]),
    ("comfy-table", &["cli"]),
    ("ureq", &["cli"]),
    ("xshell", &["xtask"]),
    ("tiny_http", &["xtask"]),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Code,
    Tests,
}

/// The room a package name stands for; `None` for a library from outside.
fn room(package: &str) -> Option<&str> {
    match package {
        "quantscope" => Some("cli"),
        "xtask" => Some("xtask"),
        _ => package.strip_prefix("quantscope-"),
    }
}

/// Every dependency of a manifest, those for one target only included.
fn dependencies(manifest: &toml::Table) -> Vec<(String, Use)> {
    let mut tables = vec![manifest];
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    tables.extend(targets.into_iter().flat_map(toml::Table::values).filter_map(toml::Value::as_table));
    let mut found = Vec::new();
    for table in tables {
        for (key, used) in
            [("dependencies", Use::Code), ("build-dependencies", Use::Code), ("dev-dependencies", Use::Tests)]
        {
            for (name, entry) in table.get(key).and_then(toml::Value::as_table).into_iter().flatten() {
                let package = entry.get("package").and_then(toml::Value::as_str).unwrap_or(name);
                found.push((package.to_owned(), used));
            }
        }
    }
    found
}

/// Rooms that `from` reaches through its doors.
fn reach<'a>(doors: &BTreeMap<&'a str, &'a [&'a str]>, from: &str, found: &mut Vec<&'a str>) {
    for &next in doors.get(from).copied().unwrap_or_default() {
        if !found.contains(&next) {
            found.push(next);
            reach(doors, next, found);
        }
    }
}

/// What is wrong with one room's manifest.
fn faults(package: &str, manifest: &toml::Table) -> Vec<String> {
    let doors: BTreeMap<&str, &[&str]> = DOORS.iter().copied().collect();
    let Some(from) = room(package).filter(|from| doors.contains_key(from)) else {
        return vec![format!("{package} is no room that DOORS lists")];
    };
    let mut below = Vec::new();
    reach(&doors, from, &mut below);
    let mut faults = Vec::new();
    for (name, used) in dependencies(manifest) {
        if let Some(to) = room(&name) {
            let allowed = match used {
                Use::Code => doors[from].contains(&to),
                Use::Tests => below.contains(&to),
            };
            if !allowed {
                faults.push(format!("{from} must not depend on {to}"));
            }
        } else if let Some((_, owners)) = OWNERS.iter().find(|(library, _)| *library == name)
            && used == Use::Code
            && !owners.contains(&from)
        {
            faults.push(format!("{from} must not name {name}; only {} may", owners.join(", ")));
        }
    }
    faults
}

#[test]
fn every_arrow_is_allowed() {
    let manifests = manifests();
    assert_eq!(manifests.len(), DOORS.len(), "each room has a line in DOORS");
    let faults: Vec<String> = manifests.iter().flat_map(|(name, manifest)| faults(name, manifest)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn nothing_points_back() {
    let doors: BTreeMap<&str, &[&str]> = DOORS.iter().copied().collect();
    for from in doors.keys() {
        let mut below = Vec::new();
        reach(&doors, from, &mut below);
        assert!(!below.contains(from), "{from} reaches itself");
    }
}

#[test]
fn a_forbidden_arrow_is_noticed() {
    let judge = |package: &str, text: &str| faults(package, &text.parse().unwrap());
    assert_eq!(
        judge("quantscope-format", "[dependencies]\nquantscope-schemes.workspace = true"),
        ["format must not depend on schemes"]
    );
    assert_eq!(
        judge("quantscope-audit", "[dev-dependencies]\nquantscope-session.workspace = true"),
        ["audit must not depend on session"]
    );
    assert_eq!(
        judge("quantscope-kernels", "[target.'cfg(unix)'.dependencies]\nquantscope-gpu.workspace = true"),
        ["kernels must not depend on gpu"]
    );
    assert_eq!(
        judge("quantscope-session", "[dependencies]\nengine = { package = \"wgpu\", version = \"30\" }"),
        ["session must not name wgpu; only gpu may"]
    );
    assert_eq!(judge("quantscope-new", ""), ["quantscope-new is no room that DOORS lists"]);
    assert!(judge("quantscope-gpu", "[dev-dependencies]\nquantscope-numeric.workspace = true").is_empty());
}
