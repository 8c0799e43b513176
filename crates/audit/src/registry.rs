//! The one list of rules. Ids and severities are a contract: once released they never change.

use crate::report::{Finding, Severity};
use crate::rules::{
    comfy, config, conversion, fused, index, layout, leaks, naming, scales, shapes, siblings, structure,
    ties, values, widths,
};
use quantscope_format::Arrange as _;

/// A rule of the auditor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Stable id, such as `SC002`.
    pub id: &'static str,
    /// Severity of its findings.
    pub severity: Severity,
    /// What it reads: `H` headers, `C` configs, `B` tensor bytes, `X` several files.
    pub needs: &'static str,
    /// What it is about, in a few words.
    pub title: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// Whether a repair can mend it without re-quantizing.
    pub repairable: bool,
    /// The same checkpoint with the fault and without it.
    pub example: Example,
}

/// A checkpoint in a few lines, as it trips a rule and as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Example {
    /// With the fault.
    pub before: &'static str,
    /// Without it.
    pub after: &'static str,
}

impl Example {
    /// An example. The command line and the documentation show them; what is built for a browser, where every byte is
    /// waited for, leaves their text out.
    pub(crate) const fn of(before: &'static str, after: &'static str) -> Self {
        if cfg!(target_family = "wasm") { Self { before: "", after: "" } } else { Self { before, after } }
    }
}

impl Rule {
    /// Begins a finding of this rule.
    pub(crate) fn finding(&self, subject: impl Into<String>, message: impl Into<String>) -> Finding {
        Finding {
            rule: self.id.to_string(),
            severity: self.severity,
            subject: subject.into(),
            file: None,
            message: message.into(),
            expected: None,
            found: None,
            fix: self.fix.into(),
            repairable: self.repairable,
            target: None,
            layers: Vec::new(),
        }
    }
}

/// Chained additions to a finding under construction.
pub(crate) trait FindingExt {
    fn in_file(self, file: impl Into<String>) -> Self;
    fn expecting(self, expected: impl Into<String>, found: impl Into<String>) -> Self;
    fn touching(self, layer: impl Into<String>) -> Self;
}

impl FindingExt for Finding {
    fn in_file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    fn expecting(mut self, expected: impl Into<String>, found: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self.found = Some(found.into());
        self
    }

    fn touching(mut self, layer: impl Into<String>) -> Self {
        // Most findings touch one layer, for which a list would make room for four.
        if self.layers.is_empty() {
            self.layers.reserve_exact(1);
        }
        self.layers.push(layer.into());
        self
    }
}

/// Every rule, by id.
#[must_use]
pub fn rules() -> Vec<&'static Rule> {
    let families: &[&'static [Rule]] = &[
        leaks::RULES,
        scales::RULES,
        siblings::RULES,
        shapes::RULES,
        widths::RULES,
        naming::RULES,
        fused::RULES,
        index::RULES,
        structure::RULES,
        values::RULES,
        layout::RULES,
        ties::RULES,
        conversion::RULES,
        comfy::RULES,
        crate::targets::RULES,
    ];
    let mut all: Vec<&'static Rule> = families.iter().chain(config::FAMILY).copied().flatten().collect();
    all.arrange_by_key(|r| r.id);
    all
}

/// The rule of that id, in any case.
#[must_use]
pub fn rule(id: &str) -> Option<&'static Rule> {
    rules().into_iter().find(|r| r.id.eq_ignore_ascii_case(id))
}
