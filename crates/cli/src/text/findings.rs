//! `audit` and `rules` for people: the verdict, then findings by rule, each with what to do.

use super::{Cell, Paint, bytes, overview::headline, paint, plural, printable, table};
use quantscope_session::Rule;
use quantscope_session::api::{Finding, FindingGroup, Overview, Severity, Summary, VerifySummary};
use std::fmt::Write as _;

/// Findings of one rule that are spelled out; `--json` has all.
const SPELLED_OUT: usize = 10;

pub(crate) fn describe(
    overview: &Overview,
    summary: &Summary,
    groups: &[FindingGroup],
    verified: Option<&VerifySummary>,
) -> String {
    let mut text = headline(overview);
    let _ = writeln!(text, "{}", how(verified));
    let counts = [(summary.errors, "error"), (summary.warnings, "warning"), (summary.infos, "note")];
    let counts: Vec<String> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, noun)| plural(*n, noun)).collect();
    let _ =
        writeln!(text, "{}", if counts.is_empty() { "Nothing found.".to_owned() } else { counts.join(", ") });
    for group in groups {
        text.push('\n');
        describe_group(&mut text, group);
    }
    if summary.bytes_saved_by_ties > 0 {
        let _ = writeln!(
            text,
            "\nTied or identical tensors: {} could be saved.",
            bytes(summary.bytes_saved_by_ties)
        );
    }
    text
}

/// What was looked at.
fn how(verified: Option<&VerifySummary>) -> String {
    match verified {
        None => "Headers and configs were checked, the bytes were not.".to_owned(),
        Some(summary) => {
            let read = bytes(summary.bytes_read);
            let layers = plural(summary.layers_checked, "layer");
            let note = summary.engine_note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
            format!(
                "Headers, configs and bytes were checked: {layers}, {read} read, engine {}{note}.",
                summary.engine
            )
        }
    }
}

fn describe_group(text: &mut String, group: &FindingGroup) {
    let _ = writeln!(
        text,
        "{} {} {}{}: {}",
        severity(group.severity),
        group.rule,
        plural_times(group.count),
        group.target.as_ref().map(|target| format!(" for {}", printable(target))).unwrap_or_default(),
        printable(&group.title)
    );
    let _ = writeln!(text, "  {}", printable(&group.why));
    for finding in group.findings.iter().take(SPELLED_OUT) {
        describe_finding(text, finding);
    }
    let rest = group.count.saturating_sub(group.findings.len().min(SPELLED_OUT) as u64);
    if rest > 0 {
        let _ = writeln!(text, "  and {rest} more; --json lists them all");
    }
    // Of one rule, what to do is said once.
    let mut fixes: Vec<&str> = group.findings.iter().map(|finding| finding.fix.as_ref()).collect();
    fixes.dedup();
    for fix in fixes.iter().take(3) {
        let _ = writeln!(text, "  {} {}", paint(Paint::Strong, "fix:"), printable(fix));
    }
}

fn describe_finding(text: &mut String, finding: &Finding) {
    let place = finding.file.as_ref().filter(|file| **file != finding.subject);
    let place = place.map(|file| format!(" ({})", printable(file))).unwrap_or_default();
    let _ = writeln!(text, "  - {}{place}: {}", printable(&finding.subject), printable(&finding.message));
    if let (Some(expected), Some(found)) = (&finding.expected, &finding.found) {
        let _ = writeln!(text, "    expected {}, found {}", printable(expected), printable(found));
    }
}

fn plural_times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn severity_word(severity: Severity) -> (Paint, &'static str) {
    match severity {
        Severity::Error => (Paint::Bad, "error"),
        Severity::Warning => (Paint::Doubtful, "warning"),
        Severity::Info => (Paint::Faint, "note"),
    }
}

fn severity(severity: Severity) -> String {
    let (colour, word) = severity_word(severity);
    paint(colour, word)
}

/// A rule in full.
pub(crate) fn explain(rule: &Rule) -> String {
    let needs: Vec<&str> = rule.needs.chars().filter_map(need).collect();
    let mut text = String::new();
    let _ =
        writeln!(text, "{} ({}): {}\n", paint(Paint::Strong, rule.id), severity(rule.severity), rule.title);
    let _ = writeln!(text, "{}\n", rule.why);
    let _ = writeln!(text, "Fix: {}\n", rule.fix);
    for (when, example) in [("Before", rule.example.before), ("After", rule.example.after)] {
        let _ = writeln!(text, "{when}:");
        for line in example.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text.push('\n');
    let _ = writeln!(text, "Looks at {}.", needs.join(", "));
    text
}

fn need(letter: char) -> Option<&'static str> {
    match letter {
        'H' => Some("headers"),
        'C' => Some("configs"),
        'B' => Some("tensor bytes"),
        'X' => Some("several files"),
        _ => None,
    }
}

/// All rules, a line each.
pub(crate) fn list(rules: &[&Rule]) -> String {
    let row = |rule: &&Rule| {
        let (colour, word) = severity_word(rule.severity);
        vec![rule.id.into(), Cell::painted(colour, word), rule.title.into()]
    };
    table(&["rule", "severity", "about"], &[], rules.iter().map(row).collect())
}
