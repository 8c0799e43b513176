//! Every promise of `docs/security.md` names the tests that hold it, and every test that it names is there; its table
//! of faults has every way in which a door of the core or a call of the browser is made to fail.

#![allow(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use quantscope_tests::faults::Door;
use quantscope_tests::root;
use std::collections::BTreeSet;

/// Promises of a page with the tests they name, as file and name.
fn promises(page: &str) -> Vec<(&str, Vec<(&str, &str)>)> {
    let mut found: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
    // What is not promised needs no test.
    let page = page.split("\n## What is not promised").next().unwrap_or_default();
    for line in page.lines() {
        if line.starts_with("**") {
            found.push((line, Vec::new()));
        } else if let Some((file, name)) = line.strip_prefix("- `").and_then(|rest| rest.split_once("`: "))
            && let Some((_, tests)) = found.last_mut()
        {
            tests.push((file, name));
        }
    }
    found
}

/// Whether a file of tests has a test of that name.
fn has(text: &str, file: &str, name: &str) -> bool {
    if file.ends_with(".rs") {
        let head = format!("fn {name}(");
        let Some((before, _)) = text.split_once(&head) else { return false };
        // The attribute stands on a line before, behind no other function.
        before.rsplit("\n}").next().is_some_and(|since| since.contains("#[test]"))
    } else {
        text.lines().any(|line| line.trim_start().starts_with("test(") && line.contains(name))
    }
}

/// Doors, and a way in which each of them fails.
type Ways = BTreeSet<(String, String)>;

/// What the harness of the core provokes.
fn ways_of_the_core() -> Ways {
    let of = |door: Door| door.ways().iter().map(move |way| (format!("{door:?}"), format!("{way:?}")));
    Door::ALL.into_iter().flat_map(of).collect()
}

/// What the harness of the page provokes: its own list, and the two ends that every call can have.
fn ways_of_the_page() -> Ways {
    let file = root().join("tests/e2e/lib/faults_injected.mjs");
    let text = std::fs::read_to_string(file).expect("the harness of the page");
    let list = text.split("export const WAYS = {").nth(1).and_then(|rest| rest.split("};").next());
    let mut found = Ways::new();
    for line in list.expect("its list of ways").lines() {
        let Some((door, ways)) = line.split_once(':') else { continue };
        let door = door.trim().trim_matches('"');
        for way in ways.split('"').skip(1).step_by(2).chain(["killed", "exhausted"]) {
            found.insert((door.into(), way.into()));
        }
    }
    found
}

/// The names in backquotes.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What a cell of the table says, as ``` `way` of `door`, `door`; `way` of every door ```.
fn told(cell: &str, all: &Ways) -> Ways {
    let mut told = Ways::new();
    for (ways, doors) in cell.split(';').filter_map(|part| part.split_once(" of ")) {
        for way in names(ways) {
            if doors.trim() == "every door" {
                told.extend(all.iter().filter(|(_, other)| other == way).cloned());
            }
            told.extend(names(doors).map(|door| (door.to_owned(), way.to_owned())));
        }
    }
    told
}

/// What the table leaves out of both harnesses or has beyond them, and the tests it names that are not there.
fn faults_of_the_table(page: &str) -> Vec<String> {
    let harnesses = [ways_of_the_core(), ways_of_the_page()];
    let mut found = [Ways::new(), Ways::new()];
    let mut faults = Vec::new();
    let rows = page.lines().skip_while(|line| !line.starts_with("| fault |")).skip(2);
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let &[_, _, core, page, test, _] = cells.as_slice() else {
            faults.push(format!("a row of other cells: {row}"));
            continue;
        };
        if core.is_empty() && page.is_empty() && test.is_empty() {
            faults.push(format!("nothing provokes {row}"));
        }
        for ((cell, all), found) in [core, page].into_iter().zip(&harnesses).zip(&mut found) {
            found.extend(told(cell, all));
        }
        if let Some((file, name)) = test.strip_prefix('`').and_then(|rest| rest.split_once("`: ")) {
            let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
            if !has(&text, file, name) {
                faults.push(format!("{file} has no test {name}"));
            }
        }
    }
    for (found, all) in found.iter().zip(&harnesses) {
        faults.extend(found.symmetric_difference(all).map(|(door, way)| format!("{door}: {way}")));
    }
    faults
}

/// What is wrong with a page.
fn faults(page: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (promise, tests) in promises(page) {
        if tests.is_empty() {
            faults.push(format!("nothing holds {promise}"));
        }
        for (file, name) in tests {
            match std::fs::read_to_string(root().join(file)) {
                Ok(text) if has(&text, file, name) => {}
                Ok(_) => faults.push(format!("{file} has no test {name}")),
                Err(error) => faults.push(format!("{file}: {error}")),
            }
        }
    }
    faults
}

#[test]
fn every_promise_has_its_tests() {
    let page = std::fs::read_to_string(root().join("docs/security.md")).expect("the page");
    assert!(promises(&page).len() > 10, "{:?}", promises(&page));
    assert_eq!(faults(&page), Vec::<String>::new());
}

#[test]
fn every_fault_stands_in_the_table() {
    let page = std::fs::read_to_string(root().join("docs/security.md")).expect("the page");
    assert_eq!(faults_of_the_table(&page), Vec::<String>::new());
    // What is not told, or told and not there, is noticed.
    for (told, instead) in [
        ("`Lost` of `Gpu`", "`Lost` of `Cpu`"),
        ("`changed` of `read`", ""),
        ("`killed` of every door", "`killed` of `read`"),
        ("a tab that is killed", "a tab that is closed"),
    ] {
        assert!(page.contains(told), "{told}");
        assert!(!faults_of_the_table(&page.replace(told, instead)).is_empty(), "{told}");
    }
    assert!(faults_of_the_table("").len() > 50);
}

#[test]
fn a_promise_without_a_test_is_noticed() {
    let file = "tests/conformance/security_page.rs";
    let page = |line: &str| format!("**A promise.**\n\n{line}\n");
    assert_eq!(faults(&page(&format!("- `{file}`: a_promise_without_a_test_is_noticed"))), [""; 0]);
    for line in [
        "Words alone.".to_string(),
        format!("- `{file}`: no_such_test"),
        format!("- `{file}`: faults"),
        "- `tests/no_such_file.rs`: every_promise_has_its_tests".to_string(),
    ] {
        assert_eq!(faults(&page(&line)).len(), 1, "{line}");
    }
}
