//! What converters leave behind, and ComfyUI's metadata.

use super::{Thread, thread};
use crate::cases::headers::{comfy, comfy_layers};
use crate::cases::two_shards;
use crate::fixture::Ckpt;
use serde_json::json;

pub(super) fn threads() -> Vec<Thread> {
    vec![
        thread(
            65,
            "deepseek-ai/DeepSeek-V3.2-Exp#59",
            "a cast script passes on codes that it has no scales for",
            ("CV901", "with nothing that decodes it"),
            Ckpt::new().plain("model.layers.0.o_proj", &[4, 8], 1).tensor(
                "model.layers.0.indexer.wk",
                "F8_E4M3",
                &[4, 8],
                vec![0x38; 32],
            ),
        ),
        thread(
            67,
            "ggml-org/llama.cpp#11446, ggml-org/llama.cpp#14781",
            "a converter knows no tile scales and drops them",
            ("SC001", "F8_E4M3 but has no"),
            Ckpt::new().fp8_block("model.layers.0.q", 256, 256).without("model.layers.0.q.weight_scale_inv"),
        ),
        thread(
            69,
            "NovaSky-AI/SkyRL#2019",
            "plain masters made from a quantized model, with its config",
            ("CV902", "still says W4A16_AWQ, but no tensor is quantized"),
            Ckpt::new().plain("model.layers.0.q", &[4, 8], 1).declares("W4A16_AWQ", &["lm_head"]),
        ),
        thread(
            70,
            "ModelCloud/GPTQModel#2875, ModelCloud/GPTQModel#2948",
            "weights and their scales in different files",
            ("IX807", "are split over"),
            two_shards().change_shard("mlp.up.weight_scale", 1),
        ),
        thread(
            81,
            "Comfy-Org/ComfyUI#15511",
            "scales are there, the metadata is not",
            ("CM971", "no descriptor"),
            Ckpt::new().fp8("model.diffusion_model.blocks.0.q", 4, 8, 1).fp8(
                "model.diffusion_model.blocks.1.q",
                4,
                8,
                2,
            ),
        ),
        thread(
            82,
            "Haoming02/sd-webui-forge-classic#1465",
            "the layers of the metadata lack the prefix of the tensors",
            ("CM972", "name resolves to no tensor"),
            comfy_layers(&json!({"blocks.0.q": {"format": "float8_e4m3fn"}})),
        ),
        thread(
            83,
            "Comfy-Org/ComfyUI#11864",
            "no faster: many layers are flagged to multiply in full precision",
            ("CM973", "1 of 1 layers multiply in full precision"),
            comfy(&json!({"format": "float8_e4m3fn", "full_precision_matrix_mult": true})),
        ),
    ]
}
