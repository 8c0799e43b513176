//! CF306: the list of layers that a mixed-precision config keeps, against the tensors.

use super::super::{HeaderContext, number};
use crate::findings::Findings;
use crate::registry::{Example, FindingExt, Rule};
use crate::report::Severity;
use crate::{names, ties};
use std::collections::HashSet;

pub(super) const RULES: &[Rule] = &[CF306];

const CF306: Rule = Rule {
    id: "CF306",
    severity: Severity::Error,
    needs: "H,C",
    title: "Mixed precision: list and layers differ",
    why: "A mixed-precision config lists the algorithm of every quantized layer. A layer that is not listed is built \
          plain and its packed bytes do not fit; a listed layer that is not there is waited for.",
    fix: "Regenerate `quantized_layers` from the tensors.",
    repairable: true,
    example: Example::of(
        "quantized_layers: {\"mlp.gate_up_proj\": {\"quant_algo\": \"NVFP4\"}}\nmlp.gate_proj.weight  U8 [64, \
                 24]",
        "quantized_layers: {\"mlp.gate_proj\": {\"quant_algo\": \"NVFP4\"}}\nmlp.gate_proj.weight  U8 [64, 24]",
    ),
};

pub(super) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    let (Some(declaration), true) = (context.checkpoint.declaration(), context.model.declared.is_mixed())
    else {
        return;
    };
    let layers = &context.model.layers;
    let listed: HashSet<&str> = declaration.quantized_layers.iter().map(|l| l.name.as_str()).collect();
    // Listing a module lists what is part of it.
    let is_listed =
        |name: &str| listed.contains(name) || names::ancestors(name).any(|part_of| listed.contains(part_of));
    let file = context.declaring_file();
    let mut report = |found: Vec<&str>, (one, many): (&str, &str), expected: &str| {
        let Some(first) = found.first() else { return };
        let what = number(found.len(), one, many);
        let message = format!("{file}: {what}, e.g. `{first}`");
        let finding = CF306.finding(*first, message).in_file(file);
        let mut finding = finding.expecting(expected, what);
        finding.layers = found.into_iter().map(str::to_string).collect();
        findings.push(finding);
    };
    let unlisted = layers.iter().filter(|l| l.is_quantized() && !is_listed(&l.name));
    report(
        unlisted.map(|l| l.name.as_str()).collect(),
        ("quantized layer is not in `quantized_layers`", "quantized layers are not in `quantized_layers`"),
        "every quantized layer listed",
    );
    if !context.is_whole() {
        return;
    }
    let mut present: HashSet<&str> = HashSet::new();
    for layer in layers {
        let name = layer.name.as_str();
        present.insert(name);
        present.extend(names::ancestors(name));
    }
    let tied: HashSet<String> =
        ties::declared(context.checkpoint, context.model).into_iter().map(|tie| tie.alias).collect();
    let absent =
        declaration.quantized_layers.iter().map(|l| l.name.as_str()).filter(|n| !present.contains(n));
    report(
        absent.filter(|name| !tied.contains(*name)).collect(),
        ("layer of `quantized_layers` is not there", "layers of `quantized_layers` are not there"),
        "listed layers present",
    );
}
