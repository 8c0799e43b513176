//! Ties, indexes and shards.

use super::{Thread, thread};
use crate::cases::two_shards;
use crate::fixture::Ckpt;
use serde_json::{Value, json};

fn tied(flag: bool, ckpt: Ckpt) -> Ckpt {
    let config = json!({"architectures": ["Qwen3VLForConditionalGeneration"], "tie_word_embeddings": flag});
    ckpt.plain("model.embed_tokens", &[4, 8], 1).json("config.json", &config)
}

pub(super) fn threads() -> Vec<Thread> {
    let removed = |i: &mut Value| {
        i["weight_map"].as_object_mut().unwrap().remove("mlp.down.weight");
    };
    vec![
        thread(
            52,
            "QwenLM/Qwen3-VL-Embedding#89",
            "the flag says untied, and there is no head",
            ("TI701", "tie_word_embeddings is false, but there is no output head"),
            tied(false, Ckpt::new()),
        ),
        thread(
            54,
            "vllm-project/llm-compressor#2798",
            "offloading wrote the head a second time, bit for bit",
            ("TI702", "`model.embed_tokens`, `lm_head`"),
            tied(true, Ckpt::new()).plain("lm_head", &[4, 8], 1),
        ),
        thread(
            55,
            "pytorch/torchtitan#3764",
            "the tied head became an entry without a type",
            ("ST103", "unknown dtype \"\""),
            tied(true, Ckpt::new()).plain("lm_head", &[4, 8], 1).header(|h| h.replacen("BF16", "", 1)),
        ),
        thread(
            56,
            "NVIDIA/Model-Optimizer#2092, NVIDIA/Model-Optimizer#2194",
            "tied layers were calibrated apart; which scale survives depends on the version",
            ("TI704", "share their weight but have input scales"),
            Ckpt::new()
                .nvfp4("encoder.fc1", 4, 32, 1)
                .nvfp4("decoder.fc1", 4, 32, 1)
                .set("decoder.fc1.input_scale", 0.034),
        ),
        thread(
            59,
            "huggingface/huggingface_hub#4725",
            "the index names a tensor that its shard lacks",
            ("IX802", "whose header lacks it"),
            two_shards().index(|i| i["weight_map"]["mlp.extra.weight"] = json!("other.safetensors")),
        ),
        thread(
            60,
            "sgl-project/sglang#32279",
            "a shard is missing; the server starts with uninitialised weights",
            ("IX801", "which is not there"),
            two_shards().index(|i| i["weight_map"]["mlp.extra.weight"] = json!("model-00003.safetensors")),
        ),
        thread(
            61,
            "Blaizzy/mlx-vlm#1827, Blaizzy/mlx-vlm#1464, ddalcu/mlx-serve#465, Neph0s/CoSER#3",
            "the index is of another export than the files",
            ("IX803", "is not in model.safetensors.index.json"),
            two_shards().index(removed),
        ),
        thread(
            62,
            "osaurus-ai/vmlx-swift#217",
            "shards are short, and what is missing reads as zeros",
            ("IX804", "the file is 9 bytes short"),
            two_shards().file(|mut bytes| {
                bytes.truncate(bytes.len() - 9);
                bytes
            }),
        ),
        thread(
            63,
            "JustVugg/colibri#1317, JustVugg/colibri#1487",
            "one shard was never fetched",
            ("IX801", "2 tensors are in it"),
            two_shards().index(|i| {
                i["weight_map"]["mlp.extra.weight"] = json!("model-00003.safetensors");
                i["weight_map"]["mlp.extra.bias"] = json!("model-00003.safetensors");
            }),
        ),
        thread(
            64,
            "MiniMax-AI/MiniMax-M2.5#37, Comfy-Org/ComfyUI#6744, Comfy-Org/ComfyUI#3225, datalab-to/marker#970, PersuGPT/PersuGPT.github.io#2",
            "\"incomplete metadata\": an interrupted download",
            ("IX804", "short"),
            two_shards().file(|mut bytes| {
                bytes.truncate(bytes.len() - 40);
                bytes
            }),
        ),
    ]
}
