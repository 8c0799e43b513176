//! Findings by rule, narrowed: by severity, rule, runtime and layer.

use crate::Session;
use crate::api::{FindingGroup, Severity};
use crate::layers::Text;
use crate::overview::{SHOWN, finding_groups};
use quantscope_audit::{FindingView, rule};
use serde::{Deserialize, Serialize};

/// Which findings are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingQuery {
    /// Only this severity.
    pub severity: Option<Severity>,
    /// Part of a rule's id or title.
    pub rule: String,
    /// Only findings about this runtime.
    pub target: Option<String>,
    /// Part of the name of a layer or subject, or a glob if it holds `*`, `?` or `[`.
    pub layer: String,
}

impl FindingQuery {
    /// Whether it leaves anything out.
    #[must_use]
    pub fn narrows(&self) -> bool {
        *self != Self::default()
    }

    fn keeps(&self, finding: FindingView<'_>, rule_part: &str, layer: &Text) -> bool {
        let title = || rule(finding.rule()).map_or("", |r| r.title).to_ascii_lowercase();
        let of_rule = rule_part.is_empty()
            || finding.rule().to_ascii_lowercase().contains(rule_part)
            || title().contains(rule_part);
        let of_layer =
            || layer.matches(&finding.subject()) || finding.layers().any(|name| layer.matches(name));
        self.severity.is_none_or(|severity| severity == finding.severity())
            && self.target.as_ref().is_none_or(|target| finding.target() == Some(target))
            && of_rule
            && of_layer()
    }
}

impl Session {
    /// Findings that a query keeps, grouped by rule, the gravest first.
    #[must_use]
    pub fn findings_of(&self, query: &FindingQuery) -> Vec<FindingGroup> {
        let (rule_part, layer) = (query.rule.trim().to_ascii_lowercase(), Text::new(&query.layer));
        finding_groups(self.findings.iter().filter(|f| query.keeps(*f, &rule_part, &layer)), SHOWN)
    }
}
