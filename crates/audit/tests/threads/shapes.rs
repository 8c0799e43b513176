//! Shapes, layouts, blocks and fused groups.

use super::{Thread, thread};
use crate::cases::headers::{comfy_layers, stack};
use crate::cases::layouts::{odd_rows, rows_of_sizes, scales, tiled};
use crate::fixture::Ckpt;
use serde_json::json;

fn native(ckpt: Ckpt, block: [u64; 2]) -> Ckpt {
    ckpt.json(
        "config.json",
        &json!({"quantization_config": {"quant_method": "fp8", "weight_block_size": block}}),
    )
}

/// What the config says tells half the scales from blocks of twice the size.
fn declared() -> Ckpt {
    Ckpt::new().declares("NVFP4", &[])
}

fn two(names: [&str; 2], scale: f32) -> Ckpt {
    let [a, b] = names;
    Ckpt::new().nvfp4(a, 4, 32, 1).nvfp4(b, 4, 32, 2).set(&format!("{b}.weight_scale_2"), scale)
}

pub(super) fn threads() -> Vec<Thread> {
    let tiles = || scales(tiled(&rows_of_sizes()));
    vec![
        thread(
            19,
            "vllm-project/vime#133",
            "scales packed ahead for one engine",
            ("LY601", "look in tiles of 128 x 4"),
            tiles(),
        ),
        thread(
            39,
            "Comfy-Org/ComfyUI#15511",
            "thousands of scales are dropped for want of metadata; the first product fails",
            ("CM971", "1 quantized layer has no entry"),
            Ckpt::new().nvfp4("model.diffusion_model.blocks.0.q", 4, 32, 1),
        ),
        thread(
            41,
            "Comfy-Org/ComfyUI#13214",
            "the names of the metadata lost their prefix",
            ("CM972", "with the prefix `model.diffusion_model.` it does"),
            comfy_layers(&json!({"blocks.0.q": {"format": "nvfp4"}})),
        ),
        thread(
            42,
            "NVIDIA/Model-Optimizer#868",
            "a file labelled NVFP4 holds FP8: more than six bits a weight",
            ("SH503", "bits per weight"),
            Ckpt::new().nvfp4("a", 4, 32, 1).fp8("b", 16, 32, 1).declares("NVFP4", &[]),
        ),
        thread(
            43,
            "NVIDIA/Model-Optimizer#2038",
            "scales counted from the packed width: half of them",
            ("SH501", "it is half its size"),
            declared()
                .nvfp4("a", 4, 64, 1)
                .change("a.weight_scale", |t| (t.shape, t.bytes) = (vec![4, 2], vec![0x38; 8])),
        ),
        thread(
            44,
            "NVIDIA/Model-Optimizer#384, NVIDIA/Model-Optimizer#858, NVIDIA/Model-Optimizer#2447",
            "scales of stacked experts along the wrong axis",
            ("SH504", "one per input of the experts"),
            stack(&[2, 64, 2]),
        ),
        thread(
            45,
            "vllm-project/vllm#44836",
            "a loader takes the packed width for the width",
            ("SH501", "expected [16, 8]"),
            declared()
                .nvfp4("a", 16, 128, 1)
                .change("a.weight_scale", |t| (t.shape, t.bytes) = (vec![16, 4], vec![0x38; 64])),
        ),
        thread(
            46,
            "NVIDIA/Model-Optimizer#1195",
            "rows padded at export, the logical shape nowhere",
            ("LY603", "padded from 13 to 16 rows"),
            Ckpt::new().nvfp4("proj", 16, 32, 1).tensor("proj.bias", "BF16", &[13], vec![0; 26]),
        ),
        thread(
            47,
            "sgl-project/sglang#22064",
            "one side permutes scales, the other does not: a loss of accuracy and no error",
            ("LY601", "has them row by row"),
            tiles(),
        ),
        thread(
            48,
            "sgl-project/sglang#25483",
            "the order of nibbles is guessed from how q, k and v were packed",
            ("LY602", "look exchanged"),
            odd_rows(4),
        ),
        thread(
            49,
            "Comfy-Org/comfy-kitchen#41",
            "the order of nibbles is not written down",
            ("LY602", "in its high half"),
            odd_rows(4),
        ),
        thread(
            51,
            "vllm-project/vllm#50085",
            "every tensor has the right shape and is read in the wrong order",
            ("LY601", "likelihood"),
            tiles(),
        ),
        thread(
            74,
            "vllm-project/compressed-tensors#547",
            "rows that are no multiple of the block",
            ("BK951", "is [4, 2], expected [5, 2]"),
            native(
                Ckpt::new()
                    .fp8_block("kv_a_proj", 576, 256)
                    .change("kv_a_proj.weight_scale_inv", |t| (t.shape, t.bytes) = (vec![4, 2], vec![0; 32])),
                [128, 128],
            ),
        ),
        thread(
            75,
            "NVIDIA/TensorRT-Model-Connect#1115",
            "a block size derived by dividing sizes",
            ("CF309", "declares a block of 125 x 128; 1 layer has one scale per 128 x 128"),
            native(Ckpt::new().fp8_block("a", 8000, 1024), [125, 128]),
        ),
        thread(
            76,
            "sgl-project/sglang#23973",
            "parallel parts cut blocks",
            ("BK952", "mlp.down_proj"),
            native(Ckpt::new().fp8_block("mlp.down_proj", 128, 384), [128, 128]).target("sglang"),
        ),
        thread(
            77,
            "vllm-project/vllm#52997",
            "a part of a weight is smaller than a block",
            ("BK952", "mlp.down_proj"),
            native(Ckpt::new().fp8_block("mlp.down_proj", 128, 512), [128, 128]).target("vllm"),
        ),
        thread(
            78,
            "intel/auto-round#2379",
            "to_q, to_k and to_v of a video model have different global scales",
            ("FU961", "`attn1.{to_k, to_q}` differ"),
            two(["attn1.to_q", "attn1.to_k"], 0.02),
        ),
        thread(
            79,
            "vllm-project/vllm#35859",
            "a loader refuses different global scales of q, k and v",
            ("FU961", "2.000 times too large"),
            two(["attn.q_proj", "attn.k_proj"], 0.02),
        ),
        thread(
            80,
            "vllm-project/vllm#41045",
            "the same of gate and up",
            ("FU961", "`mlp.{gate_proj, up_proj}`"),
            two(["mlp.gate_proj", "mlp.up_proj"], 0.015),
        ),
    ]
}
