//! Rules that read configs.

use super::{Fixtures, sound};
use crate::fixture::Ckpt;
use serde_json::{Map, Value, json};

pub(super) fn rules() -> Fixtures {
    vec![
        (
            "CF301",
            Ckpt::new().nvfp4("mlp.up", 4, 32, 1).declares("NVFP4", &["mlp.u*"]),
            Ckpt::new().nvfp4("mlp.up", 4, 32, 1).declares("NVFP4", &["mlp.u", "up*"]),
        ),
        (
            "CF302",
            Ckpt::new().nvfp4("mlp.up", 4, 32, 1).plain("mlp.down", &[4, 16], 1).declares("NVFP4", &[]),
            // A norm, an embedding and a router are not meant; a child of an excluded module is left alone.
            Ckpt::new()
                .nvfp4("mlp.up", 4, 32, 1)
                .plain("norm", &[16], 1)
                .plain("model.embed_tokens", &[4, 16], 2)
                .plain("mlp.gate", &[4, 16], 3)
                .plain("vision.qkv", &[4, 16], 4)
                .declares("NVFP4", &["vision"]),
        ),
        (
            "CF307",
            sound().json(
                "hf_quant_config.json",
                &json!({"quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}}),
            ),
            sound().json(
                "hf_quant_config.json",
                &json!({"quantization": {"quant_algo": "NVFP4", "group_size": 16, "kv_cache_quant_algo": null,
                    "exclude_modules": ["lm_head"]}}),
            ),
        ),
        (
            "CF310",
            Ckpt::new().plain("a", &[2, 2], 1).text("config.json", "{\"a\":"),
            Ckpt::new().plain("a", &[2, 2], 1).text("config.json", "{}"),
        ),
        (
            "SN203",
            Ckpt::new().fp8("a", 4, 8, 1).declares("NVFP4", &[]),
            // Weight-only and not are one layout, which bytes do not show.
            Ckpt::new().nvfp4("a", 4, 32, 1).declares("W4A16_NVFP4", &[]),
        ),
        (
            "CF303",
            sound_with(&["lm_head", "model.mlp.down"]),
            // A name without a path, the beginning of a path, a parent, a head that may be tied.
            sound_with(&["lm_head*", "down", "mlp.dow*", "output_layer"]),
        ),
        (
            "CF304",
            Ckpt::new().nvfp4("attn.q_proj", 4, 32, 1).plain("attn.k_proj", &[4, 32], 2),
            // Another parent, and a projection that is not fused.
            Ckpt::new()
                .nvfp4("attn.q_proj", 4, 32, 1)
                .nvfp4("attn.k_proj", 4, 32, 2)
                .plain("attn.o_proj", &[4, 32], 3)
                .plain("cross.k_proj", &[4, 32], 4),
        ),
        ("CF306", mixed(&["a"]), mixed(&["a", "b"])),
        ("CF308", counted(3), counted(2)),
        (
            "CF309",
            Ckpt::new().nvfp4("a", 4, 64, 1).json("config.json", &declared_with(&json!({"group_size": 32}))),
            Ckpt::new().nvfp4("a", 4, 64, 1).json("config.json", &declared_with(&json!({"group_size": 16}))),
        ),
        (
            "CV902",
            Ckpt::new().plain("a", &[4, 8], 1).plain("b", &[4, 8], 2).declares("FP8", &["a", "b"]),
            Ckpt::new().plain("a", &[4, 8], 1).fp8("b", 4, 8, 2).declares("FP8", &["a"]),
        ),
        (
            "LK403",
            sound().plain("attn.k_proj", &[4, 8], 9).number("attn.k_proj.k_scale", 0.5),
            Ckpt::new()
                .nvfp4("attn.k_proj", 4, 32, 9)
                .number("attn.k_proj.k_scale", 0.5)
                .json("config.json", &declared_with(&json!({"kv_cache_quant_algo": "FP8"}))),
        ),
        (
            "SH503",
            Ckpt::new().nvfp4("a", 4, 32, 1).fp8("b", 16, 32, 1).declares("NVFP4", &[]),
            // What is excluded takes what it takes.
            Ckpt::new().nvfp4("a", 4, 32, 1).fp8("b", 16, 32, 1).declares("NVFP4", &["b"]),
        ),
        ("TI701", tied(false, false), tied(true, false)),
    ]
}

/// The sound model under other exclude patterns.
fn sound_with(ignore: &[&str]) -> Ckpt {
    let mut model = sound();
    model.files.clear();
    model.declares("NVFP4", ignore)
}

fn declared_with(extra: &Value) -> Value {
    let mut section = json!({"quant_method": "modelopt", "quant_algo": "NVFP4"});
    section.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({"quantization_config": section})
}

/// Two layers of two algorithms, of which some are listed.
fn mixed(listed: &[&str]) -> Ckpt {
    let algos =
        [("a", json!({"quant_algo": "NVFP4", "group_size": 16})), ("b", json!({"quant_algo": "FP8"}))];
    let layers: Map<String, Value> =
        algos.into_iter().filter(|(n, _)| listed.contains(n)).map(|(n, v)| (n.to_string(), v)).collect();
    let section =
        json!({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": layers});
    Ckpt::new()
        .nvfp4("a", 4, 32, 1)
        .fp8("b", 4, 8, 1)
        .plain("c", &[4, 8], 1)
        .json("config.json", &json!({"quantization_config": section}))
}

/// Two layers, of which the config declares so many.
fn counted(declared: u64) -> Ckpt {
    (0..2)
        .fold(Ckpt::new(), |c, i| c.plain(&format!("model.layers.{i}.mlp.up_proj"), &[4, 8], i))
        .json("config.json", &json!({"num_hidden_layers": declared}))
}

/// A language model with an embedding, with or without a head.
fn tied(flag: bool, head: bool) -> Ckpt {
    let config = json!({"architectures": ["LlamaForCausalLM"], "tie_word_embeddings": flag});
    let model = Ckpt::new().plain("model.embed_tokens", &[4, 8], 1).json("config.json", &config);
    if head { model.plain("lm_head", &[4, 8], 2) } else { model }
}
