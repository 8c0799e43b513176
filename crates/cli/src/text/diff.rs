//! `diff` for people: what nothing explains, then what causes explain.

use super::{Cell, Paint, paint, plural, printable, table};
use quantscope_session::api::{Comparison, Difference};
use std::fmt::Write as _;

/// Rows of a table; `--json` has all.
const LISTED: usize = 60;

/// The whole comparison.
pub(crate) fn describe(found: &Comparison) -> String {
    let mut text = format!("{} -> {}\n", printable(&found.a), printable(&found.b));
    let _ = writeln!(text, "{} with the same bytes", plural(found.equal_layers, "layer"));
    if found.differences.is_empty() {
        let _ = writeln!(text, "{}", paint(Paint::Good, "nothing differs"));
        return text;
    }
    let causes: Vec<String> =
        found.by_cause.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
    let _ = writeln!(text, "causes: {}", causes.join(", "));
    let verdict = match found.unexplained {
        0 => paint(Paint::Good, "every difference is explained"),
        n => paint(Paint::Bad, &format!("{} without an explanation", plural(n, "difference"))),
    };
    let _ = writeln!(text, "{verdict}");
    for (title, explained) in [("not explained", false), ("explained", true)] {
        let rows: Vec<&Difference> = found.differences.iter().filter(|d| d.explained == explained).collect();
        if rows.is_empty() {
            continue;
        }
        let header = [title, "cause", "scheme", "signal/noise", "largest", "note"];
        let cells = rows.iter().take(LISTED).map(|difference| row(difference)).collect();
        let _ = write!(text, "\n{}", table(&header, &[3, 4], cells));
        if rows.len() > LISTED {
            let _ = writeln!(text, "  and {} more; --json lists them all", rows.len() - LISTED);
        }
    }
    text
}

fn row(difference: &Difference) -> Vec<Cell> {
    let name = match (&difference.a, &difference.b) {
        (Some(a), Some(b)) if a != b => format!("{a} -> {b}"),
        (Some(name), None) => format!("{name} (first alone)"),
        (None, Some(name)) => format!("{name} (second alone)"),
        (Some(name), Some(_)) => name.clone(),
        (None, None) => String::new(),
    };
    let scheme = match (difference.from.as_str(), difference.to.as_str()) {
        (from, to) if from == to || to.is_empty() => from.to_string(),
        ("", to) => to.to_string(),
        (from, to) => format!("{from} -> {to}"),
    };
    let number = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:.3e}"));
    vec![
        printable(&name).into(),
        difference.causes.join(", ").into(),
        scheme.into(),
        difference.sqnr_db.map_or_else(String::new, |db| format!("{db:.2} dB")).into(),
        number(difference.max_abs).into(),
        printable(&difference.note).into(),
    ]
}
