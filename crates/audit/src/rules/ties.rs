//! TI: weights that stand in the file more than once.

use crate::registry::{FindingExt, Rule};
use crate::report::{Finding, Severity, Tie};

pub(crate) const RULES: &[Rule] = &[TI702];

const TI702: Rule = Rule {
    id: "TI702",
    severity: Severity::Info,
    needs: "B",
    title: "Identical weights",
    why: "The same bytes stand in the file more than once. If the model ties these layers, one copy is enough.",
    fix: "If the layers are tied, declare it and drop the copies; equal bytes alone are no tie.",
    repairable: false,
};

/// Aliases that a message names; the report's ties list them all.
const NAMED: usize = 3;

/// A finding for a group whose bytes were found equal.
pub(crate) fn identical(tie: &Tie) -> Finding {
    let copies = tie.aliases.len().saturating_add(1);
    let named: Vec<String> = tie.aliases.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    let more = tie.aliases.len().saturating_sub(NAMED);
    let others = if more > 0 { format!(" and {more} others") } else { String::new() };
    let message = format!(
        "{copies} layers have byte-identical weights: `{}`, {}{others}; {} bytes would be saved",
        tie.canonical,
        named.join(", "),
        tie.bytes_saved
    );
    let mut finding = TI702.finding(tie.canonical.as_str(), message).touching(tie.canonical.as_str());
    finding.layers.extend(tie.aliases.iter().cloned());
    finding
}
