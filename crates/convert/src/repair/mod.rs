//! Repair: a copy of a checkpoint in which what can be mended without quantizing again is mended.
//!
//! Tensor bytes are taken over as they are, and proven equal by hash. A plan first, as plain data: every change
//! with before and after, and what cannot be mended with the reason. The plan is audited like a checkpoint
//! before anything is written, so that what it says of itself is what the auditor will say of the output.

mod configs;
mod draft;
mod index;
mod metadata;
mod planned;
mod scales;
mod tensors;
mod values;
mod write;

use crate::error::ConvertError;
use draft::Draft;
use quantscope_audit::report::Finding;
use quantscope_audit::targets::Profile;
use quantscope_audit::{Checkpoint, Model, rule};
use quantscope_format::{Gather as _, Limits, TensorSpec, read_small};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Range;

pub use write::{RepairOutcome, run};

/// One change, for people and for the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Rule that it mends.
    pub rule: String,
    /// Tensor, file or field that changes.
    pub subject: String,
    /// `drop`, `rename`, `reshape`, `replace`, `write`.
    pub what: String,
    /// How it was.
    pub before: String,
    /// How it will be.
    pub after: String,
}

/// A finding that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmended {
    /// Its rule.
    pub rule: String,
    /// What it is about.
    pub subject: String,
    /// Why it stays, or what to do.
    pub reason: String,
    /// Whether its rule was named as one to mend.
    pub asked: bool,
}

/// What makes the bytes of an output tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A source tensor as it is.
    Splice,
    /// A maximum of cached keys or values, turned into a scale.
    KvScale,
    /// Block scales of E4M3: those that are zero over blocks of zero codes become one.
    BlockScales {
        /// Place of the codes.
        codes: (u32, u32),
        /// Bytes of codes under one scale.
        block_bytes: u64,
    },
    /// Float scales: those that are zero become one. Only where the audit found nothing but zeros under them.
    FloatScales,
    /// One divided by the number that is there.
    Reciprocal,
    /// The largest of several numbers.
    Largest(Vec<(u32, u32)>),
}

/// One output tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RepairTensor {
    pub(crate) spec: TensorSpec,
    pub(crate) span: Range<u64>,
    /// Shard and tensor of the source.
    pub(crate) source: (u32, u32),
    pub(crate) origin: Origin,
}

/// One output file of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RepairFile {
    pub(crate) name: String,
    pub(crate) header: Vec<u8>,
    pub(crate) len: u64,
    pub(crate) tensors: Vec<RepairTensor>,
}

/// The whole promise.
pub struct RepairPlan {
    pub(crate) files: Vec<RepairFile>,
    /// JSON files that are written anew.
    pub(crate) texts: Vec<(String, Vec<u8>)>,
    /// Files that are copied as they are.
    pub(crate) copies: Vec<String>,
    /// Places whose bytes must be equal, as only one of them is kept.
    pub(crate) equal: Vec<((u32, u32), (u32, u32))>,
    /// What changes.
    pub changes: Vec<Change>,
    /// What stays, and why.
    pub unmended: Vec<Unmended>,
    /// Findings that go away.
    pub mended: u64,
    /// Bytes of the source's tensors.
    pub bytes_before: u64,
    /// Bytes of the output's tensors.
    pub bytes_after: u64,
}

impl RepairPlan {
    /// Names and lengths of the weight files.
    #[must_use]
    pub fn weight_files(&self) -> Vec<(String, u64)> {
        self.files.iter().map(|file| (file.name.clone(), file.len)).collect()
    }

    /// Names of the other files.
    #[must_use]
    pub fn other_files(&self) -> Vec<String> {
        self.texts.iter().map(|(name, _)| name.clone()).chain(self.copies.iter().cloned()).collect()
    }

    /// Whether everything that was asked for by name is mended.
    #[must_use]
    pub fn mends_all(&self) -> bool {
        self.unmended.iter().all(|u| !u.asked)
    }
}

/// Rules that are mended only if they are named: their repair changes what the model computes, or decides what a
/// file cannot tell.
const BY_NAME: &[&str] = &["SC003", "SV105", "TI703", "TI704"];

/// What is to be mended.
#[derive(Clone, Copy)]
pub struct RepairRequest<'a> {
    /// What the audit found, of headers and as far as known of bytes.
    pub findings: &'a [Finding],
    /// Rules whose findings are to be mended; every one that can be, if empty.
    pub rules: &'a [String],
    /// Runtimes that the findings are about.
    pub targets: &'a [&'a Profile],
}

impl RepairRequest<'_> {
    /// Whether a finding is to be mended.
    pub(crate) fn asks(&self, finding: &Finding) -> bool {
        if self.rules.is_empty() {
            return finding.repairable && !BY_NAME.contains(&finding.rule.as_str());
        }
        self.names(finding)
    }

    /// Whether a finding's rule was named.
    pub(crate) fn names(&self, finding: &Finding) -> bool {
        self.rules.iter().any(|id| id.eq_ignore_ascii_case(&finding.rule))
    }

    fn check(&self) -> Result<(), ConvertError> {
        match self.rules.iter().find(|id| rule(id).is_none()) {
            Some(id) => {
                Err(ConvertError::Refused(format!("no rule is called {id:?}; `quantscope rules` lists them")))
            }
            None => Ok(()),
        }
    }
}

/// Lays out a repair. Reads headers and configs only.
///
/// # Errors
/// If a weight file is damaged, so that its tensors cannot be taken over, or the output cannot be laid out.
pub async fn plan(
    checkpoint: &Checkpoint,
    model: &Model,
    request: RepairRequest<'_>,
    limits: &Limits,
) -> Result<RepairPlan, ConvertError> {
    request.check()?;
    refuse_damaged(checkpoint, request.findings)?;
    let mut draft = Draft::new(checkpoint, model, request);
    draft.hf_quant = read_json(checkpoint, "hf_quant_config.json", limits).await?;
    tensors::mend(&mut draft);
    scales::mend(&mut draft);
    values::mend(&mut draft);
    metadata::mend(&mut draft);
    configs::mend(&mut draft)?;
    let mut plan = draft.lay_out()?;
    planned::judge(checkpoint, request, &mut plan, limits).await?;
    Ok(plan)
}

/// A JSON file of the checkpoint as a tree; `None` if it is absent, too long or no JSON.
async fn read_json(
    checkpoint: &Checkpoint,
    name: &str,
    limits: &Limits,
) -> Result<Option<serde_json::Value>, ConvertError> {
    let Some(file) = checkpoint.other_files.iter().find(|f| f.path == name) else { return Ok(None) };
    let bytes = read_small(file.source.as_ref(), limits).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// A file whose own header is wrong has no tensors that could be taken over safely.
fn refuse_damaged(checkpoint: &Checkpoint, findings: &[Finding]) -> Result<(), ConvertError> {
    if let Some(shard) = checkpoint.shards.iter().find(|s| !s.header.is_sound()) {
        let why = shard.header.defects.first().map(ToString::to_string).unwrap_or_default();
        let message = format!("{} is damaged: {why}; fetch it again, then repair", shard.file);
        return Err(ConvertError::Refused(message));
    }
    let twice: BTreeSet<&str> =
        findings.iter().filter(|f| f.rule == "ST001").map(|f| f.subject.as_str()).gather_set();
    match twice.first() {
        Some(name) => Err(ConvertError::Tensor {
            tensor: (*name).to_string(),
            reason: "stands twice in one header, and readers disagree which one counts".into(),
            remedy: "write the file again from its source".into(),
        }),
        None => Ok(()),
    }
}
