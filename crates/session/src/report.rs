//! The report of a session: written from what the session holds, a layer and a finding at a time.

use crate::Session;
use crate::api::Overview;
use quantscope_audit::report::{Checkpoint, Declared, Severity, Shard, Summary, Tie, Tool};
use quantscope_audit::{Findings, LayerInfo};
use quantscope_schemes::effective_algo;
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, HashSet};

pub(crate) fn count_of(session: &Session, severity: Severity) -> u64 {
    crate::count(session.findings.iter().filter(|f| f.severity() == severity).count())
}

/// What the renderings of the report are made of. Layers and findings stay where they are: there may be millions.
#[derive(Clone)]
pub struct AuditView<'s> {
    /// The checkpoint at a glance, with the verdict.
    pub overview: Overview,
    pub(crate) session: &'s Session,
}

/// One layer of the report.
#[derive(Clone, Serialize)]
pub struct ReportLayer<'s> {
    /// Module path.
    pub name: &'s str,
    /// What it is, such as `linear`.
    pub kind: &'static str,
    /// Scheme id.
    pub scheme: &'static str,
    /// Logical shape.
    pub shape: &'s [u64],
    /// Bits per weight; 0-d scalars not counted.
    pub bits_per_weight: f64,
    tensors: Tensors<'s>,
}

/// Tensors of a layer that are compared one by one.
const FEW: usize = 16;

/// The tensors of a layer: a map in the JSON, by what is below the layer's name; a second one of the same is told by its
/// whole name.
#[derive(Clone)]
struct Tensors<'s> {
    session: &'s Session,
    layer: &'s LayerInfo,
}

/// One of them.
#[derive(Serialize)]
struct Tensor<'s> {
    dtype: &'static str,
    shape: &'s [u64],
    file: &'s str,
}

impl<'s> Serialize for Tensors<'s> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let members = &self.layer.members;
        // A stacked parameter and a weight below a module of its name have one leaf.
        let mut seen = HashSet::new();
        let mut is_new = |place: usize, leaf: &'s str| match members.get(..place.min(FEW)) {
            Some(earlier) if members.len() <= FEW => earlier.iter().all(|member| member.leaf != *leaf),
            _ => seen.insert(leaf),
        };
        serializer.collect_map(members.iter().enumerate().filter_map(|(place, member)| {
            let (shard, tensor) = self.session.checkpoint.tensor(member.shard, member.tensor)?;
            let entry = Tensor { dtype: tensor.dtype.tag(), shape: tensor.shape, file: &shard.file };
            let leaf = member.leaf.as_str();
            Some((if is_new(place, leaf) { leaf } else { tensor.name }, entry))
        }))
    }
}

/// A list that is made while it is written.
pub(crate) struct Each<F>(pub(crate) F);

impl<I: IntoIterator<Item: Serialize>, F: Fn() -> I> Serialize for Each<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

/// The report as the JSON contract has it, field by field.
#[derive(Serialize)]
struct Contract<'s, L, F> {
    schema: u32,
    tool: Tool,
    checkpoint: Checkpoint,
    layers: L,
    ties: &'s [Tie],
    findings: F,
    summary: Summary,
}

impl<'s> AuditView<'s> {
    /// Layers in natural order.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = ReportLayer<'s>> {
        let session = self.session;
        session.model.layers.iter().map(move |layer| ReportLayer {
            name: &layer.name,
            kind: layer.kind.id(),
            scheme: layer.scheme.id(),
            shape: &layer.shape,
            bits_per_weight: layer.bits_per_weight(),
            tensors: Tensors { session, layer },
        })
    }

    pub(crate) fn findings(&self) -> &'s Findings {
        &self.session.findings
    }

    pub(crate) fn tool() -> Tool {
        Tool { name: "quantscope".into(), version: env!("CARGO_PKG_VERSION").into() }
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let (checkpoint, model) = (&self.session.checkpoint, &self.session.model);
        let shard = |s: &quantscope_audit::Shard| Shard {
            file: s.file.clone(),
            bytes: s.header.file_len,
            tensors: crate::count(s.header.tensors.len()),
        };
        let declared = checkpoint
            .declaration()
            .map(|d| Declared { quant_method: d.quant_method.clone(), quant_algo: effective_algo(d) });
        Checkpoint {
            path: checkpoint.name.clone(),
            shards: checkpoint.shards.iter().map(shard).collect(),
            tensors: checkpoint.tensor_count(),
            parameters: model.parameters(),
            bytes: checkpoint.byte_len(),
            bits_per_weight: model.bits_per_weight(),
            declared,
        }
    }

    /// Totals.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let session = self.session;
        let mut by_scheme: BTreeMap<String, u64> = BTreeMap::new();
        for layer in session.model.layers.iter().filter(|l| l.kind.is_counted()) {
            match by_scheme.get_mut(layer.scheme.id()) {
                Some(count) => *count += 1,
                None => _ = by_scheme.insert(layer.scheme.id().into(), 1),
            }
        }
        Summary {
            errors: self.overview.errors,
            warnings: self.overview.warnings,
            infos: self.overview.infos,
            by_scheme,
            bytes_saved_by_ties: session.ties().bytes_saved,
        }
    }

    /// The report as the JSON contract has it.
    pub(crate) fn contract(&self) -> impl Serialize {
        Contract {
            schema: 1,
            tool: Self::tool(),
            checkpoint: self.checkpoint(),
            layers: Each(|| self.layers()),
            ties: &self.session.ties,
            findings: Each(|| self.findings().iter()),
            summary: self.summary(),
        }
    }
}
