//! A repair in the making: what becomes of each tensor, each header's metadata, each config.

use super::{Change, Origin, RepairFile, RepairPlan, RepairRequest, RepairTensor, Unmended, index};
use crate::error::ConvertError;
use quantscope_audit::report::Finding;
use quantscope_audit::{Checkpoint, Model};
use quantscope_format::Arrange as _;
use quantscope_format::{HeaderLayout, TensorSpec};
use std::collections::BTreeMap;

/// What becomes of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) spec: TensorSpec,
    pub(super) origin: Origin,
}

/// A repair in the making.
pub(super) struct Draft<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) model: &'a Model,
    pub(super) request: RepairRequest<'a>,
    /// Places of the source's tensors by name.
    places: BTreeMap<&'a str, Vec<(u32, u32)>>,
    /// By shard and tensor; `None` once it is dropped.
    fates: BTreeMap<(u32, u32), Option<Fate>>,
    /// Tensors that the source lacks: shard, what they are, whose bytes they are made of.
    added: Vec<(u32, Fate, (u32, u32))>,
    /// Names that the output will have, and how often.
    names: BTreeMap<String, u64>,
    /// `__metadata__` of each shard.
    pub(super) metadata: Vec<Vec<(String, String)>>,
    /// `hf_quant_config.json` as it stands.
    pub(super) hf_quant: Option<serde_json::Value>,
    /// JSON files written anew; `None` for one that is left out.
    pub(super) texts: BTreeMap<String, Option<Vec<u8>>>,
    pub(super) equal: Vec<((u32, u32), (u32, u32))>,
    pub(super) changes: Vec<Change>,
    /// Reasons of menders that could not, by rule and subject.
    pub(super) refused: BTreeMap<(String, String), String>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(checkpoint: &'a Checkpoint, model: &'a Model, request: RepairRequest<'a>) -> Self {
        let mut places: BTreeMap<&str, Vec<(u32, u32)>> = BTreeMap::new();
        let mut fates = BTreeMap::new();
        let mut names: BTreeMap<String, u64> = BTreeMap::new();
        let mut metadata = Vec::new();
        for (s, shard) in (0_u32..).zip(&checkpoint.shards) {
            for (t, tensor) in (0_u32..).zip(shard.header.tensors.iter()) {
                let spec = TensorSpec {
                    name: tensor.name.to_owned(),
                    dtype: tensor.dtype,
                    shape: tensor.shape.to_vec(),
                };
                places.entry(tensor.name).or_default().push((s, t));
                *names.entry(tensor.name.to_owned()).or_default() += 1;
                fates.insert((s, t), Some(Fate { spec, origin: Origin::Splice }));
            }
            metadata.push(last_of_each(&shard.header.metadata));
        }
        Self {
            checkpoint,
            model,
            request,
            places,
            fates,
            added: Vec::new(),
            names,
            metadata,
            hf_quant: None,
            texts: BTreeMap::new(),
            equal: Vec::new(),
            changes: Vec::new(),
            refused: BTreeMap::new(),
        }
    }

    /// The findings of some rules that are to be mended.
    pub(super) fn asked(&self, rules: &[&str]) -> Vec<&'a Finding> {
        let request = self.request;
        request.findings.iter().filter(|f| rules.contains(&f.rule.as_str()) && request.asks(f)).collect()
    }

    pub(super) fn change(&mut self, rule: &str, subject: &str, what: &str, before: String, after: String) {
        let (rule, subject, what) = (rule.to_string(), subject.to_string(), what.to_string());
        self.changes.push(Change { rule, subject, what, before, after });
    }

    pub(super) fn refuse(&mut self, finding: &Finding, reason: impl Into<String>) {
        self.refused.insert((finding.rule.clone(), finding.subject.clone()), reason.into());
    }

    /// Where the source has tensors of a name.
    pub(super) fn places(&self, name: &str) -> Vec<(u32, u32)> {
        self.places.get(name).cloned().unwrap_or_default()
    }

    /// Names of the source that pass a test, with their places.
    pub(super) fn named(&self, test: impl Fn(&str) -> bool) -> Vec<((u32, u32), &'a str)> {
        let all = self.places.iter().filter(|(name, _)| test(name));
        all.flat_map(|(name, places)| places.iter().map(|place| (*place, *name))).collect()
    }

    /// What stands at a place, unless it is dropped.
    pub(super) fn at(&self, place: (u32, u32)) -> Option<&Fate> {
        self.fates.get(&place)?.as_ref()
    }

    /// Whether the output will have a tensor of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// One tensor fewer of that name.
    fn forget(&mut self, name: &str) {
        if let Some(count) = self.names.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                self.names.remove(name);
            }
        }
    }

    /// Whether the output will have scales of a KV cache.
    pub(super) fn has_kv_scales(&self) -> bool {
        self.names.keys().any(|name| name.ends_with(".k_scale") || name.ends_with(".v_scale"))
    }

    /// Leaves a tensor out.
    pub(super) fn drop_tensor(&mut self, place: (u32, u32), rule: &str) {
        let Some(fate) = self.fates.get_mut(&place).and_then(Option::take) else { return };
        self.forget(&fate.spec.name);
        self.change(rule, &fate.spec.name, "drop", describe(&fate.spec), "absent".into());
    }

    /// Gives a tensor another name, type, shape or making. `false` if the name is taken.
    pub(super) fn replace(&mut self, place: (u32, u32), rule: &str, what: &str, new: Fate) -> bool {
        let Some(old) = self.at(place).cloned() else { return false };
        if new.spec.name != old.spec.name {
            if self.has(&new.spec.name) {
                return false;
            }
            self.names.insert(new.spec.name.clone(), 1);
            self.forget(&old.spec.name);
        }
        let (before, after) = (describe(&old.spec), describe(&new.spec));
        let after = if new.origin == Origin::KvScale { format!("{after} = maximum / 448") } else { after };
        self.fates.insert(place, Some(new));
        self.change(rule, &old.spec.name, what, before, after);
        true
    }

    /// Puts a tensor into a shard that the source lacks. `false` if the name is taken.
    pub(super) fn add(&mut self, shard: u32, rule: &str, fate: Fate, source: (u32, u32)) -> bool {
        if self.has(&fate.spec.name) {
            return false;
        }
        self.names.insert(fate.spec.name.clone(), 1);
        let name = fate.spec.name.clone();
        self.change(rule, &name, "write", "absent".into(), describe(&fate.spec));
        self.added.push((shard, fate, source));
        true
    }

    /// Changes how a tensor's bytes are made, under the same name.
    pub(super) fn remake(&mut self, place: (u32, u32), origin: Origin) {
        if let Some(Some(fate)) = self.fates.get_mut(&place) {
            fate.origin = origin;
        }
    }

    /// Headers, offsets, lengths: everything about the weight files is fixed here.
    pub(super) fn lay_out(mut self) -> Result<RepairPlan, ConvertError> {
        let mut files = Vec::new();
        let (mut bytes_before, mut bytes_after) = (0_u64, 0_u64);
        let shards = (0_u32..).zip(&self.checkpoint.shards).zip(std::mem::take(&mut self.metadata));
        for ((s, shard), metadata) in shards {
            let own = self.fates.range((s, 0)..=(s, u32::MAX));
            let mut kept: Vec<((u32, u32), Fate)> =
                own.filter_map(|(place, fate)| fate.clone().map(|fate| (*place, fate))).collect();
            let added = self.added.iter().filter(|(shard, _, _)| *shard == s);
            kept.extend(added.map(|(_, fate, source)| (*source, fate.clone())));
            let specs: Vec<TensorSpec> = kept.iter().map(|(_, fate)| fate.spec.clone()).collect();
            let layout = HeaderLayout::new(&specs, &metadata)?;
            let mut tensors: Vec<RepairTensor> = kept
                .into_iter()
                .zip(layout.spans)
                .map(|((source, fate), span)| RepairTensor {
                    spec: fate.spec,
                    span,
                    source,
                    origin: fate.origin,
                })
                .collect();
            tensors.arrange_by_key(|t| t.span.start);
            bytes_before =
                shard.header.tensors.iter().fold(bytes_before, |n, t| n.saturating_add(t.byte_len()));
            bytes_after = tensors
                .iter()
                .fold(bytes_after, |n, t| n.saturating_add(t.span.end.saturating_sub(t.span.start)));
            files.push(RepairFile {
                name: shard.file.clone(),
                header: layout.bytes,
                len: layout.file_len,
                tensors,
            });
        }
        index::mend(&mut self, &files)?;
        let copies = self.copies();
        let texts = self.texts.into_iter().filter_map(|(name, bytes)| Some((name, bytes?))).collect();
        let unmended = self
            .refused
            .into_iter()
            .map(|((rule, subject), reason)| Unmended { rule, subject, reason, asked: false })
            .collect();
        Ok(RepairPlan {
            files,
            texts,
            copies,
            equal: self.equal,
            changes: self.changes,
            unmended,
            mended: 0,
            bytes_before,
            bytes_after,
        })
    }

    /// Everything else of the checkpoint, without the manifest of an earlier run.
    fn copies(&self) -> Vec<String> {
        let names = self.checkpoint.other_files.iter().map(|f| f.path.as_str());
        let kept = names.filter(|name| !self.texts.contains_key(*name) && *name != crate::manifest::NAME);
        kept.map(str::to_string).collect()
    }
}

/// Of a key that stands twice the last one counts, as for every reader.
fn last_of_each(metadata: &[(String, String)]) -> Vec<(String, String)> {
    let mut kept: Vec<(String, String)> = Vec::new();
    for (key, value) in metadata {
        match kept.iter_mut().find(|(known, _)| known == key) {
            Some(entry) => entry.1.clone_from(value),
            None => kept.push((key.clone(), value.clone())),
        }
    }
    kept
}

/// `name F32 [2, 3]`.
fn describe(spec: &TensorSpec) -> String {
    format!("{} {} {:?}", spec.name, spec.dtype, spec.shape)
}
