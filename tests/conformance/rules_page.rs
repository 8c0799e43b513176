//! `docs/rules/` is generated from the registry of rules: an index and a page for each rule; this test
//! writes them when asked and otherwise fails if one is stale, missing or left over.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_session::{Rule, rules};
use quantscope_tests::root;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Set to write the pages instead of comparing them.
const WRITE: &str = "QUANTSCOPE_WRITE_DOCS";

/// Pages that do not follow from the registry, linked from the index.
const BY_HAND: &[(&str, &str)] = &[
    ("threads.md", "the public threads that these rules answer, each modelled as a small checkpoint"),
    ("forensics.md", "how layouts are told from statistics, and where that was right and wrong"),
];

fn page(rule: &Rule) -> String {
    let repair = if rule.repairable { "can be mended without re-quantizing" } else { "needs the source" };
    format!(
        "# {} {}\n\n*{:?}, reads {}, {repair}.*\n\n{}\n\n**What to do.** {}\n\nBefore:\n\n```text\n{}\n```\n\nAfter:\n\n\
         ```text\n{}\n```\n",
        rule.id,
        rule.title,
        rule.severity,
        rule.needs,
        rule.why,
        rule.fix,
        rule.example.before,
        rule.example.after
    )
}

fn index() -> String {
    let mut page = String::from(
        "# Rules\n\nEvery rule of the auditor, generated from its registry.\n\
         *Reads*: H headers, C configs, B tensor bytes, X several files.\n\n\
         | id | severity | reads | about |\n|---|---|---|---|\n",
    );
    for rule in rules() {
        let Rule { id, severity, needs, title, .. } = rule;
        writeln!(page, "| [{id}]({id}.md) | {severity:?} | {needs} | {title} |").unwrap();
    }
    page.push_str("\nBeside them:\n");
    for (file, about) in BY_HAND {
        writeln!(page, "- [{file}]({file}): {about}").unwrap();
    }
    page
}

fn pages() -> BTreeMap<String, String> {
    let rules = rules().into_iter().map(|rule| (format!("{}.md", rule.id), page(rule)));
    rules.chain([("README.md".to_string(), index())]).collect()
}

#[test]
fn the_pages_of_rules_are_what_the_registry_says() {
    let folder = root().join("docs/rules");
    let pages = pages();
    if std::env::var_os(WRITE).is_some() {
        for (file, text) in &pages {
            std::fs::write(folder.join(file), text).unwrap();
        }
    }
    let stale: Vec<&String> = pages
        .iter()
        .filter(|(file, text)| std::fs::read_to_string(folder.join(file)).unwrap_or_default() != **text)
        .map(|(file, _)| file)
        .collect();
    assert!(
        stale.is_empty(),
        "{stale:?} are stale; write them again with {WRITE}=1 cargo test -p quantscope-tests --test rules_page"
    );
    let known = |name: &str| pages.contains_key(name) || BY_HAND.iter().any(|(file, _)| *file == name);
    let names =
        std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    let left_over: Vec<String> = names.filter(|name| !known(name)).collect();
    assert!(left_over.is_empty(), "no rule has these pages: {left_over:?}");
    assert!(BY_HAND.iter().all(|(file, _)| folder.join(file).is_file()), "a page by hand is missing");
}
