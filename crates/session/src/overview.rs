//! The checkpoint at a glance: totals, scheme shares, the verdict in words, findings by rule.

use crate::api::{FindingGroup, Overview, SchemeShare, Severity, ShardView, Verdict};
use crate::report::count_of;
use crate::size_map::size_map;
use crate::{Session, count};
use quantscope_audit::{FindingView, LayerInfo, Shard, rule};
use quantscope_format::Arrange as _;
use quantscope_format::Defect;
use quantscope_schemes::{Family, Scheme, by_id, effective_algo, schemes};
use std::collections::BTreeMap;

/// Findings shown per rule; the rest is reached through the layer list.
pub(crate) const SHOWN: usize = 50;

fn shard_state(shard: &Shard) -> String {
    match shard.header.defects.first() {
        None => "sound".into(),
        Some(Defect::Unreadable { .. }) => "unreadable header".into(),
        Some(Defect::Truncated { missing, .. }) => format!("{missing} bytes short"),
        Some(Defect::Trailing { extra }) => format!("{extra} bytes too long"),
        Some(_) => format!("{} faults in the header", shard.header.defects.len()),
    }
}

fn shares(layers: &[LayerInfo]) -> Vec<SchemeShare> {
    let mut shares: BTreeMap<&str, SchemeShare> = BTreeMap::new();
    for layer in layers {
        let share = shares.entry(layer.scheme.id()).or_insert_with(|| SchemeShare {
            scheme: layer.scheme.id().into(),
            family: layer.scheme.family().id().into(),
            layers: 0,
            bytes: 0,
            parameters: 0,
        });
        share.layers += u64::from(layer.kind.is_counted());
        share.bytes = share.bytes.saturating_add(layer.bytes);
        share.parameters = share.parameters.saturating_add(layer.parameters);
    }
    let mut shares: Vec<SchemeShare> = shares.into_values().collect();
    shares.arrange_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.scheme.cmp(&b.scheme)));
    shares
}

fn plural(n: u64, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") }
}

fn verdict(session: &Session, errors: u64, warnings: u64) -> Verdict {
    let quantized = session.model.layers.iter().any(|l| l.scheme.family() != Family::Plain);
    let algo = session.checkpoint.declaration().and_then(effective_algo);
    let what = match (&algo, quantized) {
        (Some(algo), true) => format!("{algo} export"),
        (None, true) => "quantized checkpoint".into(),
        (_, false) => "unquantized checkpoint".into(),
    };
    if !session.is_judged() {
        return Verdict {
            state: "reading".into(),
            title: format!("{}, being checked", capital(&what)),
            next: Vec::new(),
        };
    }
    let verified = session.verified_by.is_some();
    let mut next = Vec::new();
    let (state, title) = if errors > 0 {
        next.push("Open the findings: each says what is wrong and what to do.".to_string());
        let more = if warnings > 0 { format!(", {}", plural(warnings, "warning")) } else { String::new() };
        ("broken", format!("Will not load right: {}{more}", plural(errors, "error")))
    } else if warnings > 0 {
        ("warnings", format!("{}, {}", capital(&what), plural(warnings, "warning")))
    } else if quantized {
        ("sound", format!("Sound {what}"))
    } else {
        ("plain", capital(&what))
    };
    if quantized && !verified {
        next.push(if session.scales_checked {
            "Verify the bytes: scales alone cannot show NaN codes, or weights that a zero scale erases."
                .to_string()
        } else {
            "Verify the bytes: headers alone cannot show a NaN or zero scale.".to_string()
        });
    }
    if !quantized && errors == 0 {
        next.push("Convert it: the plan shows sizes before and after, and reads nothing.".to_string());
    }
    Verdict { state: state.into(), title, next }
}

fn capital(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

pub(crate) fn overview(session: &Session) -> Overview {
    let checkpoint = &session.checkpoint;
    let errors = count_of(session, Severity::Error);
    let warnings = count_of(session, Severity::Warning);
    let declared = checkpoint.declaration().map(|d| {
        let algo = effective_algo(d).unwrap_or_else(|| "no algorithm".into());
        d.quant_method.as_ref().map_or_else(|| algo.clone(), |method| format!("{algo} ({method})"))
    });
    let shard = |s: &Shard| ShardView {
        file: s.file.clone(),
        bytes: s.header.file_len,
        tensors: count(s.header.tensors.len()),
        state: shard_state(s),
    };
    Overview {
        name: checkpoint.name.clone(),
        shards: checkpoint.shards.iter().map(shard).collect(),
        other_files: checkpoint.other_files.iter().map(|f| f.path.clone()).collect(),
        layer_count: count(session.model.layers.len()),
        tensor_count: checkpoint.tensor_count(),
        parameters: session.model.parameters(),
        bytes: checkpoint.byte_len(),
        bytes_read: checkpoint.bytes_read,
        bits_per_weight: session.model.bits_per_weight(),
        schemes: shares(&session.model.layers),
        size_map: size_map(&session.model.layers),
        declared: declared.unwrap_or_default(),
        verdict: verdict(session, errors, warnings),
        errors,
        warnings,
        infos: count_of(session, Severity::Info),
        verified_by: session.verified_by.clone(),
        scales_checked: session.scales_checked || session.verified_by.is_some(),
        writable: writable(session),
    }
}

/// Schemes that can be written from floating-point weights or take over a layer of this checkpoint; plain types.
fn writable(session: &Session) -> Vec<(String, String)> {
    let mut quantized: Vec<&LayerInfo> = Vec::new();
    for layer in session.model.layers.iter().filter(|l| l.is_quantized()) {
        if !quantized.iter().any(|known| known.scheme.id() == layer.scheme.id()) {
            quantized.push(layer);
        }
    }
    let takes_over = |scheme: &dyn Scheme| {
        quantized.iter().any(|l| scheme.recast(l.scheme, &l.view(&session.checkpoint)).is_some())
    };
    let plain = ["bf16", "f16", "f32"].into_iter().filter_map(by_id);
    let written = schemes().iter().copied().filter(|s| s.about().can_encode || takes_over(*s));
    written.chain(plain).map(|s| (s.id().to_string(), s.about().title.to_string())).collect()
}

/// Groups findings by rule and runtime, of each group the first `most` whole; they are sorted by severity and rule
/// already.
pub(crate) fn finding_groups<'a>(
    findings: impl IntoIterator<Item = FindingView<'a>>,
    most: usize,
) -> Vec<FindingGroup> {
    let mut groups: Vec<FindingGroup> = Vec::new();
    for finding in findings {
        let same = |g: &FindingGroup| g.rule == finding.rule() && g.target.as_deref() == finding.target();
        if !groups.last().is_some_and(same) {
            let known = rule(finding.rule());
            groups.push(FindingGroup {
                rule: finding.rule().to_owned(),
                severity: finding.severity(),
                target: finding.target().map(str::to_owned),
                title: known.map_or("", |r| r.title).into(),
                why: known.map_or("", |r| r.why).into(),
                count: 0,
                findings: Vec::new(),
            });
        }
        if let Some(group) = groups.last_mut() {
            group.count += 1;
            if group.findings.len() < most {
                group.findings.push(finding.to_finding());
            }
        }
    }
    groups
}
