//! Presets of model types whose files have other names than the model in memory.
//!
//! Source: `formats.md` i. ModelOpt writes the names of the hub; calibrations carry those of the memory.

/// Renames a tensor or module path of a model type from its name in memory to that of the hub. Names of the hub
/// stay as they are.
///
/// ```text
/// mixtral: model.layers.0.mlp.experts.1.up_proj.weight -> model.layers.0.block_sparse_moe.experts.1.w3.weight
/// ```
pub(crate) fn hub_name(model_type: Option<&str>, name: &str) -> String {
    if model_type != Some("mixtral") {
        return name.to_string();
    }
    let mut segments: Vec<&str> = name.split('.').collect();
    for i in 1..segments.len() {
        let numbered = |s: &&str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        let before = |n: usize| i.checked_sub(n).and_then(|at| segments.get(at)).copied();
        let in_expert = i > 2 && before(2) == Some("experts") && before(1).is_some_and(|s| numbered(&s));
        let hub = match segments.get(i).copied().unwrap_or_default() {
            "gate_proj" if in_expert => "w1",
            "up_proj" if in_expert => "w3",
            "down_proj" if in_expert => "w2",
            "mlp" => "block_sparse_moe",
            other => other,
        };
        if let Some(segment) = segments.get_mut(i) {
            *segment = hub;
        }
    }
    segments.join(".")
}

#[cfg(test)]
mod tests {
    use super::hub_name;

    /// Pairs as the reference's own mapping gives them, from the specification's table.
    #[test]
    fn mixtral_takes_the_names_of_the_hub() {
        for (memory, hub) in [
            (
                "model.layers.0.mlp.experts.1.up_proj.weight",
                "model.layers.0.block_sparse_moe.experts.1.w3.weight",
            ),
            ("model.layers.0.mlp.experts.12.gate_proj", "model.layers.0.block_sparse_moe.experts.12.w1"),
            (
                "model.layers.0.mlp.experts.0.down_proj.bias",
                "model.layers.0.block_sparse_moe.experts.0.w2.bias",
            ),
            ("model.layers.0.mlp.gate.weight", "model.layers.0.block_sparse_moe.gate.weight"),
            (
                "model.layers.0.mlp.experts.gate_up_proj",
                "model.layers.0.block_sparse_moe.experts.gate_up_proj",
            ),
            (
                "model.layers.0.block_sparse_moe.experts.0.w1.weight",
                "model.layers.0.block_sparse_moe.experts.0.w1.weight",
            ),
            ("model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.q_proj.weight"),
            ("mlp.up_proj", "mlp.up_proj"),
        ] {
            assert_eq!(hub_name(Some("mixtral"), memory), hub);
            assert_eq!(hub_name(Some("llama"), memory), memory);
        }
    }
}
