//! CF: what the configs promise and what the tensors are.

use super::HeaderContext;
use crate::checkpoint::ConfigFile;
use crate::registry::{FindingExt, Rule};
use crate::report::{Finding, Severity};
use quantscope_format::{ConfigError, KvCache, QuantDeclaration};
use quantscope_schemes::{Family, Role, WEIGHT_LEAF, declare, role_of};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const RULES: &[Rule] = &[CF301, CF302, CF307, CF310];

const CF301: Rule = Rule {
    id: "CF301",
    severity: Severity::Error,
    needs: "H,C",
    title: "Excluded but quantized",
    why: "The loader builds a plain layer because the config excludes it, then finds packed bytes of another shape.",
    fix: "Drop the layer from the exclude lists of both configs, or dequantize it.",
    repairable: true,
};
const CF302: Rule = Rule {
    id: "CF302",
    severity: Severity::Error,
    needs: "H,C",
    title: "Promised quantized, stored plain",
    why: "The loader builds a quantized layer and looks for scales that are not there.",
    fix: "Add the layer to the exclude lists of both configs, or quantize it.",
    repairable: true,
};
const CF307: Rule = Rule {
    id: "CF307",
    severity: Severity::Error,
    needs: "C",
    title: "The two configs disagree",
    why: "Some runtimes read config.json, others hf_quant_config.json; they would load two different models.",
    fix: "Regenerate both from the tensors.",
    repairable: true,
};
const CF310: Rule = Rule {
    id: "CF310",
    severity: Severity::Error,
    needs: "C",
    title: "Config unreadable",
    why: "A config that is not valid JSON, or has a field of the wrong type, stops every loader.",
    fix: "Restore the file from its source.",
    repairable: false,
};

pub(crate) fn check(context: HeaderContext<'_>, findings: &mut Vec<Finding>) {
    let checkpoint = context.checkpoint;
    unreadable(checkpoint.config.as_ref(), |c| &c.faults, findings);
    unreadable(checkpoint.config_quant.as_ref(), |c| &c.faults, findings);
    unreadable(checkpoint.hf_quant.as_ref(), |c| &c.faults, findings);
    if let (Some(config), Some(hf)) = (&checkpoint.config_quant, &checkpoint.hf_quant)
        && let (Ok(a), Ok(b)) = (&config.content, &hf.content)
    {
        compare(&config.file, a, &hf.file, b, findings);
    }
    promises(context, findings);
}

fn unreadable<T>(
    config: Option<&ConfigFile<T>>,
    faults: impl Fn(&T) -> &Vec<ConfigError>,
    findings: &mut Vec<Finding>,
) {
    let Some(ConfigFile { file, content }) = config else { return };
    let errors: Vec<&ConfigError> = match content {
        Ok(config) => faults(config).iter().collect(),
        Err(error) => vec![error],
    };
    for error in errors {
        let subject = if let ConfigError::WrongType { field, .. } = error { field } else { file };
        findings.push(CF310.finding(subject, format!("{file}: {error}")).in_file(file.as_str()));
    }
}

/// The file whose declaration counts.
fn declaring_file<'a>(context: HeaderContext<'a>) -> &'a str {
    let readable = |c: &'a Option<ConfigFile<QuantDeclaration>>| c.as_ref().filter(|c| c.content.is_ok());
    let chosen = readable(&context.checkpoint.config_quant).or(readable(&context.checkpoint.hf_quant));
    chosen.map_or("config.json", |c| c.file.as_str())
}

fn promises(context: HeaderContext<'_>, findings: &mut Vec<Finding>) {
    let declared = &context.model.declared;
    if declared.algo().is_none() {
        return;
    }
    let file = declaring_file(context);
    for layer in &context.model.layers {
        let name = layer.name.as_str();
        let has_scales = layer.members.iter().any(|m| role_of(layer.scheme, &m.leaf).0 == Role::WeightScale);
        if (layer.is_quantized() || has_scales)
            && let Some(pattern) = declared.exclude().naming(name)
        {
            let message =
                format!("`{name}` is excluded by `{pattern}` but is stored as {}", layer.scheme.id());
            let finding =
                CF301.finding(name, message).in_file(file).expecting("plain weights", layer.scheme.id());
            findings.push(finding.touching(name));
        }
        let is_plain_float = layer.scheme.family() == Family::Plain
            && ["bf16", "f16", "f32", "f64"].contains(&layer.scheme.id());
        // Loaders of the native FP8 form leave output heads alone without being told.
        let is_head = declared.is_native_fp8() && name.ends_with("lm_head");
        if !is_plain_float
            || has_scales
            || !layer.kind.is_quantizable()
            || is_head
            || layer.member(WEIGHT_LEAF).is_none()
        {
            continue;
        }
        let Some(algo) = declared.promise(name) else { continue };
        let message = format!("`{name}` is declared {algo} but is {} with no scales", layer.scheme.id());
        let finding = CF302.finding(name, message).in_file(file).expecting(algo, layer.scheme.id());
        findings.push(finding.touching(name));
    }
}

