//! Scales that are missing or wrong.

use super::{Thread, thread};
use crate::fixture::Ckpt;

fn experts(block: &str) -> Ckpt {
    (0..4).fold(Ckpt::new(), |c, i| {
        let expert = format!("{block}.experts.{i}");
        c.nvfp4(&format!("{expert}.w1"), 4, 32, i).nvfp4(&format!("{expert}.w3"), 4, 32, i + 8)
    })
}

/// A packed compressed-tensors layer with the given divisor.
fn divisor(value: f32) -> Ckpt {
    Ckpt::new()
        .tensor("a.weight_packed", "U8", &[4, 16], vec![0x77; 64])
        .tensor("a.weight_scale", "F8_E4M3", &[4, 2], vec![0x7e; 8])
        .tensor("a.weight_global_scale", "F32", &[1], value.to_le_bytes().to_vec())
}

pub(super) fn threads() -> Vec<Thread> {
    let moe = "model.layers.3.mlp";
    vec![
        thread(
            1,
            "vllm-project/vllm#54444",
            "the checkpoint lacks global scales; the loader leaves them uninitialised",
            ("SC002", "no global scale `weight_scale_2`"),
            Ckpt::new()
                .nvfp4("model.layers.0.mlp.up_proj", 4, 32, 1)
                .without("model.layers.0.mlp.up_proj.weight_scale_2"),
        ),
        thread(
            2,
            "vllm-project/vllm#45212",
            "experts that calibration never reached have no activation scale: NaN for some prompts",
            ("SC003", "1 of 4 experts of `model.layers.3.mlp.experts` lack `input_scale`: 2"),
            experts(moe).without(&format!("{moe}.experts.2.w1.input_scale")),
        ),
        thread(
            3,
            "vllm-project/vllm#45320",
            "a request to refuse such files, with the experts named",
            ("SC003", "lack `input_scale`: 0, 3"),
            experts(moe)
                .without(&format!("{moe}.experts.0.w1.input_scale"))
                .without(&format!("{moe}.experts.3.w3.input_scale")),
        ),
        thread(
            4,
            "vllm-project/vllm#52501",
            "block scales that were never loaded are not noticed",
            ("SC001", "has no block scale"),
            Ckpt::new().nvfp4("a.up_proj", 4, 32, 1).without("a.up_proj.weight_scale"),
        ),
        thread(
            5,
            "sgl-project/sglang#23625",
            "a mixed file of a model omits activation scales that the full file has: white images",
            ("SC004", "lacks 1 tensor that"),
            Ckpt::new()
                .nvfp4("double_blocks.0.img_attn.proj", 4, 32, 1)
                .nvfp4("double_blocks.1.img_attn.proj", 4, 32, 2)
                .shard("model-full.safetensors")
                .nvfp4("double_blocks.0.img_attn.proj", 4, 32, 1)
                .nvfp4("double_blocks.1.img_attn.proj", 4, 32, 2)
                .without("double_blocks.1.img_attn.proj.input_scale"),
        ),
        thread(
            6,
            "ModelCloud/GPTQModel#3077",
            "a missing packed weight loads as zeros",
            ("LK402", "it has no weight"),
            Ckpt::new()
                .tensor("a.scales", "F16", &[2, 16], vec![0x3c; 64])
                .tensor("a.qzeros", "I32", &[2, 2], vec![0x77; 16])
                .tensor("a.g_idx", "I32", &[32], vec![0; 128]),
        ),
        thread(
            7,
            "NVIDIA/Model-Optimizer#785, NVIDIA/Model-Optimizer#2438",
            "experts without calibrated maxima at export",
            ("SC003", "3 of 4 experts"),
            (1..4).fold(experts(moe), |c, i| c.without(&format!("{moe}.experts.{i}.w1.input_scale"))),
        ),
        thread(
            8,
            "THUDM/slime#2256",
            "an all-zero tile got scale 0, and NaN codes were written",
            ("SV104", "NaN codes"),
            Ckpt::new()
                .fp8_block("a", 130, 140)
                .change("a.weight", |t| t.bytes[18_060..].fill(0x7f))
                .change("a.weight_scale_inv", |t| t.bytes[12..].fill(0)),
        ),
        thread(
            9,
            "vllm-project/compressed-tensors#832",
            "NaN and infinite scales in a saved checkpoint",
            ("SV101", "1 NaN or infinite"),
            Ckpt::new()
                .fp8_block("a", 130, 140)
                .change("a.weight_scale_inv", |t| t.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes())),
        ),
        thread(
            10,
            "modular/modular#6600",
            "the divisor of one convention under the name of the other",
            ("SV105", "looks like the reciprocal"),
            Ckpt::new().nvfp4_of("a", 32, vec![0x77; 64], vec![0x7e; 8]).set("a.weight_scale_2", 3584.0),
        ),
        thread(
            11,
            "JustVugg/colibri#83",
            "a loader asserts that the scale is below 1 for that reason",
            ("SV105", "a factor"),
            Ckpt::new().nvfp4_of("a", 32, vec![0x77; 64], vec![0x7e; 8]).set("a.weight_scale_2", 950.0),
        ),
        thread(
            12,
            "ggml-org/llama.cpp#22858",
            "the same trap the other way round",
            ("SV105", "divisor"),
            divisor(0.000_28),
        ),
    ]
}
