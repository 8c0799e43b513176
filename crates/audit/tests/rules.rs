//! Each rule with a checkpoint that trips it and one that nearly does and must not.

use crate::cases::{all, conv, sound};
use quantscope_audit::rules;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn each_rule_trips_on_its_fixture_and_not_on_its_neighbour() {
    let mut wrong = Vec::new();
    for (rule, trips, near) in all() {
        let (found, clean) = (trips.rules(), near.rules());
        if !found.contains(rule) {
            wrong.push(format!("{rule} is silent; found {found:?}"));
        }
        if clean.contains(rule) {
            wrong.push(format!("{rule} trips on its neighbour: {:?}", near.findings()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Faults that stand alone are reported alone.
#[test]
fn a_single_fault_gives_a_single_rule() {
    const ALONE: &[&str] =
        &["LK401", "SC001", "SC002", "SH501", "SH502", "IX802", "IX804", "SV101", "SV102", "SV104", "TI702"];
    for (rule, trips, _) in all().into_iter().filter(|(rule, _, _)| ALONE.contains(rule)) {
        assert_eq!(trips.rules(), BTreeSet::from([rule.to_string()]), "{:?}", trips.findings());
    }
}

#[test]
fn the_sound_model_has_no_findings() {
    assert_eq!(sound().findings(), []);
    assert_eq!(conv().findings(), []);
}

#[test]
fn every_rule_has_fixtures() {
    let mut have: BTreeMap<&str, u32> = BTreeMap::new();
    for (rule, _, _) in all() {
        *have.entry(rule).or_default() += 1;
    }
    let ids: Vec<&str> = rules().iter().map(|r| r.id).collect();
    assert_eq!(have.keys().copied().collect::<Vec<_>>(), ids);
}

/// Findings of bytes do not depend on where tiles are cut.
#[test]
fn tile_sizes_change_no_finding() {
    for (rule, trips, near) in all() {
        for fixture in [trips, near] {
            let whole = fixture.findings();
            for tile in [1, 8, 24] {
                let mut cut = fixture.clone();
                cut.limits.tile_bytes = tile;
                assert_eq!(cut.findings(), whole, "{rule} with tiles of {tile} bytes");
            }
        }
    }
}
