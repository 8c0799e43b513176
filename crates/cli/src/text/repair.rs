//! `repair` for people: the changes as a diff, what stays and why.

use super::{Paint, bytes, paint, plural, printable};
use quantscope_session::api::{Change, RepairSummary, RepairView, Unmended};
use std::fmt::Write as _;
use std::path::Path;

/// Changes of one rule that are spelled out; `--json` has all.
const SPELLED_OUT: usize = 12;
/// Longest value that is shown whole.
const LONGEST: usize = 200;

/// What a repair would do.
pub(crate) fn describe(plan: &RepairView, bytes_unread: bool) -> String {
    let mut text = String::new();
    let findings = plural(plan.mended, "finding");
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(text, "{} would mend {findings}.", plural(plan.changes.len() as u64, "change"));
    changes(&mut text, &plan.changes);
    stays(&mut text, &plan.unmended);
    let _ = writeln!(
        text,
        "\nTensors: {} before, {} after, in {}.",
        bytes(plan.bytes_before),
        bytes(plan.bytes_after),
        plural(plan.files.len() as u64, "file")
    );
    if bytes_unread {
        let _ = writeln!(text, "Headers and configs only: what bytes show is found when the repair runs.");
    }
    text
}

/// What a repair did.
pub(crate) fn describe_done(plan: &RepairView, summary: &RepairSummary, output: &Path) -> String {
    let mut text = String::new();
    changes(&mut text, &plan.changes);
    stays(&mut text, &plan.unmended);
    let _ = writeln!(
        text,
        "\n{}: {} mended, {} written; {} with the bytes of the source, {} made anew, all read back and compared.",
        printable(&output.display().to_string()),
        plural(plan.mended, "finding"),
        bytes(summary.bytes_written),
        plural(summary.unchanged, "tensor"),
        summary.made
    );
    text
}

fn changes(text: &mut String, changes: &[Change]) {
    let mut sorted: Vec<&Change> = changes.iter().collect();
    sorted.sort_by(|a, b| a.rule.cmp(&b.rule).then_with(|| a.what.cmp(&b.what)));
    for group in sorted.chunk_by(|a, b| a.rule == b.rule && a.what == b.what) {
        let Some(first) = group.first() else { continue };
        let _ = writeln!(
            text,
            "\n{} {} {}",
            paint(Paint::Strong, &printable(&first.rule)),
            printable(&first.what),
            plural(group.len() as u64, "time")
        );
        for change in group.iter().take(SPELLED_OUT) {
            for (value, colour, sign) in
                [(&change.before, Paint::Bad, "-"), (&change.after, Paint::Good, "+")]
            {
                // What is not there is the other line's absence.
                if value != "absent" {
                    let _ = writeln!(text, "  {} {}", paint(colour, sign), short(value, &change.subject));
                }
            }
        }
        if group.len() > SPELLED_OUT {
            let _ = writeln!(text, "  and {} more; --json lists them all", group.len() - SPELLED_OUT);
        }
    }
}

/// A value on one line, with what it is of where it does not say so itself.
fn short(value: &str, subject: &str) -> String {
    let named = if value.contains(subject) { value.to_string() } else { format!("{subject}: {value}") };
    let shown = printable(&named);
    match shown.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}...", shown.get(..at).unwrap_or_default()),
        None => shown,
    }
}

fn stays(text: &mut String, unmended: &[Unmended]) {
    if unmended.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{} stay:", plural(unmended.len() as u64, "finding"));
    for left in unmended.iter().take(SPELLED_OUT) {
        let asked = if left.asked { paint(Paint::Bad, " (asked for)") } else { String::new() };
        let _ = writeln!(
            text,
            "  {} {}{asked}: {}",
            printable(&left.rule),
            printable(&left.subject),
            printable(&left.reason)
        );
    }
    if unmended.len() > SPELLED_OUT {
        let _ = writeln!(text, "  and {} more; --json lists them all", unmended.len() - SPELLED_OUT);
    }
}
