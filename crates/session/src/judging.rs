//! Judging: from headers and configs to findings, at once or a family of rules at a time.

use crate::Session;
use quantscope_audit::report::Finding;
use quantscope_audit::targets::target_findings;
use quantscope_audit::{FAMILIES, HeaderContext, header_findings, sort_findings};
use quantscope_format::natural_cmp;
use std::rc::Rc;

impl Session {
    /// Whether the headers were judged. Until then there are no findings, and the verdict says so.
    #[must_use]
    pub fn is_judged(&self) -> bool {
        self.is_judged
    }

    /// Layers there are.
    #[must_use]
    pub fn layer_count(&self) -> u64 {
        crate::count(self.model.layers.len())
    }

    /// Judges headers and configs at once.
    pub fn judge(&mut self) {
        self.gather();
    }

    /// Judges headers and configs; between two families of rules it waits for `pause`, so that a question about the
    /// layers is answered meanwhile. The findings are those of [`Self::judge`].
    pub async fn judge_in_steps(&mut self, pause: impl AsyncFn()) {
        let (checkpoint, model) = (Rc::clone(&self.checkpoint), Rc::clone(&self.model));
        let context = HeaderContext { checkpoint: &checkpoint, model: &model };
        let mut findings = Vec::new();
        for family in FAMILIES {
            family(context, &mut findings);
            pause().await;
        }
        self.take(findings);
    }

    /// Brings the findings together that are in scope.
    pub(crate) fn gather(&mut self) {
        // What was found before goes first: a checkpoint of a million faults has room for one list of them.
        self.findings = Vec::new();
        let findings = header_findings(HeaderContext { checkpoint: &self.checkpoint, model: &self.model });
        self.take(findings);
    }

    /// Takes the findings of headers, and adds those of runtimes and of bytes.
    fn take(&mut self, mut findings: Vec<Finding>) {
        let context = HeaderContext { checkpoint: &self.checkpoint, model: &self.model };
        findings.extend(target_findings(context, &self.scope.targets));
        findings.extend(self.byte_findings.iter().cloned());
        self.scope.cut(&mut findings);
        sort_findings(&mut findings);
        findings.shrink_to_fit();
        self.findings = findings;
        self.is_judged = true;
        self.index_findings();
    }

    fn index_findings(&mut self) {
        self.explorer.forget_rows();
        self.by_layer = vec![Vec::new(); self.model.layers.len()];
        for (i, finding) in (0_u32..).zip(&self.findings) {
            for name in &finding.layers {
                let at = self.model.layers.binary_search_by(|l| natural_cmp(&l.name, name));
                if let Some(list) = at.ok().and_then(|at| self.by_layer.get_mut(at)) {
                    list.push(i);
                }
            }
        }
    }
}
