//! `docs/rules.md` is generated from the registry of rules; this test writes it when asked and otherwise
//! fails if it is stale.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_session::{Rule, rules};
use quantscope_tests::root;
use std::fmt::Write as _;

/// Set to write the page instead of comparing it.
const WRITE: &str = "QUANTSCOPE_WRITE_DOCS";

fn section(rule: &Rule) -> String {
    let repair = if rule.repairable { "can be mended without re-quantizing" } else { "needs the source" };
    format!(
        "\n## {} {}\n\n*{:?}, reads {}, {repair}.*\n\n{}\n\n**What to do.** {}\n",
        rule.id, rule.title, rule.severity, rule.needs, rule.why, rule.fix
    )
}

fn page() -> String {
    let mut page = String::from(
        "# Rules\n\nEvery rule of the auditor, generated from its registry.\n\
         *Reads*: H headers, C configs, B tensor bytes, X several files.\n\n| id | severity | about |\n|---|---|---|\n",
    );
    for rule in rules() {
        let anchor = format!("{} {}", rule.id, rule.title).to_lowercase();
        let anchor: String = anchor.chars().filter(|c| c.is_alphanumeric() || " -".contains(*c)).collect();
        let link = anchor.replace(' ', "-");
        writeln!(page, "| [{}](#{link}) | {:?} | {} |", rule.id, rule.severity, rule.title).unwrap();
    }
    page.extend(rules().into_iter().map(section));
    page
}

#[test]
fn the_page_of_rules_is_what_the_registry_says() {
    let path = root().join("docs/rules.md");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let stands = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stands == page(),
        "docs/rules.md is stale; write it again with {WRITE}=1 cargo test -p quantscope-tests"
    );
}
