//! Configs and tensors that disagree.

use super::{Thread, thread};
use crate::fixture::Ckpt;
use serde_json::{Value, json};

fn config(ckpt: Ckpt, fields: &Value) -> Ckpt {
    ckpt.json("config.json", fields)
}

/// A little language model below another nesting of prefixes than its config.
fn nested(ignore: &[&str]) -> Ckpt {
    Ckpt::new()
        .nvfp4("model.language_model.layers.0.mlp.up_proj", 4, 32, 1)
        .plain("model.language_model.layers.0.mlp.gate", &[4, 8], 2)
        .plain("model.visual.blocks.0.norm", &[8], 3)
        .declares("NVFP4", ignore)
}

fn mixed(layers: &Value) -> Value {
    json!({"quantization_config": {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": layers}})
}

pub(super) fn threads() -> Vec<Thread> {
    let vision = || {
        Ckpt::new().nvfp4("model.layers.0.mlp.up_proj", 4, 32, 1).nvfp4(
            "model.visual.blocks.0.mlp.fc1",
            4,
            32,
            2,
        )
    };
    vec![
        thread(
            22,
            "vllm-project/vllm#45102, vllm-project/vllm#45132",
            "an official checkpoint has a quantized head that its config excludes",
            ("CF301", "`lm_head` is excluded by `lm_head*`"),
            Ckpt::new().nvfp4("lm_head", 4, 32, 1).nvfp4("a", 4, 32, 2).declares("NVFP4", &["lm_head*"]),
        ),
        thread(
            23,
            "sgl-project/sglang#38781, sgl-project/sglang#36596",
            "excluded names nest their prefixes otherwise; plain layers are built packed",
            ("CF303", "the nearest is `model.language_model.layers.0.mlp.gate`"),
            nested(&["language_model.model.layers.0.mlp.gate"]),
        ),
        thread(
            24,
            "vllm-project/vllm#54547",
            "none of many excluded names match a multimodal model",
            ("CF303", "matches no module"),
            nested(&["model.layers.0.mlp.gate", "model.layers.1.mlp.gate"]),
        ),
        thread(
            25,
            "vllm-project/vllm#38650, vllm-project/vllm#48883",
            "a prediction head is plain and not excluded",
            ("CF302", "`mtp.layers.0.up_proj` is declared NVFP4 but is bf16"),
            Ckpt::new()
                .nvfp4("model.layers.0.up_proj", 4, 32, 1)
                .plain("mtp.layers.0.up_proj", &[4, 8], 1)
                .declares("NVFP4", &[]),
        ),
        thread(
            26,
            "vllm-project/vllm#47318, vllm-project/vllm#47445, vllm-project/vllm#36312",
            "quantized layers that a mixed config does not list",
            ("CF306", "1 quantized layer is not in `quantized_layers`"),
            config(
                Ckpt::new().nvfp4("a.up_proj", 4, 32, 1).fp8("a.down_proj", 4, 8, 1),
                &mixed(&json!({"a.up_proj": {"quant_algo": "NVFP4", "group_size": 16}})),
            ),
        ),
        thread(
            27,
            "NVIDIA/Model-Optimizer#929",
            "the list of layers stands in one config only",
            ("CF307", "disagree on quantized_layers"),
            config(
                Ckpt::new().nvfp4("a", 4, 32, 1).fp8("b", 4, 8, 1),
                &mixed(&json!({"a": {"quant_algo": "NVFP4"}})),
            )
            .json(
                "hf_quant_config.json",
                &json!({"quantization": {"quant_algo": "MIXED_PRECISION", "quantized_layers":
                    {"a": {"quant_algo": "NVFP4"}, "b": {"quant_algo": "FP8"}}}}),
            ),
        ),
        thread(
            28,
            "NVIDIA/Model-Optimizer#33",
            "the exclude list does not say what was left out",
            ("CF302", "declared FP8 but is bf16"),
            Ckpt::new()
                .fp8("model.layers.0.q", 4, 8, 1)
                .plain("model.layers.0.o", &[4, 8], 1)
                .declares("FP8", &["lm_head"]),
        ),
        thread(
            29,
            "NVIDIA/Model-Optimizer#1632",
            "a recipe for MLPs quantized the vision tower: text fine, images noise",
            ("CF305", "1 layer of the vision tower is quantized"),
            vision().declares("NVFP4", &[]),
        ),
        thread(
            30,
            "vllm-project/llm-compressor#1306",
            "the loader knows no scales in the vision tower",
            ("CF305", "`model.visual.blocks.0.mlp.fc1`"),
            vision(),
        ),
        thread(
            31,
            "NVIDIA/TensorRT-LLM#17551, NVIDIA/TensorRT-LLM#15599",
            "ignored layers were quantized all the same",
            ("CF301", "is excluded by `model.layers.0.q`"),
            Ckpt::new().fp8("model.layers.0.q", 4, 8, 1).declares("FP8", &["model.layers.0.q"]),
        ),
        thread(
            32,
            "elder-plinius/OBLITERATUS#197",
            "the config counts a prediction layer that has no tensors",
            ("CF308", "num_nextn_predict_layers 1"),
            config(
                Ckpt::new().plain("model.layers.0.up", &[4, 8], 1).plain("model.layers.1.up", &[4, 8], 2),
                &json!({"num_hidden_layers": 2, "num_nextn_predict_layers": 1}),
            ),
        ),
        thread(
            33,
            "vllm-project/vllm#47473, vllm-project/vllm#53992",
            "a fused group without v_proj; its other members differ",
            ("CF304", "`k_proj` is bf16, `q_proj` is nvfp4"),
            Ckpt::new()
                .nvfp4("attn.q_proj", 4, 32, 1)
                .plain("attn.k_proj", &[4, 32], 2)
                .declares("NVFP4", &["attn.k_proj"]),
        ),
    ]
}
