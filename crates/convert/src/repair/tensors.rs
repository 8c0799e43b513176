//! LK401, LK402, IX806, ST002: tensors that leave, get another name, or stand twice.
//!
//! Source of the leak rules: `formats.md` g. Maxima of the KV cache become scales; factors on the input get
//! the name under which they are read; all other quantizer state goes.

use super::Origin;
use super::draft::{Draft, Fate};
use quantscope_format::Gather as _;
use quantscope_format::TensorSpec;
use quantscope_numeric::Dtype;
use quantscope_schemes::{Role, kv, leak, role_of, schemes, split_name};
use std::collections::BTreeSet;

pub(super) fn mend(draft: &mut Draft<'_>) {
    leaks(draft);
    orphans(draft);
    repeated(draft);
    headers(draft);
}

fn leaks(draft: &mut Draft<'_>) {
    const RULE: &str = "LK401";
    let modules: BTreeSet<&str> = draft.asked(&[RULE]).iter().map(|f| f.subject.as_str()).gather_set();
    if modules.is_empty() {
        return;
    }
    let leaked = draft.named(|name| leak::is_state(name) && modules.contains(split_name(name).0));
    for (place, name) in leaked {
        let Some(fate) = draft.at(place).cloned() else { continue };
        let renamed = match kept_as(name) {
            Some(Kept::Scale(new)) if is_scalar(&fate.spec) => {
                let spec = TensorSpec { name: new, dtype: Dtype::F32, shape: Vec::new() };
                Some(("replace", Fate { spec, origin: Origin::KvScale }))
            }
            Some(Kept::Factor(new)) => {
                let spec = TensorSpec { name: new, ..fate.spec };
                Some(("rename", Fate { spec, origin: Origin::Splice }))
            }
            _ => None,
        };
        match renamed {
            // Where the finished tensor stands already, the state is what is left of making it.
            Some((what, new)) if !draft.has(&new.spec.name) => {
                draft.replace(place, RULE, what, new);
            }
            _ => draft.drop_tensor(place, RULE),
        }
    }
}

/// What a piece of state becomes.
enum Kept {
    /// The scale of a cache, made from its maximum.
    Scale(String),
    /// The same numbers under another name.
    Factor(String),
}

fn kept_as(name: &str) -> Option<Kept> {
    for side in ['k', 'v'] {
        if let Some(attention) = name.strip_suffix(&format!(".{side}_bmm_quantizer._amax")) {
            return Some(Kept::Scale(kv::scale_name(attention, side)));
        }
    }
    let module = name.strip_suffix(".input_quantizer._pre_quant_scale")?;
    Some(Kept::Factor(format!("{module}.pre_quant_scale")))
}

fn is_scalar(spec: &TensorSpec) -> bool {
    let float = matches!(spec.dtype, Dtype::F32 | Dtype::BF16 | Dtype::F16);
    float && spec.shape.iter().all(|&d| d == 1)
}

/// Leaves that are scales in some scheme. Names of one word are parameters elsewhere.
fn scale_leaves() -> BTreeSet<&'static str> {
    let companions = schemes().iter().flat_map(|s| s.about().companions);
    companions.filter(|c| is_scale(c.role) && c.leaf.contains('_')).map(|c| c.leaf).gather_set()
}

fn is_scale(role: Role) -> bool {
    matches!(role, Role::WeightScale | Role::GlobalScale | Role::InputScale)
}

/// Scales beside a plain weight, or beside none: all of the layer that a finding names.
fn orphans(draft: &mut Draft<'_>) {
    const RULE: &str = "LK402";
    let leaves = scale_leaves();
    for finding in draft.asked(&[RULE]) {
        let model = draft.model;
        let mut places = draft.places(&finding.subject);
        for layer in finding.layers.iter().filter_map(|name| model.layer(name)).filter(|l| !l.is_quantized())
        {
            let scales = layer
                .members
                .iter()
                .filter(|m| is_scale(role_of(layer.scheme, &m.leaf).0) || leaves.contains(m.leaf.as_str()));
            places.extend(scales.map(|m| (m.shard, m.tensor)));
        }
        if places.is_empty() {
            draft.refuse(finding, "no tensor of that name can be dropped");
        }
        for place in places {
            draft.drop_tensor(place, RULE);
        }
    }
}

/// The copy that the index names stays, or the first one. That they are equal is checked before writing.
fn repeated(draft: &mut Draft<'_>) {
    const RULE: &str = "IX806";
    for finding in draft.asked(&[RULE]) {
        let (module, leaf) = split_name(&finding.subject);
        let counting = draft.model.layer(module).and_then(|l| l.member(leaf)).map(|m| (m.shard, m.tensor));
        let Some(counting) = counting else { continue };
        let copies = draft.places(&finding.subject);
        let kept = draft.at(counting).cloned();
        for place in copies.into_iter().filter(|place| *place != counting) {
            let same_form = draft.at(place).zip(kept.as_ref()).is_some_and(|(a, b)| a.spec == b.spec);
            if !same_form {
                draft.refuse(finding, "the copies differ in type or shape; remove the wrong one by hand");
                continue;
            }
            draft.equal.push((counting, place));
            draft.drop_tensor(place, RULE);
        }
    }
}

/// Every header is written anew in canonical form; where metadata was null, the usual entry stands in.
fn headers(draft: &mut Draft<'_>) {
    for finding in draft.asked(&["ST002", "ST006"]) {
        let file = finding.file.clone().unwrap_or_else(|| finding.subject.clone());
        let at = draft.checkpoint.shards.iter().position(|s| s.file == file);
        if let Some(metadata) = at.and_then(|i| draft.metadata.get_mut(i)).filter(|m| m.is_empty()) {
            metadata.push(("format".into(), "pt".into()));
        }
        let found = finding.found.clone().unwrap_or_else(|| finding.message.clone());
        draft.change(&finding.rule, &file, "write", found, "a header in canonical form".into());
    }
}
