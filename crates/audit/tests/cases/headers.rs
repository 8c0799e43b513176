//! Rules that read headers alone.

use super::{Fixtures, conv, sound};
use crate::fixture::Ckpt;
use serde_json::{Value, json};

pub(super) fn rules() -> Fixtures {
    vec![
        (
            "LK401",
            sound().tensor("mlp.up.input_quantizer._amax", "F32", &[], vec![0; 4]),
            sound().tensor("mlp.amax_pool", "F32", &[], vec![0; 4]),
        ),
        ("SC001", sound().without("mlp.up.weight_scale"), sound().without("mlp.up.input_scale")),
        ("SC002", sound().without("mlp.up.weight_scale_2"), sound().without("mlp.down.input_scale")),
        (
            "SH501",
            sound().change("mlp.down.weight_scale", |t| {
                (t.shape, t.bytes) = (vec![2, 3], vec![0x38; 6]);
            }),
            // Padded to 16 rows and 16 columns, as post-processing may leave it.
            sound().change("mlp.down.weight_scale", |t| {
                (t.shape, t.bytes) = (vec![16, 16], vec![0x38; 256]);
            }),
        ),
        (
            "SH502",
            sound().change("mlp.up.weight_scale_2", |t| {
                (t.dtype, t.bytes) = ("BF16".into(), vec![0x80, 0x3f]);
            }),
            sound().change("mlp.up.weight_scale_2", |t| t.shape = vec![1]),
        ),
        (
            "SH505",
            conv().change("decoder.conv1.weight", |t| t.bytes[47] = 0x30),
            // The last code of the kernel itself is none of the padding.
            conv().change("decoder.conv1.weight", |t| t.bytes[40] = 0x03),
        ),
        (
            "BK951",
            Ckpt::new().fp8_block("a", 130, 140).change("a.weight_scale_inv", |t| {
                (t.shape, t.bytes) = (vec![1, 2], vec![0; 8]);
            }),
            Ckpt::new().fp8_block("a", 100, 128).change("a.weight_scale_inv", |t| t.shape = vec![]),
        ),
        (
            "SC003",
            experts().without("layers.0.mlp.experts.1.up_proj.input_scale"),
            // None of the experts has one: the export is weight-only.
            ["0", "1", "2"]
                .iter()
                .fold(experts(), |c, i| c.without(&format!("layers.0.mlp.experts.{i}.up_proj.input_scale"))),
        ),
        (
            "LK402",
            sound().plain("mixer.conv1d", &[4, 1, 4], 9).number("mixer.conv1d.weight_scale", 0.5),
            // A KV cache scale stands beside plain projections; a bare parameter may be called scale.
            sound()
                .plain("attn.k_proj", &[4, 8], 9)
                .number("attn.k_proj.k_scale", 0.5)
                .number("norm.scale", 1.0),
        ),
        ("SH504", stack(&[2, 64, 2]), stack(&[2, 32, 4])),
        (
            "LY603",
            Ckpt::new().nvfp4("proj", 16, 32, 1).tensor("proj.bias", "BF16", &[13], vec![0; 26]),
            Ckpt::new().nvfp4("proj", 16, 32, 1).tensor("proj.bias", "BF16", &[16], vec![0; 32]),
        ),
        (
            "SN201",
            Ckpt::new()
                .fp8_block("a", 130, 140)
                .fp8_block("b", 256, 256)
                .rename("b.weight_scale_inv", "b.weight_scale"),
            // FP8 with one scale is stored otherwise than FP8 in tiles, and NVFP4 otherwise than both.
            Ckpt::new().fp8_block("a", 130, 140).fp8("b", 8, 16, 1).nvfp4("c", 4, 32, 1),
        ),
        (
            "CF305",
            sound().nvfp4("model.visual.blocks.0.mlp.up_proj", 4, 32, 7),
            Ckpt::new().nvfp4("visual.blocks.0.up_proj", 4, 32, 7).plain("visual.norm", &[8], 1),
        ),
        (
            "CV901",
            sound().tensor("blocks.w1", "I8", &[4, 4], vec![1; 16]),
            sound().tensor("attn.mask", "U8", &[4, 4], vec![1; 16]).tensor(
                "tokens",
                "U8",
                &[16],
                vec![1; 16],
            ),
        ),
        (
            "CM971",
            Ckpt::new().fp8("model.diffusion_model.blocks.0.q", 4, 8, 1),
            comfy(&json!({"format": "float8_e4m3fn"})),
        ),
        (
            "CM972",
            comfy_layers(&json!({"blocks.0.q": {"format": "float8_e4m3fn"}})),
            comfy(&json!({"format": "float8_e4m3fn"})),
        ),
        (
            "CM973",
            comfy(&json!({"format": "float8_e4m3fn", "full_precision_matrix_mult": true})),
            comfy(&json!({"format": "float8_e4m3fn", "full_precision_matrix_mult": false})),
        ),
    ]
}

/// Three calibrated experts.
fn experts() -> Ckpt {
    (0..3).fold(Ckpt::new(), |c, i| c.nvfp4(&format!("layers.0.mlp.experts.{i}.up_proj"), 4, 32, i))
}

/// Two experts of 32 outputs and 64 inputs in one tensor, with scales of a given shape.
pub(crate) fn stack(scales: &[u64]) -> Ckpt {
    let count = scales.iter().product::<u64>() as usize;
    Ckpt::new()
        .tensor("mlp.experts.up_proj", "U8", &[2, 32, 32], vec![0x31; 2048])
        .tensor("mlp.experts.up_proj_weight_scale", "F8_E4M3", scales, vec![0x38; count])
        .number("mlp.experts.up_proj_weight_scale_2", 0.01)
}

pub(crate) fn comfy_layers(layers: &Value) -> Ckpt {
    let metadata = json!({"format_version": "1.0", "layers": layers});
    Ckpt::new().fp8("model.diffusion_model.blocks.0.q", 4, 8, 1).metadata("_quantization_metadata", &metadata)
}

/// A ComfyUI checkpoint of one layer with the given entry.
pub(crate) fn comfy(entry: &Value) -> Ckpt {
    comfy_layers(&json!({"model.diffusion_model.blocks.0.q": entry}))
}