/// A declaration in a form in which both files can be compared.
struct Canonical {
    algo: Option<String>,
    kv_cache: Option<String>,
    group_size: Option<u64>,
    exclude: BTreeSet<String>,
    layers: BTreeMap<String, String>,
}

impl Canonical {
    fn of(declaration: &QuantDeclaration) -> Self {
        let algo = declare::effective_algo(declaration);
        let mixed = algo.as_deref() == Some("MIXED_PRECISION");
        let group_size = declaration.group_size.or_else(|| {
            let group =
                declaration.groups.iter().filter_map(|g| g.weights.as_ref()).find_map(|w| w.group_size);
            let block = declaration.weight_block_size.as_ref().and_then(|b| b.first().copied());
            group.or(block).filter(|_| !mixed)
        });
        let layers = declaration.quantized_layers.iter();
        Self {
            kv_cache: declaration.kv_cache.as_ref().map(kv_text),
            group_size,
            exclude: declaration.exclude.iter().cloned().collect(),
            layers: layers.map(|l| (l.name.clone(), l.quant_algo.clone().unwrap_or_default())).collect(),
            algo,
        }
    }
}

/// One spelling for both forms: `FP8` is what eight float bits are called.
fn kv_text(cache: &KvCache) -> String {
    match cache {
        KvCache::Named(name) => name.clone(),
        KvCache::Form(form) => match (form.num_bits, form.kind.as_deref()) {
            (Some(8), Some("float")) => "FP8".into(),
            (Some(8), Some("int")) => "INT8".into(),
            (bits, kind) => format!("{} bits {}", text(bits), kind.unwrap_or("of unknown kind")),
        },
    }
}

fn text<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "nothing".to_string(), |v| v.to_string())
}

/// What stands in one set only, a few of it.
fn only_in<T: Ord + AsRef<str>>(a: &BTreeSet<T>, b: &BTreeSet<T>) -> String {
    let mut only: Vec<&str> = a.difference(b).take(4).map(AsRef::as_ref).collect();
    if only.len() == 4 {
        only.truncate(3);
        only.push("...");
    }
    only.join(", ")
}

fn compare(
    file_a: &str,
    a: &QuantDeclaration,
    file_b: &str,
    b: &QuantDeclaration,
    findings: &mut Vec<Finding>,
) {
    let (a, b) = (Canonical::of(a), Canonical::of(b));
    let mut report = |field: &str, in_a: String, in_b: String| {
        let message = format!("{file_b} and {file_a} disagree on {field}: {in_b} against {in_a}");
        let finding = CF307.finding(field, message).in_file(file_b);
        findings.push(finding.expecting(format!("{in_a} ({file_a})"), format!("{in_b} ({file_b})")));
    };
    let differ = |a: &Option<String>, b: &Option<String>| match (a, b) {
        (Some(a), Some(b)) => !a.eq_ignore_ascii_case(b),
        (a, b) => a.is_some() != b.is_some(),
    };
    if differ(&a.algo, &b.algo) {
        report("quant_algo", text(a.algo.as_ref()), text(b.algo.as_ref()));
    }
    if differ(&a.kv_cache, &b.kv_cache) {
        report("the KV cache", text(a.kv_cache.as_ref()), text(b.kv_cache.as_ref()));
    }
    // The converted form of several algorithms has no place for the group size: only two values can differ.
    if let (Some(x), Some(y)) = (a.group_size, b.group_size)
        && x != y
    {
        report("group_size", x.to_string(), y.to_string());
    }
    if a.exclude != b.exclude {
        let in_a = format!("only here: {}", only_in(&a.exclude, &b.exclude));
        let in_b = format!("only here: {}", only_in(&b.exclude, &a.exclude));
        report("excluded modules", in_a, in_b);
    }
    if a.layers != b.layers {
        let keys = |m: &BTreeMap<String, String>| -> BTreeSet<String> {
            m.iter().map(|(name, algo)| format!("{name}={algo}")).collect()
        };
        let (x, y) = (keys(&a.layers), keys(&b.layers));
        report(
            "quantized_layers",
            format!("only here: {}", only_in(&x, &y)),
            format!("only here: {}", only_in(&y, &x)),
        );
    }
}
