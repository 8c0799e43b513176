//! Every promise, held over its seeds, over what once broke it, and over a fixed number of changed seeds.
//!
//! `QUANTSCOPE_INPUTS` multiplies the number of changed seeds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use quantscope_promises::{Mutator, TARGETS, cases};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How many changed seeds a target is given: what takes about two seconds without optimisation.
fn inputs(target: &str) -> u64 {
    let times = std::env::var("QUANTSCOPE_INPUTS").map_or(1, |n| n.parse().unwrap());
    times
        * match target {
            "checkpoint" => 100,
            "manifest" => 400,
            "rename_rules" => 1000,
            _ => 4000,
        }
}

fn hold(target: &str) {
    let (_, promise) = TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    let seeds: Vec<Vec<u8>> = cases("seeds", target).into_iter().map(|case| case.bytes).collect();
    assert!(!seeds.is_empty(), "{target} has no seeds");
    for case in cases("seeds", target).iter().chain(&cases("found", target)) {
        let held = catch_unwind(AssertUnwindSafe(|| promise(&case.bytes)));
        assert!(held.is_ok(), "{target}: {} breaks the promise", case.name);
    }
    let mut mutator = Mutator::new(1);
    for round in 0..inputs(target) {
        let input = mutator.changed(&seeds, 4096);
        let held = catch_unwind(AssertUnwindSafe(|| promise(&input)));
        assert!(
            held.is_ok(),
            "{target}: input {round} breaks the promise: {:?}",
            String::from_utf8_lossy(&input)
        );
    }
}

macro_rules! targets {
    ($($name:ident),*) => {
        $(#[test] fn $name() { hold(stringify!($name)); })*

        #[test]
        fn every_promise_is_held_here() {
            assert_eq!(TARGETS.map(|(name, _)| name), [$(stringify!($name)),*]);
        }
    };
}

targets!(
    header,
    index,
    model_config,
    hf_quant_config,
    glob,
    calibration,
    recipe,
    rename_rules,
    manifest,
    checkpoint
);

/// The promise about manifests means something: the right one is found right, and each fact of it counts.
#[test]
fn the_right_manifest_is_found_right_and_no_other() {
    let right = quantscope_promises::right_manifest();
    if std::env::var_os("QUANTSCOPE_WRITE_SEEDS").is_some() {
        std::fs::write("seeds/manifest/right", &right).unwrap();
    }
    assert_eq!(quantscope_promises::problems(&right), Some(0));
    let text = String::from_utf8(right).unwrap();
    for (fact, wrong) in [
        ("header_sha256", "other"),
        ("other_files", "others"),
        ("\"dtype\": \"U8\"", "\"dtype\": \"I8\""),
        ("linear.bias", "bias"),
    ] {
        assert!(text.contains(fact), "{fact}");
        let problems = quantscope_promises::problems(text.replace(fact, wrong).as_bytes());
        assert_ne!(problems, Some(0), "{fact} may be {wrong}");
    }
}
