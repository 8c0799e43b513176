//! Each rule with a checkpoint that trips it and one that nearly does and must not.

use crate::cases::{all, conv, sound};
use quantscope_audit::report::Severity;
use quantscope_audit::{Example, rule, rules};
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

/// Ids and severities that scripts rely on. None of them may ever change; new ones are added.
const ERRORS: &[&str] = &[
    "BK951", "CF301", "CF302", "CF304", "CF306", "CF307", "CF308", "CF310", "CM971", "CM972", "CV901",
    "IX801", "IX802", "IX804", "IX806", "IX808", "IX809", "LK401", "SC001", "SC002", "SC003", "SH501",
    "SH502", "SH504", "SH505", "SN201", "SN203", "ST001", "ST101", "ST102", "ST103", "ST104", "ST105",
    "ST106", "SV101", "SV102", "SV104", "SV105", "TI701", "TI703",
];
const WARNINGS: &[&str] = &[
    "CF303", "CF305", "CF309", "CV902", "FU961", "IX803", "IX805", "LK402", "LY601", "LY602", "SC004",
    "SH503", "SN202", "ST002", "ST003", "ST004", "ST005", "ST006", "SV103", "SV106", "TI704", "TI705",
];
const INFOS: &[&str] = &["BK952", "CM973", "IX807", "LK403", "LY603", "TI702"];

#[test]
fn ids_and_severities_are_those_of_the_contract() {
    for (ids, severity) in [(ERRORS, Severity::Error), (WARNINGS, Severity::Warning), (INFOS, Severity::Info)]
    {
        for id in ids {
            assert_eq!(rule(id).map(|r| r.severity), Some(severity), "{id}");
        }
    }
    let ids: Vec<&str> = rules().iter().map(|r| r.id).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id twice");
}

#[test]
fn every_rule_is_explained() {
    for rule in rules() {
        let Example { before, after } = rule.example;
        let texts = [rule.title, rule.why, rule.fix, before, after];
        assert!(texts.iter().all(|text| !text.is_empty()), "{}", rule.id);
        assert_ne!(before, after, "{}", rule.id);
        assert!(
            !rule.needs.is_empty() && rule.needs.split(',').all(|n| ["H", "C", "B", "X"].contains(&n)),
            "{}",
            rule.id
        );
    }
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
