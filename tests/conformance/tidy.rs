//! House rules that no compiler checks: the size of files, how they open, what they must not say.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_tests::root;
use std::path::{Path, PathBuf};

/// Longest source file, in lines. A longer one holds more than one idea.
const LONGEST: usize = 500;

/// Files of these kinds in the folders that hold our code.
fn sources(extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in ["crates", "web", "tests/conformance", "tests/e2e", "tests/oracle"] {
        walk(&root().join(folder), extensions, &mut found);
    }
    found.sort();
    assert!(found.len() > 20, "the walk found {} files; it looks in the wrong place", found.len());
    found
}

fn walk(folder: &Path, extensions: &[&str], found: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "node_modules", "samples", "test-results"].contains(&name.as_str()) {
                walk(&path, extensions, found);
            }
        } else if path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e)) {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path.strip_prefix(root()).unwrap().to_path_buf(), text));
        }
    }
}

/// Lines that hold a word, as `file:line: word`.
fn lines_with(file: &Path, text: &str, words: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for word in words.iter().filter(|word| line.contains(word.as_str())) {
            found.push(format!("{}:{}: {word}", file.display(), number + 1));
        }
    }
    found
}

/// Marks of unfinished work. Put together here so that this file does not hold them.
fn unfinished() -> Vec<String> {
    [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["to", "do!("], ["unimplemented", "!("]]
        .map(|p| p.concat())
        .to_vec()
}

/// Folders that exist on one machine only.
fn machine_paths() -> Vec<String> {
    ["home", "root", "work", "tmp", "Users"].map(|folder| format!("/{folder}/")).to_vec()
}

#[test]
fn files_are_short() {
    let long: Vec<String> = sources(&["rs", "wgsl", "css", "mjs", "py"])
        .iter()
        .filter(|(_, text)| text.lines().count() > LONGEST)
        .map(|(file, text)| format!("{}: {} lines", file.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "over {LONGEST} lines:\n{}", long.join("\n"));
}

#[test]
fn files_say_what_they_know() {
    let silent: Vec<String> = sources(&["rs"])
        .iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(file, _)| file.display().to_string())
        .collect();
    assert!(silent.is_empty(), "these do not open with //!:\n{}", silent.join("\n"));
    let opens = |text: &str| text.trim_start_matches("#!/usr/bin/env python3\n").starts_with("\"\"\"");
    let silent: Vec<String> = sources(&["rs", "py"])
        .iter()
        .filter(|(file, text)| file.extension().is_some_and(|e| e == "py") && !opens(text))
        .map(|(file, _)| file.display().to_string())
        .collect();
    assert!(silent.is_empty(), "these do not open with a docstring:\n{}", silent.join("\n"));
}

#[test]
fn nothing_is_left_unfinished() {
    let words = unfinished();
    let found: Vec<String> = sources(&["rs", "wgsl", "css", "mjs", "py"])
        .iter()
        .flat_map(|(file, text)| lines_with(file, text, &words))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_path_of_one_machine() {
    let words = machine_paths();
    let mut files = sources(&["rs", "wgsl", "css", "mjs", "json", "toml", "py"]);
    for name in
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "Cargo.toml", "Trunk.toml", "index.html", ".ci/run"]
    {
        files.push((PathBuf::from(name), std::fs::read_to_string(root().join(name)).unwrap()));
    }
    let found: Vec<String> = files.iter().flat_map(|(file, text)| lines_with(file, text, &words)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A lock file that names where this machine downloads from does not work on another.
#[test]
fn lock_files_name_no_download_host() {
    let cargo = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let allowed = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let foreign: Vec<&str> =
        cargo.lines().filter(|line| line.starts_with("source = ") && *line != allowed).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    let npm = std::fs::read_to_string(root().join("tests/e2e/package-lock.json")).unwrap();
    assert!(!npm.contains("\"resolved\""), "tests/e2e/package-lock.json names download addresses");
}

/// Trunk looks for the command-line tool of this version, which must be that of the library.
#[test]
fn trunk_wants_the_wasm_bindgen_of_the_lock_file() {
    let read =
        |name: &str| std::fs::read_to_string(root().join(name)).unwrap().parse::<toml::Table>().unwrap();
    let (trunk, lock) = (read("Trunk.toml"), read("Cargo.lock"));
    let packages = lock["package"].as_array().unwrap();
    let locked = packages.iter().find(|package| package["name"].as_str() == Some("wasm-bindgen")).unwrap();
    assert_eq!(trunk["tools"]["wasm_bindgen"], locked["version"]);
}

#[test]
fn the_searches_find_what_they_look_for() {
    let file = Path::new("a.rs");
    assert_eq!(lines_with(file, "let a = 1;\n// TO-DO", &unfinished()), Vec::<String>::new());
    let line = format!("fine\n// {}: later", unfinished()[0]);
    assert_eq!(lines_with(file, &line, &unfinished()), [format!("a.rs:2: {}", unfinished()[0])]);
    let line = format!("open(\"{}x\")", machine_paths()[0]);
    assert_eq!(lines_with(file, &line, &machine_paths()).len(), 1);
}
