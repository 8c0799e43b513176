//! For each rule a checkpoint that trips it and one that nearly does and must not.

mod config;
mod files;
pub(crate) mod headers;
pub(crate) mod layouts;
mod structure;
mod values;

use crate::fixture::{Ckpt, targets};
use serde_json::json;

/// Rule, the checkpoint that trips it, its neighbour.
pub(crate) type Fixtures = Vec<(&'static str, Ckpt, Ckpt)>;

/// A sound little model: NVFP4, declared, an excluded head.
pub(crate) fn sound() -> Ckpt {
    Ckpt::new()
        .nvfp4("mlp.up", 4, 32, 1)
        .nvfp4("mlp.down", 4, 48, 2)
        .plain("lm_head", &[4, 8], 3)
        .declares("NVFP4", &["lm_head"])
}

pub(crate) fn two_shards() -> Ckpt {
    Ckpt::new().nvfp4("mlp.up", 4, 32, 1).shard("other.safetensors").nvfp4("mlp.down", 4, 48, 2)
}

/// A flattened convolution of a Wan VAE: 3 channels of 3 x 3 x 3, so 81 columns of 96.
pub(crate) fn conv() -> Ckpt {
    let config = json!({"_class_name": "AutoencoderKLWan", "quantization_config": {"quant_method": "modelopt",
        "quant_algo": "NVFP4", "ignore": [], "config_groups": {"group_0": {"targets": ["Conv3d"]}}}});
    Ckpt::new().nvfp4("decoder.conv1", 2, 96, 5).json("config.json", &config).change(
        "decoder.conv1.weight",
        |t| {
            for row in t.bytes.chunks_mut(48) {
                row[40] &= 0x0f;
                row[41..].fill(0);
            }
        },
    )
}

pub(crate) fn all() -> Fixtures {
    let families = [headers::rules(), config::rules(), files::rules(), structure::rules(), values::rules()];
    families.into_iter().flatten().chain(layouts::rules()).chain(targets::target_rules()).collect()
}
