//! Globs against Python's `fnmatch.fnmatchcase`.
//!
//! `fixtures/fnmatch.json` was made by Python 3.13 (3.10 to 3.12 give the same): for lists `patterns`
//! and `texts`, by hand and of random characters from `ab-c[]!*?^\.é`, one row per pattern,
//! `[p, "".join("1" if fnmatch.fnmatchcase(t, p) else "0" for t in texts)]`.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use quantscope_format::{Glob, GlobError, GlobSet};
use serde_json::Value;
use std::time::Instant;

#[test]
fn globs_match_what_fnmatch_matches() {
    let table: Value = serde_json::from_str(include_str!("fixtures/fnmatch.json")).unwrap();
    let texts: Vec<&str> = table["texts"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    let rows = table["rows"].as_array().unwrap();
    assert!(rows.len() > 300 && texts.len() > 80, "the table is cut");
    let mut wrong = Vec::new();
    for row in rows {
        let pattern = row[0].as_str().unwrap();
        let glob = Glob::new(pattern).unwrap();
        for (text, expected) in texts.iter().zip(row[1].as_str().unwrap().chars()) {
            if glob.is_match(text) != (expected == '1') {
                wrong.push(format!("{pattern:?} on {text:?}: fnmatch says {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn patterns_that_explode_elsewhere_do_not_here() {
    let start = Instant::now();
    let text = "a".repeat(100_000);
    assert!(!Glob::new("*a*a*a*a*b").unwrap().is_match(&text));
    assert!(!Glob::new(&"*a".repeat(1000)).unwrap().is_match(&"a".repeat(999)));
    assert!(Glob::new(&"*a".repeat(1000)).unwrap().is_match(&text));
    assert!(!Glob::new(&format!("{}b", "*".repeat(4000))).unwrap().is_match(&text));
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn a_pattern_that_names_no_module_is_refused() {
    assert!(Glob::new(&"a".repeat(4096)).is_ok());
    let error = Glob::new(&"a".repeat(4097)).unwrap_err();
    assert_eq!(error, GlobError::TooLong { len: 4097, limit: 4096 });
}

#[test]
fn a_set_tells_its_first_match() {
    let set = GlobSet::new(["*.q_proj", "model.*", "lm_head"]).unwrap();
    assert_eq!(set.first_match("model.layers.0.q_proj"), Some(0));
    assert_eq!(set.first_match("model.norm"), Some(1));
    assert_eq!(set.first_match("lm_head.weight"), None);
    assert!(set.is_match("lm_head"));
    assert_eq!(set.globs()[2].pattern(), "lm_head");
    assert!(!GlobSet::default().is_match(""));
}
