//! Names of scales, leaks and orphans.

use super::{Thread, thread};
use crate::fixture::Ckpt;
use serde_json::json;

fn tiles() -> Ckpt {
    Ckpt::new().fp8_block("model.layers.0.q", 130, 140).fp8_block("model.layers.1.q", 256, 256)
}

fn native(ckpt: Ckpt) -> Ckpt {
    ckpt.json(
        "config.json",
        &json!({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}),
    )
}

/// Two FP8 layers of ComfyUI files, one of each spelling.
fn two_spellings() -> Ckpt {
    Ckpt::new()
        .fp8("blocks.0.q", 4, 8, 1)
        .fp8("blocks.1.q", 4, 8, 2)
        .rename("blocks.1.q.weight_scale", "blocks.1.q.scale_weight")
}

pub(super) fn threads() -> Vec<Thread> {
    vec![
        thread(
            13,
            "vllm-project/vllm#54126",
            "weight-only tiles exported under the name of the other form",
            ("SN203", "says fp8_pb_wo, but 1 layer is stored as fp8-block"),
            Ckpt::new().fp8_block("a", 256, 256).declares("fp8_pb_wo", &[]),
        ),
        thread(
            14,
            "vllm-project/vllm#54556",
            "scales of some layers were renamed on the way",
            ("SN201", "two spellings of one scale"),
            native(tiles().rename("model.layers.1.q.weight_scale_inv", "model.layers.1.q.weight_scale")),
        ),
        thread(
            15,
            "sgl-project/sglang#30234",
            "a rename of every scale broke the tiles, whose scale keeps its name",
            ("SN201", "`weight_scale` x1"),
            native(
                tiles()
                    .fp8_block("model.layers.2.q", 256, 140)
                    .rename("model.layers.2.q.weight_scale_inv", "model.layers.2.q.weight_scale"),
            ),
        ),
        thread(
            16,
            "NVIDIA/TensorRT-LLM#13716",
            "a blanket rename hit NVFP4 layers too",
            ("SN201", "of U8 weights"),
            Ckpt::new()
                .nvfp4("a", 4, 32, 1)
                .nvfp4("b", 4, 32, 2)
                .rename("b.weight_scale", "b.weight_scale_inv"),
        ),
        thread(
            17,
            "unslothai/unsloth#6200, unslothai/unsloth#6978",
            "scales were dropped at saving; weights are about 200 times too large",
            ("SC001", "F8_E4M3 but has no"),
            native(tiles().without("model.layers.1.q.weight_scale_inv")),
        ),
        thread(
            18,
            "leejet/stable-diffusion.cpp#1898",
            "two projects spell the scale differently",
            ("SN201", "`scale_weight` x1"),
            two_spellings(),
        ),
        thread(
            21,
            "invoke-ai/InvokeAI#9478",
            "both spellings must be read",
            ("SN201", "`weight_scale` x1"),
            two_spellings(),
        ),
        thread(
            34,
            "NVIDIA/Model-Optimizer#2038",
            "a compressed export kept buffers of its quantizers",
            ("LK401", "2 quantizer-state tensors leaked"),
            Ckpt::new()
                .nvfp4("mlp.up", 4, 32, 1)
                .tensor("mlp.up.weight_quantizer._scale", "F32", &[4], vec![0; 16])
                .number("mlp.up.weight_quantizer._double_scale", 1.0),
        ),
        thread(
            35,
            "NVIDIA/Model-Optimizer#1809",
            "quantizer buffers beside convolutions",
            ("LK401", "`decoder.conv_in.weight_quantizer._amax`"),
            Ckpt::new()
                .plain("decoder.conv_in", &[4, 3, 3, 3, 3], 1)
                .number("decoder.conv_in.weight_quantizer._amax", 1.0),
        ),
        thread(
            36,
            "vllm-project/vllm#31757, vllm-project/vllm#32101",
            "scales beside plain layers were skipped by name, and real ones with them",
            ("LK402", "its weight is plain bf16"),
            Ckpt::new()
                .plain("mtp.layers.0.up_proj", &[4, 8], 1)
                .number("mtp.layers.0.up_proj.weight_scale", 1.0),
        ),
        thread(
            37,
            "sgl-project/sglang#19000",
            "scales of a state-space layer without its weights",
            ("LK402", "it has no weight"),
            Ckpt::new()
                .plain("a", &[4, 8], 1)
                .number("mixer.in_proj.weight_scale", 1.0)
                .number("mixer.in_proj.input_scale", 1.0),
        ),
        thread(
            38,
            "vllm-project/vllm#34293, sgl-project/sglang#25794",
            "scales of the KV cache that no config declares",
            ("LK403", "declares no KV cache algorithm"),
            Ckpt::new()
                .nvfp4("attn.k_proj", 4, 32, 1)
                .number("attn.k_proj.k_scale", 0.5)
                .declares("NVFP4", &[]),
        ),
    ]
}
