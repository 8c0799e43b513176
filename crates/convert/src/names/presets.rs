//! Presets: the rules of model types whose files have other names than the model in memory.
//!
//! Source: `formats.md` i; the rules are those that ModelOpt 0.47.0 derives from the mappings of transformers 5.23
//! (MiniMax-M3, Mixtral), and what the same derivation gives for the types that share Mixtral's mapping.

use super::rules::Rules;
use crate::error::ConvertError;

/// The leaves of single experts, which begin every list. A line for each rule: people edit them.
macro_rules! preset {
    ($splits:literal, $($rest:literal),*) => {
        concat!(
            r#"{"splits": ["#, $splits, "],\n",
            r#" "renames": ["#, "\n  ",
            r#"{"pattern": "(\\.experts\\.\\d+\\.)gate_proj\\b", "repl": "\\g<1>w1"},"#, "\n  ",
            r#"{"pattern": "(\\.experts\\.\\d+\\.)up_proj\\b", "repl": "\\g<1>w3"},"#, "\n  ",
            r#"{"pattern": "(\\.experts\\.\\d+\\.)down_proj\\b", "repl": "\\g<1>w2"},"#,
            $("\n  ", $rest,)*
            "],\n",
            r#" "expert_fused_leaves": ["gate_up_proj", "down_proj"]}"#
        )
    };
}

const MIXTRAL: &str = preset!("", r#"{"pattern": ".mlp.", "repl": ".block_sparse_moe."}"#);

const MINIMAX_M2: &str = preset!(
    "",
    r#"{"pattern": ".mlp.e_score_correction_bias", "repl": ".block_sparse_moe.e_score_correction_bias"},"#,
    r#"{"pattern": ".mlp.", "repl": ".block_sparse_moe."}"#
);

const PHIMOE: &str = preset!(
    "",
    r#"{"pattern": ".router.weight", "repl": ".gate.weight"},"#,
    r#"{"pattern": ".mlp.", "repl": ".block_sparse_moe."}"#
);

const MINIMAX_M3: &str = preset!(
    r#"{"fused_suffix": ".gate_up_proj", "part_suffixes": [".gate_proj", ".up_proj"], "dim": 0}"#,
    r#"{"pattern": ".self_attn.indexer.k_norm.", "repl": ".self_attn.index_k_norm."},"#,
    r#"{"pattern": ".self_attn.indexer.q_norm.", "repl": ".self_attn.index_q_norm."},"#,
    r#"{"pattern": ".self_attn.indexer.k_proj.", "repl": ".self_attn.index_k_proj."},"#,
    r#"{"pattern": ".self_attn.indexer.q_proj.", "repl": ".self_attn.index_q_proj."},"#,
    r#"{"pattern": "\\.mlp\\.gate\\.e_score_correction_bias", "repl": ".block_sparse_moe.e_score_correction_bias"},"#,
    r#"{"pattern": "\\.mlp\\.(experts|gate|shared_experts)\\.", "repl": ".block_sparse_moe.\\1."},"#,
    r#"{"pattern": "^model.multi_modal_projector.merge_linear_2.", "repl": "patch_merge_mlp.linear_2."},"#,
    r#"{"pattern": "^model.multi_modal_projector.merge_linear_1.", "repl": "patch_merge_mlp.linear_1."},"#,
    r#"{"pattern": "^model.multi_modal_projector.linear_2.", "repl": "multi_modal_projector.linear_2."},"#,
    r#"{"pattern": "^model.multi_modal_projector.linear_1.", "repl": "multi_modal_projector.linear_1."},"#,
    r#"{"pattern": "^model.vision_tower.pre_layrnorm.", "repl": "vision_tower.vision_model.pre_layrnorm."},"#,
    r#"{"pattern": "^model.vision_tower.layers.", "repl": "vision_tower.vision_model.encoder.layers."},"#,
    r#"{"pattern": "^model.vision_tower.embeddings.proj.", "repl": "vision_tower.vision_model.embeddings.patch_embedding."},"#,
    r#"{"pattern": "^model.language_model.", "repl": "language_model.model."},"#,
    r#"{"pattern": "^lm_head", "repl": "language_model.lm_head"}"#
);

/// Model types and their rules.
const PRESETS: &[(&str, &str)] = &[
    ("mixtral", MIXTRAL),
    ("minimax", MIXTRAL),
    ("minimax_m2", MINIMAX_M2),
    ("phimoe", PHIMOE),
    ("minimax_m3_vl", MINIMAX_M3),
];

/// Model types and their rules as JSON, for people who begin from them.
#[must_use]
pub fn rename_presets() -> &'static [(&'static str, &'static str)] {
    PRESETS
}

/// The rules from the names in memory to those of the hub; none at all for types whose names are the same. Names of
/// the hub stay as they are.
///
/// ```text
/// mixtral: model.layers.0.mlp.experts.1.up_proj.weight -> model.layers.0.block_sparse_moe.experts.1.w3.weight
/// ```
///
/// # Errors
/// None that a test would not have found: presets are read as users' rules are.
pub(crate) fn preset(model_type: Option<&str>) -> Result<Rules, ConvertError> {
    match PRESETS.iter().find(|(known, _)| Some(*known) == model_type) {
        Some((_, json)) => Rules::from_json(json),
        None => Ok(Rules::default()),
    }
}
