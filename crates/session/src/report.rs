//! The report of a session.

use crate::Session;
use quantscope_audit::report::{self, LayerTensor, LayerTensors, Report, Severity};
use quantscope_audit::{LayerInfo, Member};
use quantscope_schemes::effective_algo;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) fn count_of(session: &Session, severity: Severity) -> u64 {
    crate::count(session.findings.iter().filter(|f| f.severity == severity).count())
}

/// A layer; `files` are the names of the shards, each held once.
fn layer(session: &Session, files: &[Arc<str>], layer: &LayerInfo) -> report::Layer {
    let tensor = |member: &Member| {
        let (_, tensor) = session.checkpoint.tensor(member.shard, member.tensor)?;
        let file = files.get(usize::try_from(member.shard).ok()?)?.clone();
        let entry = LayerTensor { dtype: tensor.dtype.tag().into(), shape: tensor.shape.clone(), file };
        Some((member.leaf.clone(), entry))
    };
    let mut tensors = Vec::with_capacity(layer.members.len());
    tensors.extend(layer.members.iter().filter_map(tensor));
    report::Layer {
        name: layer.name.clone(),
        kind: layer.kind.id().into(),
        scheme: layer.scheme.id().into(),
        shape: layer.shape.clone(),
        bits_per_weight: layer.bits_per_weight(),
        tensors: LayerTensors(tensors),
    }
}

pub(crate) fn report(session: &Session) -> Report {
    let checkpoint = &session.checkpoint;
    let shard = |s: &quantscope_audit::Shard| report::Shard {
        file: s.file.clone(),
        bytes: s.header.file_len,
        tensors: crate::count(s.header.tensors.len()),
    };
    let files: Vec<Arc<str>> = checkpoint.shards.iter().map(|s| Arc::from(s.file.as_str())).collect();
    let declared = checkpoint
        .declaration()
        .map(|d| report::Declared { quant_method: d.quant_method.clone(), quant_algo: effective_algo(d) });
    let mut by_scheme: BTreeMap<String, u64> = BTreeMap::new();
    for layer in session.model.layers.iter().filter(|l| l.kind.is_counted()) {
        *by_scheme.entry(layer.scheme.id().into()).or_default() += 1;
    }
    Report {
        schema: 1,
        tool: report::Tool { name: "quantscope".into(), version: env!("CARGO_PKG_VERSION").into() },
        checkpoint: report::Checkpoint {
            path: checkpoint.name.clone(),
            shards: checkpoint.shards.iter().map(shard).collect(),
            tensors: checkpoint.tensor_count(),
            parameters: session.model.parameters(),
            bytes: checkpoint.byte_len(),
            bits_per_weight: session.model.bits_per_weight(),
            declared,
        },
        layers: session.model.layers.iter().map(|l| layer(session, &files, l)).collect(),
        ties: session.ties.clone(),
        summary: report::Summary {
            errors: count_of(session, Severity::Error),
            warnings: count_of(session, Severity::Warning),
            infos: count_of(session, Severity::Info),
            by_scheme,
            bytes_saved_by_ties: session.ties().bytes_saved,
        },
        // Their layers are for jumping within a session; `AuditView::contract` leaves them out.
        findings: session.findings.clone(),
    }
}
