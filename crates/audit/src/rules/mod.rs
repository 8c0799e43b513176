//! The rules, one file per family. Each file lists its rules and finds their violations.

pub(crate) mod config;
pub(crate) mod index;
pub(crate) mod leaks;
pub(crate) mod scales;
pub(crate) mod shapes;
pub(crate) mod structure;
pub(crate) mod ties;
pub(crate) mod values;

use crate::checkpoint::Checkpoint;
use crate::model::Model;
use crate::report::Finding;

/// What rules over headers and configs see.
#[derive(Clone, Copy)]
pub struct HeaderContext<'a> {
    /// The checkpoint.
    pub checkpoint: &'a Checkpoint,
    /// Its layers.
    pub model: &'a Model,
}

/// Every finding that needs headers and configs only.
#[must_use]
pub fn header_findings(context: HeaderContext<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    structure::check(context, &mut findings);
    index::check(context, &mut findings);
    leaks::check(context, &mut findings);
    scales::check(context, &mut findings);
    shapes::check(context, &mut findings);
    config::check(context, &mut findings);
    sort_findings(&mut findings);
    findings
}

/// Orders findings by severity, then rule, then runtime, then subject, subjects in natural order.
pub fn sort_findings(findings: &mut [Finding]) {
    findings.sort_by(|a, b| {
        let grave = a
            .severity
            .cmp(&b.severity)
            .then_with(|| a.rule.cmp(&b.rule))
            .then_with(|| a.target.cmp(&b.target));
        grave.then_with(|| quantscope_format::natural_cmp(&a.subject, &b.subject))
    });
}

/// Writes a shape as people read it.
pub(crate) fn shape_text(shape: &[u64]) -> String {
    format!("{shape:?}")
}
