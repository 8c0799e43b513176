//! What the code stands on: no unsafe code of ours, and dependencies from one place under licences that were read.
//!
//! `deny.toml` says the same to `cargo deny`, which also asks the database of advisories; this test needs no network.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_tests::root;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every file that a target of a package of ours begins with.
fn roots(metadata: &Value) -> Vec<PathBuf> {
    let own = metadata["packages"].as_array().unwrap().iter().filter(|package| package["source"].is_null());
    let targets = own.flat_map(|package| package["targets"].as_array().unwrap());
    let code = targets.filter(|target| {
        let kind = target["kind"][0].as_str().unwrap();
        ["lib", "bin", "rlib", "cdylib"].contains(&kind)
    });
    code.map(|target| PathBuf::from(target["src_path"].as_str().unwrap())).collect()
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let asked = Command::new(cargo)
        .args(["metadata", "--locked", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    serde_json::from_slice(&asked.stdout).unwrap()
}

/// A list of texts in `deny.toml`.
fn listed(table: &str, key: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let deny: toml::Table = text.parse().unwrap();
    let texts = deny[table][key].as_array().unwrap();
    texts.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// No exception is listed anywhere because there is none: who needs one writes it here, with its reason.
#[test]
fn no_code_of_ours_is_unsafe() {
    let roots = roots(&metadata());
    assert!(roots.len() >= 14, "only {} targets were found", roots.len());
    let allows = |file: &Path| !std::fs::read_to_string(file).unwrap().contains("#![forbid(unsafe_code)]");
    let lax: Vec<_> = roots.iter().filter(|file| allows(file)).collect();
    assert!(lax.is_empty(), "these do not forbid unsafe code: {lax:?}");
}

/// Whether an expression of SPDX is satisfied by the licences allowed; `AND` binds first, one level of brackets is read.
fn allowed(expression: &str, licences: &[String]) -> bool {
    let expression = expression.replace('/', " OR ");
    if let Some((before, rest)) = expression.split_once('(') {
        let (inner, after) = rest.split_once(')').unwrap_or((rest, ""));
        let whole = format!("{before}{}{after}", if allowed(inner, licences) { "yes" } else { "no" });
        return allowed(&whole, licences);
    }
    let one = |licence: &str| {
        let licence = licence.trim();
        licence == "yes" || licences.iter().any(|known| known == licence)
    };
    expression.split(" OR ").any(|part| part.split(" AND ").all(one))
}

#[test]
fn dependencies_come_from_one_place_under_known_licences() {
    let (licences, registries) = (listed("licenses", "allow"), listed("sources", "allow-registry"));
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let mut wrong = Vec::new();
    let mut from_outside = 0;
    for package in packages.iter().filter(|package| !package["source"].is_null()) {
        from_outside += 1;
        let (name, source) = (&package["name"], package["source"].as_str().unwrap());
        if !registries.iter().any(|registry| source == format!("registry+{registry}")) {
            wrong.push(format!("{name} comes from {source}"));
        }
        let licence = package["license"].as_str().unwrap_or("none stated");
        if !allowed(licence, &licences) {
            wrong.push(format!("{name} is under {licence}"));
        }
    }
    assert!(from_outside > 100, "only {from_outside} dependencies were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_licence_that_nobody_read_is_seen() {
    let known = ["MIT".to_owned(), "Unicode-3.0".to_owned()];
    assert!(allowed("MIT OR GPL-3.0", &known) && allowed("GPL-3.0/MIT", &known));
    assert!(allowed("(MIT OR Apache-2.0) AND Unicode-3.0", &known));
    assert!(!allowed("GPL-3.0", &known) && !allowed("MIT AND GPL-3.0", &known));
    assert!(!allowed("(Apache-2.0 OR ISC) AND MIT", &known) && !allowed("none stated", &known));
}
