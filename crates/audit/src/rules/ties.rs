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

/// A finding for a group whose bytes were found equal.
pub(crate) fn identical(tie: &Tie) -> Finding {
    let copies = tie.aliases.len().saturating_add(1);
    let message = format!(
        "{copies} layers have byte-identical weights: `{}` and `{}`; {} bytes would be saved",
        tie.canonical,
        tie.aliases.join("`, `"),
        tie.bytes_saved
    );
    let mut finding = TI702.finding(tie.canonical.as_str(), message).touching(tie.canonical.as_str());
    finding.layers.extend(tie.aliases.iter().cloned());
    finding
}
