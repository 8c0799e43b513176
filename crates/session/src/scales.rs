//! Scales alone: checked where the codes are far away, as behind a network.

use crate::api::{SessionError, VerifySummary};
use crate::{Session, count};
use quantscope_audit::Engines;
use quantscope_audit::bytes::{audit_scales, scale_bytes};
use quantscope_format::Control;

impl Session {
    /// Bytes that [`Self::check_scales`] reads: those of all scales.
    #[must_use]
    pub fn scale_bytes(&self) -> u64 {
        scale_bytes(&self.checkpoint, &self.model)
    }

    /// Reads every scale and nothing else. Findings are updated, unless all bytes were verified before: then they hold
    /// what is found here already. Bytes do not count as verified by this.
    ///
    /// # Errors
    /// If a source fails or the job is cancelled; findings stay as they were.
    pub async fn check_scales(
        &mut self,
        engines: Engines<'_>,
        control: &dyn Control,
    ) -> Result<VerifySummary, SessionError> {
        let audit = audit_scales(&self.checkpoint, &self.model, engines, &self.limits, control).await?;
        let before = self.findings.len();
        if self.verified_by.is_none() {
            self.byte_findings = audit.findings;
            self.scales_checked = true;
            self.gather();
        }
        Ok(VerifySummary {
            engine: audit.engine,
            engine_note: audit.engine_note,
            layers_checked: audit.layers_checked,
            bytes_read: audit.bytes_read,
            findings_before: count(before),
            findings_after: count(self.findings.len()),
        })
    }
}
