//! The output before it is written: its headers and texts, audited like any checkpoint.
//!
//! So the plan says what the auditor will say of the output, and a repair that would break something else is
//! noticed before a byte is written.

use super::{Origin, RepairPlan, RepairRequest, Unmended};
use crate::error::ConvertError;
use futures_util::future::LocalBoxFuture;
use quantscope_audit::report::{Finding, Severity};
use quantscope_audit::targets::target_findings;
use quantscope_audit::{Checkpoint, HeaderContext, InputFile, Model, header_findings, rule};
use quantscope_format::Gather as _;
use quantscope_format::{Limits, MemorySource, Source, SourceError, Uncontrolled};
use quantscope_schemes::split_name;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

/// A weight file as it will be: its header, and tensors that still lie in their source.
struct PlannedFile {
    header: Vec<u8>,
    len: u64,
    /// Span in this file, where the bytes lie now, and from which byte on.
    tensors: Vec<(Range<u64>, Rc<dyn Source>, u64)>,
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl Source for PlannedFile {
    fn len(&self) -> u64 {
        self.len
    }

    /// Within the header, or within one tensor: nothing that reads headers and descriptors asks for more. What
    /// is made only when it is written reads as zeros.
    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> LocalBoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            buf.fill(0);
            let end = offset.saturating_add(length(buf));
            let at = usize::try_from(offset).unwrap_or(usize::MAX);
            let until = usize::try_from(end).unwrap_or(usize::MAX).min(self.header.len());
            if let Some(part) = self.header.get(at..until) {
                if let Some(head) = buf.get_mut(..part.len()) {
                    head.copy_from_slice(part);
                }
                return Ok(());
            }
            let within = self.tensors.iter().find(|(span, _, _)| span.start <= offset && end <= span.end);
            match within {
                Some((span, source, begin)) => {
                    source.read(begin.saturating_add(offset.saturating_sub(span.start)), buf).await
                }
                None => Ok(()),
            }
        })
    }
}

/// Opens the output as it will be.
async fn open(
    checkpoint: &Checkpoint,
    plan: &RepairPlan,
    limits: &Limits,
) -> Result<Checkpoint, ConvertError> {
    let mut files: Vec<InputFile> = Vec::new();
    for file in &plan.files {
        let place = |tensor: &super::RepairTensor| {
            let (shard, source) = checkpoint.tensor(tensor.source.0, tensor.source.1)?;
            let same = tensor.origin == Origin::Splice;
            same.then(|| (tensor.span.clone(), Rc::clone(&shard.source), source.begin))
        };
        let tensors = file.tensors.iter().filter_map(place).collect();
        let source = PlannedFile { header: file.header.clone(), len: file.len, tensors };
        files.push(InputFile { path: file.name.clone(), source: Rc::new(source) });
    }
    for (name, bytes) in &plan.texts {
        let source = MemorySource::new(name.clone(), bytes.clone());
        files.push(InputFile { path: name.clone(), source: Rc::new(source) });
    }
    files.extend(checkpoint.other_files.iter().filter(|f| plan.copies.contains(&f.path)).cloned());
    Ok(Checkpoint::open(&checkpoint.name, files, limits, &Uncontrolled).await?)
}

type Key = (String, String, Option<String>);

fn key(finding: &Finding) -> Key {
    (finding.rule.clone(), finding.subject.clone(), finding.target.clone())
}

/// Audits the planned output, counts what is mended, and lists what stays with its reason.
pub(super) async fn judge(
    checkpoint: &Checkpoint,
    request: RepairRequest<'_>,
    plan: &mut RepairPlan,
    limits: &Limits,
) -> Result<(), ConvertError> {
    let output = open(checkpoint, plan, limits).await?;
    let model = Model::of(&output);
    let context = HeaderContext { checkpoint: &output, model: &model };
    let mut after = header_findings(context).to_vec();
    after.extend(target_findings(context, request.targets).to_vec());
    let left: BTreeSet<Key> = after.iter().map(key).gather_set();
    let before: BTreeSet<Key> = request.findings.iter().map(key).gather_set();
    let refusals = std::mem::take(&mut plan.unmended);
    let refusals: BTreeMap<(String, String), String> =
        refusals.into_iter().map(|u| ((u.rule, u.subject), u.reason)).gather_map();
    let refusal = |finding: &Finding| refusals.get(&(finding.rule.clone(), finding.subject.clone())).cloned();
    // A finding may name the tensor that changed, or the module that it belongs to.
    let changed: BTreeSet<(&str, &str)> = plan
        .changes
        .iter()
        .flat_map(|c| {
            [c.subject.as_str(), split_name(&c.subject).0].map(|subject| (c.rule.as_str(), subject))
        })
        .gather_set();
    let mut mended = 0;
    let mut unmended = Vec::new();
    for finding in request.findings {
        let reads_bytes = rule(&finding.rule).is_some_and(|r| r.needs.contains('B'));
        let touched = changed.contains(&(finding.rule.as_str(), finding.subject.as_str()));
        let stays = if reads_bytes && !left.contains(&key(finding)) {
            // Headers cannot show it; it is mended if its bytes are made anew.
            refusal(finding).is_some() || !(touched && request.asks(finding))
        } else {
            left.contains(&key(finding))
        };
        if !stays {
            mended += 1;
            continue;
        }
        let reason = refusal(finding).unwrap_or_else(|| finding.fix.to_string());
        unmended.push(Unmended {
            rule: finding.rule.clone(),
            subject: finding.subject.clone(),
            reason,
            asked: request.names(finding),
        });
    }
    let worse: Vec<&Finding> =
        after.iter().filter(|f| f.severity == Severity::Error && !before.contains(&key(f))).collect();
    for finding in worse {
        unmended.push(Unmended {
            rule: finding.rule.clone(),
            subject: finding.subject.clone(),
            reason: format!("comes to light by the repair: {}", finding.message),
            asked: false,
        });
    }
    (plan.mended, plan.unmended) = (mended, unmended);
    Ok(())
}
