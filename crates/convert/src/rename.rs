//! Presets of model types whose files have other names than the model in memory.
//!
//! Source: `formats.md` i. ModelOpt writes the names of the hub; calibrations carry those of the memory.

/// How the names of a model type change on their way to the hub, in order: single experts' leaves, then texts
/// between dots, then beginnings.
struct Preset {
    model_type: &'static str,
    inside: &'static [(&'static str, &'static str)],
    beginnings: &'static [(&'static str, &'static str)],
    /// Whether `gate_up_proj` of dense layers becomes `gate_proj` and `up_proj`.
    splits_gate_up: bool,
}

const PRESETS: &[Preset] = &[
    Preset {
        model_type: "mixtral",
        inside: &[(".mlp.", ".block_sparse_moe.")],
        beginnings: &[],
        splits_gate_up: false,
    },
    Preset {
        model_type: "minimax_m3_vl",
        inside: &[
            (".self_attn.indexer.k_norm.", ".self_attn.index_k_norm."),
            (".self_attn.indexer.q_norm.", ".self_attn.index_q_norm."),
            (".self_attn.indexer.k_proj.", ".self_attn.index_k_proj."),
            (".self_attn.indexer.q_proj.", ".self_attn.index_q_proj."),
            (".mlp.gate.e_score_correction_bias", ".block_sparse_moe.e_score_correction_bias"),
            (".mlp.experts.", ".block_sparse_moe.experts."),
            (".mlp.gate.", ".block_sparse_moe.gate."),
            (".mlp.shared_experts.", ".block_sparse_moe.shared_experts."),
        ],
        beginnings: &[
            ("model.multi_modal_projector.merge_linear_2.", "patch_merge_mlp.linear_2."),
            ("model.multi_modal_projector.merge_linear_1.", "patch_merge_mlp.linear_1."),
            ("model.multi_modal_projector.linear_2.", "multi_modal_projector.linear_2."),
            ("model.multi_modal_projector.linear_1.", "multi_modal_projector.linear_1."),
            ("model.vision_tower.pre_layrnorm.", "vision_tower.vision_model.pre_layrnorm."),
            ("model.vision_tower.layers.", "vision_tower.vision_model.encoder.layers."),
            ("model.vision_tower.embeddings.proj.", "vision_tower.vision_model.embeddings.patch_embedding."),
            ("model.language_model.", "language_model.model."),
            ("lm_head", "language_model.lm_head"),
        ],
        splits_gate_up: true,
    },
];

fn preset(model_type: Option<&str>) -> Option<&'static Preset> {
    PRESETS.iter().find(|p| Some(p.model_type) == model_type)
}

/// Whether dense layers called `gate_up_proj` are split in two.
pub(crate) fn splits_gate_up(model_type: Option<&str>) -> bool {
    preset(model_type).is_some_and(|p| p.splits_gate_up)
}

/// Renames a tensor or module path of a model type from its name in memory to that of the hub. Names of the hub
/// stay as they are.
///
/// ```text
/// mixtral: model.layers.0.mlp.experts.1.up_proj.weight -> model.layers.0.block_sparse_moe.experts.1.w3.weight
/// ```
pub(crate) fn hub_name(model_type: Option<&str>, name: &str) -> String {
    let Some(preset) = preset(model_type) else { return name.to_string() };
    // A dot at the end lets a module's own name match what is written for the names below it.
    let mut renamed = expert_leaves(name) + ".";
    for (from, to) in preset.inside {
        renamed = renamed.replace(from, to);
    }
    for (from, to) in preset.beginnings {
        if let Some(rest) = renamed.strip_prefix(from) {
            renamed = format!("{to}{rest}");
        }
    }
    renamed.pop();
    renamed
}

/// `.experts.N.gate_proj` becomes `.experts.N.w1`, and so on.
fn expert_leaves(name: &str) -> String {
    let mut segments: Vec<&str> = name.split('.').collect();
    for i in 3..segments.len() {
        let [.., experts, number, leaf] = segments.get_mut(..=i).unwrap_or_default() else { continue };
        let numbered = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        if *experts != "experts" || !numbered {
            continue;
        }
        *leaf = match *leaf {
            "gate_proj" => "w1",
            "up_proj" => "w3",
            "down_proj" => "w2",
            other => other,
        };
    }
    segments.join(".")
}

#[cfg(test)]
mod tests {
    use super::hub_name;
    use serde_json::Value;
    use std::path::Path;

    /// Pairs as the reference's own mapping gives them, from the specification's table.
    #[test]
    fn mixtral_takes_the_names_of_the_hub() {
        let moe = "model.layers.0.block_sparse_moe";
        for (memory, hub) in [
            ("model.layers.0.mlp.experts.1.up_proj.weight", format!("{moe}.experts.1.w3.weight")),
            ("model.layers.0.mlp.experts.12.gate_proj", format!("{moe}.experts.12.w1")),
            ("model.layers.0.mlp.experts.0.down_proj.bias", format!("{moe}.experts.0.w2.bias")),
            ("model.layers.0.mlp.gate.weight", format!("{moe}.gate.weight")),
            ("model.layers.0.mlp.experts.gate_up_proj", format!("{moe}.experts.gate_up_proj")),
            ("model.layers.0.block_sparse_moe.experts.0.w1.weight", format!("{moe}.experts.0.w1.weight")),
            ("model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.q_proj.weight".into()),
            ("mlp.up_proj", "mlp.up_proj".into()),
        ] {
            assert_eq!(hub_name(Some("mixtral"), memory), hub);
            assert_eq!(hub_name(Some("llama"), memory), memory);
        }
    }

    /// Every name that the reference has mapped, splits included.
    #[test]
    fn minimax_takes_the_names_of_the_hub() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/golden/reverse_names.json");
        let case: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let hub = |name: &str| hub_name(case["model_type"].as_str(), name);
        let tensors = case["tensors"].as_object().unwrap();
        assert!(tensors.len() > 40);
        for (memory, expected) in tensors {
            let parts: Vec<String> = match expected.as_object().unwrap().len() {
                1 => vec![hub(memory)],
                _ => ["gate_proj", "up_proj"].map(|part| hub(&memory.replace("gate_up_proj", part))).to_vec(),
            };
            let expected: Vec<&String> = expected.as_object().unwrap().keys().collect();
            assert_eq!(parts.iter().collect::<Vec<_>>(), expected, "{memory}");
        }
        for (memory, expected) in case["exclude_names"].as_object().unwrap() {
            if !memory.ends_with('*') {
                assert_eq!(hub(memory), expected.as_str().unwrap());
            }
        }
    }
}
