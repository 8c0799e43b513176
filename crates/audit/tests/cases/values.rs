//! Rules that read tensor bytes.

use super::{Fixtures, sound};
use crate::fixture::Ckpt;
use serde_json::json;

pub(super) fn rules() -> Fixtures {
    let fp8 = || Ckpt::new().fp8("a", 4, 8, 1);
    vec![
        (
            "SV101",
            sound().change("mlp.up.weight_scale", |t| t.bytes[3] = 0x7f),
            sound().change("mlp.up.weight_scale", |t| t.bytes[3] = 0x7e),
        ),
        (
            "SV102",
            sound().change("mlp.up.weight_scale", |t| t.bytes[3] = 0x00),
            sound()
                .change("mlp.up.weight_scale", |t| t.bytes[3] = 0x00)
                .change("mlp.up.weight", |t| t.bytes[24..32].fill(0x80)),
        ),
        (
            "SV104",
            fp8().change("a.weight", |t| t.bytes[5] = 0xff),
            fp8().change("a.weight", |t| t.bytes[5] = 0xfe),
        ),
        // Powers of two are bytes, of which the last is NaN.
        ("SV101", mx(0x31, 0xff), mx(0x31, 0xfe)),
        // The same byte is a code in MXFP8 and two codes in MXFP4.
        ("SV104", mx8(0x7f), mx(0x7f, 0x70)),
        ("SV102", blocks_of_32(0x00, 0x31), blocks_of_32(0x00, 0x80)),
        (
            "TI702",
            sound().nvfp4("copy", 4, 32, 1),
            // One bit differs; and equal vectors are no tie.
            sound()
                .nvfp4("copy", 4, 32, 1)
                .change("copy.weight", |t| t.bytes[63] ^= 1)
                .plain("n.a", &[4], 1)
                .plain("n.b", &[4], 1),
        ),
        (
            "SV103",
            sound()
                .change("mlp.up.weight_scale", |t| t.bytes[3] = 0x00)
                .change("mlp.up.weight", |t| t.bytes[24..32].fill(0x80)),
            // The reference writes a scale of 1 for a block of zeros.
            sound().change("mlp.up.weight", |t| t.bytes[24..32].fill(0x80)),
        ),
        (
            "SV105",
            sound().set("mlp.up.weight_scale_2", 3584.0),
            // Above 1, but weights of either size would be odd.
            sound().set("mlp.up.weight_scale_2", 1.5),
        ),
        (
            "SV106",
            spread_of(|i| if i % 5 == 0 { 0x7e } else { 0x40 + i % 32 }),
            // The last steps are filled as evenly as those before.
            spread_of(|i| 0x6f + i % 16),
        ),
        (
            "FU961",
            Ckpt::new()
                .nvfp4("attn.q_proj", 4, 32, 1)
                .nvfp4("attn.k_proj", 4, 32, 2)
                .set("attn.k_proj.weight_scale_2", 0.02),
            Ckpt::new()
                .nvfp4("attn.q_proj", 4, 32, 1)
                .nvfp4("attn.o_proj", 4, 32, 2)
                .set("attn.o_proj.weight_scale_2", 0.02),
        ),
        ("TI703", tied_pair().change("lm_head.weight", |t| t.bytes[9] ^= 1), tied_pair()),
        (
            "TI704",
            sound().nvfp4("copy", 4, 32, 1).set("copy.input_scale", 0.03),
            sound().nvfp4("copy", 4, 32, 1),
        ),
    ]
}

/// A layer of 128 blocks whose scales are given by their number.
fn spread_of(scale: fn(u8) -> u8) -> Ckpt {
    Ckpt::new().nvfp4_of("a", 32, vec![0x31; 64 * 16], (0..128).map(scale).collect())
}

/// An embedding and the head that the config ties to it.
fn tied_pair() -> Ckpt {
    Ckpt::new()
        .plain("model.embed_tokens", &[4, 8], 1)
        .plain("lm_head", &[4, 8], 1)
        .json("config.json", &json!({"tie_word_embeddings": true}))
}

/// An MXFP4 layer of two rows of two blocks, with one code pair and the scale of one block given.
fn mx(codes: u8, scale: u8) -> Ckpt {
    let mut scales = vec![0x70; 4];
    scales[2] = scale;
    Ckpt::new().tensor("a.weight", "U8", &[2, 32], vec![codes; 64]).tensor(
        "a.weight_scale",
        "U8",
        &[2, 2],
        scales,
    )
}

/// An MXFP8 layer of one row with one code given.
fn mx8(code: u8) -> Ckpt {
    let mut codes = vec![0x38; 64];
    codes[40] = code;
    Ckpt::new().tensor("a.weight", "F8_E4M3", &[1, 64], codes).tensor(
        "a.weight_scale",
        "U8",
        &[1, 2],
        vec![0x70; 2],
    )
}

/// An NVFP4 layer in blocks of 32: the second block of its row has that scale and those codes.
fn blocks_of_32(scale: u8, codes: u8) -> Ckpt {
    let codes = [vec![0x31; 16], vec![codes; 16]].concat();
    Ckpt::new()
        .tensor("a.weight", "U8", &[1, 32], codes)
        .tensor("a.weight_scale", "F8_E4M3", &[1, 2], vec![0x60, scale])
        .number("a.weight_scale_2", 0.001)
}
