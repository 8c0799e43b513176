//! Judging: from headers and configs to findings, at once or a family of rules at a time.

use crate::Session;
use quantscope_audit::targets::target_findings;
use quantscope_audit::{FAMILIES, Findings, HeaderContext, LayerInfo, header_findings};
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
        let mut findings = Findings::default();
        for family in FAMILIES {
            family(context, &mut findings);
            pause().await;
        }
        self.take(findings);
    }

    /// Brings the findings together that are in scope.
    pub(crate) fn gather(&mut self) {
        // What was found before goes first: a checkpoint of a million faults has room for one list of them.
        self.findings = Findings::default();
        let findings = header_findings(HeaderContext { checkpoint: &self.checkpoint, model: &self.model });
        self.take(findings);
    }

    /// Takes the findings of headers, and adds those of runtimes and of bytes.
    fn take(&mut self, mut findings: Findings) {
        // Without a runtime that is asked for nothing of the runtimes' rules is needed, nor fetched by the page.
        if !self.scope.targets.is_empty() {
            let context = HeaderContext { checkpoint: &self.checkpoint, model: &self.model };
            let more = target_findings(context, &self.scope.targets);
            findings.extend(more.iter().map(|finding| finding.to_finding()));
        }
        findings.extend(self.byte_findings.iter().map(|finding| finding.to_finding()));
        self.scope.cut(&mut findings);
        findings.sort();
        self.findings = findings;
        self.is_judged = true;
        self.index_findings();
    }

    fn index_findings(&mut self) {
        self.explorer.forget_rows();
        self.by_layer = ByLayer::of(&self.findings, &self.model.layers);
    }
}

/// The findings of each layer, by index.
#[derive(Debug, Clone, Default)]
pub(crate) struct ByLayer {
    /// Where those of each layer end, among `findings`.
    ends: Vec<usize>,
    findings: Vec<u32>,
}

impl ByLayer {
    fn of(findings: &Findings, layers: &[LayerInfo]) -> Self {
        let mut pairs: Vec<(usize, u32)> = Vec::new();
        let mut ends = vec![0_usize; layers.len()];
        let mut near = 0_usize;
        for (number, finding) in (0_u32..).zip(findings.iter()) {
            for name in finding.layers() {
                // Findings of a rule go through the layers in their order.
                let is_it = |at: &usize| layers.get(*at).is_some_and(|layer| layer.name == name);
                let at = [near, near.saturating_add(1)].into_iter().find(is_it);
                let search = || layers.binary_search_by(|l| natural_cmp(&l.name, name)).ok();
                let Some(at) = at.or_else(search) else { continue };
                near = at;
                pairs.push((at, number));
                if let Some(count) = ends.get_mut(at) {
                    *count += 1;
                }
            }
        }
        // Counts become beginnings; each moves to its end as places are taken.
        let mut begin = 0;
        for end in &mut ends {
            let count = std::mem::replace(end, begin);
            begin += count;
        }
        let mut own = vec![0; pairs.len()];
        for (at, number) in pairs {
            let Some(place) = ends.get_mut(at) else { continue };
            if let Some(slot) = own.get_mut(*place) {
                *slot = number;
            }
            *place += 1;
        }
        Self { ends, findings: own }
    }

    /// Those of one layer, in their order.
    pub(crate) fn of_layer(&self, index: usize) -> &[u32] {
        let begin = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(index).and_then(|end| self.findings.get(begin..*end)).unwrap_or_default()
    }
}
