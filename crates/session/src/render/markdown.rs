//! Markdown for the comment of a pull request: the verdict, a table of rules, the findings folded away.
//!
//! Names are set as code with a fence longer than any run of backticks in them, so that none of them closes it
//! and none is read as markup, a mention or a link. Sentences, which quote names, are escaped.

use super::words;
use crate::api::FindingGroup;
use crate::overview::finding_groups;
use crate::report::AuditView;
use std::fmt::Write as _;

/// Findings of one rule that are spelled out; a comment has a largest length.
const SPELLED_OUT: usize = 20;

/// The whole document.
pub(super) fn document(views: &[AuditView<'_>]) -> String {
    let mut text = String::new();
    for (i, view) in views.iter().enumerate() {
        if i > 0 {
            text.push_str("\n---\n\n");
        }
        section(&mut text, view);
    }
    text
}

// Writing to a String cannot fail, here and below.
fn section(text: &mut String, view: &AuditView<'_>) {
    let overview = &view.overview;
    let summary = view.summary();
    let mark = match overview.verdict.state.as_str() {
        "broken" => "❌",
        "warnings" => "⚠️",
        _ => "✅",
    };
    let _ = writeln!(text, "### {mark} {}\n", escaped(&overview.verdict.title));
    let checked = match &overview.verified_by {
        Some(engine) => format!("headers, configs and bytes checked ({})", escaped(engine)),
        None => "headers and configs checked, bytes not".to_owned(),
    };
    let _ = writeln!(
        text,
        "{}: {}, {}, {} bits per weight; {checked}.",
        code(&overview.name),
        words::plural(overview.tensor_count, "tensor"),
        words::bytes(overview.bytes),
        decimal(overview.bits_per_weight),
    );
    let counts = words::counts(summary.errors, summary.warnings, summary.infos);
    let _ = writeln!(text, "\n{}.", if counts.is_empty() { "Nothing found".to_owned() } else { counts });
    let groups = finding_groups(view.findings().iter(), SPELLED_OUT);
    if groups.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n| | rule | about | findings |\n|---|---|---|---:|");
    for group in &groups {
        let _ = writeln!(
            text,
            "| {} | {} | {}{} | {} |",
            words::severity(group.severity),
            escaped(&group.rule),
            escaped(&group.title),
            target(group),
            group.count
        );
    }
    for group in groups {
        findings(text, &group);
    }
}

fn target(group: &FindingGroup) -> String {
    group.target.as_ref().map(|target| format!(" ({})", escaped(target))).unwrap_or_default()
}

fn findings(text: &mut String, group: &FindingGroup) {
    let _ = writeln!(
        text,
        "\n<details><summary>{} {}{} ({})</summary>\n\n{}\n",
        escaped(&group.rule),
        escaped(&group.title),
        target(group),
        group.count,
        escaped(&group.why)
    );
    for finding in &group.findings {
        let _ = writeln!(text, "- {}: {}", code(&finding.subject), escaped(&finding.message));
        if let (Some(expected), Some(found)) = (&finding.expected, &finding.found) {
            let _ = writeln!(text, "  expected {}, found {}", code(expected), code(found));
        }
    }
    let more = group.count.saturating_sub(crate::count(group.findings.len()));
    if more > 0 {
        let _ = writeln!(text, "- and {more} more");
    }
    let _ = writeln!(
        text,
        "\n**What to do.** {}\n\n</details>",
        escaped(group.findings.first().map_or("", |first| first.fix.as_ref()))
    );
}

fn decimal(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A name as code, on one line.
fn code(name: &str) -> String {
    let name = words::visible(name);
    let longest = name.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    // A backtick at an end, or nothing at all, needs a space that the reader does not see.
    let pad = if name.is_empty() || name.starts_with('`') || name.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{name}{pad}{fence}")
}

/// A sentence in which nothing is markup. Names in backticks stay code.
fn escaped(sentence: &str) -> String {
    let sentence = words::visible(sentence);
    let mut parts = sentence.split('`');
    let mut text = parts.next().map(plain).unwrap_or_default();
    // An odd number of backticks leaves the last part without its partner.
    let rest: Vec<&str> = parts.collect();
    for pair in rest.chunks(2) {
        match pair {
            [quoted, after] => {
                text.push_str(&code(quoted));
                text.push_str(&plain(after));
            }
            [alone] => {
                text.push_str("\\`");
                text.push_str(&plain(alone));
            }
            _ => {}
        }
    }
    text
}

fn plain(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '*' | '_' | '[' | ']' | '(' | ')' | '#' | '|' | '~' | '!' => {
                escaped.push('\\');
                escaped.push(c);
            }
            // A mention would call people.
            '@' => escaped.push_str("&#64;"),
            _ => escaped.push(c),
        }
    }
    // An address would lead away.
    escaped.replace("://", "&#58;//").replace("www.", "www&#46;")
}

#[cfg(test)]
mod tests {
    use super::{code, escaped};

    #[test]
    fn names_do_not_leave_their_fence() {
        assert_eq!(code("a.b"), "`a.b`");
        assert_eq!(code("a``b"), "```a``b```");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!(code("a\nb"), "`a\\nb`");
    }

    #[test]
    fn sentences_hold_no_markup() {
        assert_eq!(escaped("`a_b` is *bad* <b>"), "`a_b` is \\*bad\\* &lt;b&gt;");
        assert_eq!(escaped("see https://x [y](z) @all"), "see https&#58;//x \\[y\\]\\(z\\) &#64;all");
        assert_eq!(escaped("one ` alone"), "one \\` alone");
    }
}
