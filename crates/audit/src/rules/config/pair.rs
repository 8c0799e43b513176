//! CF307: `config.json` and `hf_quant_config.json` compared.

use super::super::HeaderContext;
use crate::findings::Findings;
use crate::registry::{Example, FindingExt, Rule};
use crate::report::Severity;
use quantscope_format::Gather as _;
use quantscope_format::{KvCache, QuantDeclaration};
use quantscope_schemes::declare;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const RULES: &[Rule] = &[CF307];

const CF307: Rule = Rule {
    id: "CF307",
    severity: Severity::Error,
    needs: "C",
    title: "The two configs disagree",
    why: "Some runtimes read config.json, others hf_quant_config.json; they would load two different models.",
    fix: "Regenerate both from the tensors.",
    repairable: true,
    example: Example::of(
        "config.json            quant_algo: NVFP4\nhf_quant_config.json   quant_algo: FP8",
        "config.json            quant_algo: NVFP4\nhf_quant_config.json   quant_algo: NVFP4",
    ),
};

pub(super) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    if let (Some(config), Some(hf)) = (&context.checkpoint.config_quant, &context.checkpoint.hf_quant)
        && let (Ok(a), Ok(b)) = (&config.content, &hf.content)
    {
        compare(&config.file, a, &hf.file, b, findings);
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
            exclude: declaration.exclude.iter().cloned().gather_set(),
            layers: layers.map(|l| (l.name.clone(), l.quant_algo.clone().unwrap_or_default())).gather_map(),
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

fn compare(file_a: &str, a: &QuantDeclaration, file_b: &str, b: &QuantDeclaration, findings: &mut Findings) {
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
            m.iter().map(|(name, algo)| format!("{name}={algo}")).gather_set()
        };
        let (x, y) = (keys(&a.layers), keys(&b.layers));
        report(
            "quantized_layers",
            format!("only here: {}", only_in(&x, &y)),
            format!("only here: {}", only_in(&y, &x)),
        );
    }
}
