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

/// Roots are not all: what a root forbids, no attribute below it can allow, but scripts of builds, tests, examples and
/// the fuzzer's targets have roots of their own.
#[test]
fn no_file_of_ours_says_unsafe() {
    let mut wrong = Vec::new();
    let mut read = 0;
    for file in rust_files() {
        let text = std::fs::read_to_string(&file).unwrap();
        read += 1;
        wrong.extend(unsafe_lines(&text).map(|line| format!("{}: {line}", file.display())));
    }
    assert!(read > 400, "only {read} files were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
    for code in ["unsafe { x }", "pub unsafe fn f()", "unsafe impl Send for X {}", "#![allow(unsafe_code)]"] {
        assert_eq!(unsafe_lines(code).count(), 1, "{code}");
    }
    let harmless = "#![forbid(unsafe_code)]\n// unsafe { }\nlet policy = \"'unsafe-eval'\";";
    assert_eq!(unsafe_lines(harmless).count(), 0);
}

/// Lines that are unsafe code or allow it.
fn unsafe_lines(text: &str) -> impl Iterator<Item = &str> {
    let ways = [
        "unsafe {",
        "unsafe fn ",
        "unsafe impl ",
        "unsafe trait ",
        "unsafe extern ",
        "(unsafe_code",
        "unsafe(",
    ];
    text.lines().filter(move |line| {
        let code = line.split("//").next().unwrap_or_default();
        ways.iter().any(|way| code.contains(way)) && !code.contains("forbid(unsafe_code)")
    })
}

/// Every file of Rust that is ours.
fn rust_files() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = ["crates", "web", "tests"].map(|name| root().join(name)).into();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !["node_modules", "target"].iter().any(|name| path.ends_with(name)) {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("trust.rs")
            {
                files.push(path);
            }
        }
    }
    files
}

/// What the browser tests run is held by its hash, and comes from where npm gets its packages.
#[test]
fn the_tools_of_the_browser_tests_are_held_by_their_hashes() {
    let text = std::fs::read_to_string(root().join("tests/e2e/package-lock.json")).unwrap();
    let lock: Value = serde_json::from_str(&text).unwrap();
    let packages = lock["packages"].as_object().unwrap();
    let loose: Vec<_> =
        packages.iter().filter(|(name, package)| !name.is_empty() && !is_held(package)).collect();
    assert!(packages.len() > 3 && loose.is_empty(), "{loose:?}");
    assert!(!is_held(&serde_json::json!({ "integrity": "sha1-x" })) && !is_held(&serde_json::json!({})));
    assert!(!is_held(
        &serde_json::json!({ "integrity": "sha512-x", "resolved": "http://elsewhere.org/a.tgz" })
    ));
}

/// Whether a package is fixed by a strong hash, and by no address but the registry's.
fn is_held(package: &Value) -> bool {
    let text = |key: &str| package[key].as_str();
    text("integrity").is_some_and(|hash| hash.starts_with("sha512-"))
        && text("resolved").is_none_or(|address| address.starts_with("https://registry.npmjs.org/"))
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
