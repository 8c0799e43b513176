//! Every promise of `docs/security.md` names the tests that hold it, and every test that it names is there.

#![allow(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use quantscope_tests::root;

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
