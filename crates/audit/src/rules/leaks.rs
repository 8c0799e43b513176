//! LK: quantizer state that leaked into the weights.

use super::HeaderContext;
use crate::registry::{FindingExt, Rule};
use crate::report::{Finding, Severity};
use quantscope_schemes::leak;

pub(crate) const RULES: &[Rule] = &[LK401];

const LK401: Rule = Rule {
    id: "LK401",
    severity: Severity::Error,
    needs: "H",
    title: "Leaked quantizer state",
    why: "Tensors such as `input_quantizer._amax` are the calibration state of the tool that quantized the model. \
          Loaders that check their keys stop at them, others load them as unknown weights.",
    fix: "Strip these tensors. KV cache maxima become `k_scale` / `v_scale` first (amax / 448).",
    repairable: true,
};

pub(crate) fn check(context: HeaderContext<'_>, findings: &mut Vec<Finding>) {
    for layer in &context.model.layers {
        let leaked: Vec<_> = layer.members.iter().filter(|m| leak::is_state_leaf(&m.leaf)).collect();
        let places = leaked.iter().filter_map(|m| context.checkpoint.tensor(m.shard, m.tensor));
        let bytes: u64 = places.fold(0, |n, (_, t)| n.saturating_add(t.byte_len()));
        let Some(first) = leaked.first() else { continue };
        let Some((shard, tensor)) = context.checkpoint.tensor(first.shard, first.tensor) else { continue };
        let count = leaked.len();
        let tensors = if count == 1 { "tensor" } else { "tensors" };
        let message =
            format!("{count} quantizer-state {tensors} leaked ({bytes} bytes), e.g. `{}`", tensor.name);
        findings.push(
            LK401
                .finding(&layer.name, message)
                .in_file(&shard.file)
                .expecting("no quantizer state in a finished checkpoint", tensor.name.as_str())
                .touching(&layer.name),
        );
    }
}
