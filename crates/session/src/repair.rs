//! Repair over the boundary: what would change, what stays and why, and what was done.

use crate::api::{Finding, SessionError};
use crate::{Session, count};
use quantscope_convert::repair::{self, RepairRequest};
use quantscope_format::{Control, Sink};
use serde::{Deserialize, Serialize};

pub use quantscope_convert::repair::{Change, Unmended};

/// What a repair would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairView {
    /// Every change, with before and after.
    pub changes: Vec<Change>,
    /// Findings that stay, with the reason.
    pub unmended: Vec<Unmended>,
    /// Findings that go away.
    pub mended: u64,
    /// Whether everything that was asked for is mended.
    pub mends_all: bool,
    /// Weight files that will be written, with their lengths.
    pub files: Vec<(String, u64)>,
    /// Other files that are copied or written anew.
    pub other_files: Vec<String>,
    /// Bytes of the source's tensors.
    pub bytes_before: u64,
    /// Bytes of the output's tensors.
    pub bytes_after: u64,
}

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairSummary {
    /// Files under their final names, with their lengths.
    pub files: Vec<(String, u64)>,
    /// Tensors whose bytes are those of the source, proven by hash.
    pub unchanged: u64,
    /// Tensors that were made anew.
    pub made: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

impl Session {
    fn repair_request<'a>(&'a self, rules: &'a [String], findings: &'a [Finding]) -> RepairRequest<'a> {
        RepairRequest { findings, rules, targets: &self.scope.targets }
    }

    /// What a repair of these rules' findings would do; of all that can be mended, if `rules` is empty. Reads no
    /// tensor bytes. Findings that only bytes show are known once [`Session::verify`] ran.
    ///
    /// # Errors
    /// If a rule is not known, a weight file is damaged, or a config cannot be read.
    pub async fn repair_plan(&self, rules: &[String]) -> Result<RepairView, SessionError> {
        let findings = self.findings.to_vec();
        let request = self.repair_request(rules, &findings);
        let plan = repair::plan(&self.checkpoint, &self.model, request, &self.limits).await?;
        Ok(RepairView {
            mends_all: plan.mends_all(),
            files: plan.weight_files(),
            other_files: plan.other_files(),
            mended: plan.mended,
            bytes_before: plan.bytes_before,
            bytes_after: plan.bytes_after,
            changes: plan.changes,
            unmended: plan.unmended,
        })
    }

    /// Writes the repaired checkpoint into the sink, reads it back, compares it with the plan, and commits.
    ///
    /// # Errors
    /// As [`Session::repair_plan`]; if there is nothing to mend; if cancelled, or a source or the sink fails.
    /// Nothing is left under a final name then.
    pub async fn repair(
        &self,
        rules: &[String],
        sink: &mut dyn Sink,
        control: &dyn Control,
    ) -> Result<RepairSummary, SessionError> {
        let findings = self.findings.to_vec();
        let request = self.repair_request(rules, &findings);
        let plan = repair::plan(&self.checkpoint, &self.model, request, &self.limits).await?;
        if plan.changes.is_empty() {
            let message = match plan.unmended.iter().find(|u| u.asked) {
                Some(first) => {
                    format!("nothing can be mended; {} {}: {}", first.rule, first.subject, first.reason)
                }
                None => "there is nothing to mend".to_string(),
            };
            sink.abandon().await;
            return Err(SessionError { kind: "refused".into(), message });
        }
        let outcome = repair::run(&self.checkpoint, &plan, &self.limits, sink, control).await?;
        Ok(RepairSummary {
            unchanged: outcome.unchanged,
            made: outcome.made,
            bytes_written: outcome.bytes_written,
            files: outcome.files,
        })
    }

    /// Whether a repair of these rules needs findings that only bytes show.
    #[must_use]
    pub fn repair_needs_bytes(rules: &[String]) -> bool {
        let asked = |id: &str| rules.is_empty() || rules.iter().any(|r| r.eq_ignore_ascii_case(id));
        count(
            quantscope_audit::rules()
                .iter()
                .filter(|r| r.repairable && r.needs.contains('B') && asked(r.id))
                .count(),
        ) > 0
    }
}
