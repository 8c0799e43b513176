//! Rules over several files.

use super::{Fixtures, sound, two_shards};
use crate::fixture::Ckpt;
use serde_json::json;

pub(super) fn rules() -> Fixtures {
    vec![
        (
            "IX801",
            two_shards().index(|i| i["weight_map"]["mlp.ghost.weight"] = json!("third.safetensors")),
            two_shards().index(|_| ()),
        ),
        (
            "IX802",
            two_shards().index(|i| i["weight_map"]["mlp.up.weight"] = json!("other.safetensors")),
            two_shards().index(|i| i["weight_map"]["mlp.up.weight"] = json!("model.safetensors")),
        ),
        (
            "IX803",
            two_shards().index(|i| {
                i["weight_map"].as_object_mut().unwrap().remove("mlp.down.input_scale");
            }),
            two_shards().index(|i| i["metadata"]["format"] = json!("pt")),
        ),
        (
            "IX804",
            sound().file(|mut bytes| {
                bytes.pop();
                bytes
            }),
            sound(),
        ),
        (
            "IX805",
            two_shards().index(|i| i["metadata"]["total_size"] = json!(1)),
            two_shards().index(|i| {
                i["metadata"].as_object_mut().unwrap().remove("total_size");
            }),
        ),
        (
            "IX806",
            two_shards().plain("same", &[2, 2], 1).shard("third.safetensors").plain("same", &[2, 2], 1),
            two_shards().plain("same.a", &[2, 2], 1).shard("third.safetensors").plain("same.b", &[2, 2], 2),
        ),
        (
            "IX808",
            two_shards().text("model.safetensors.index.json", "{\"weight_map\": []}"),
            two_shards().text("tokenizer.json", "not JSON at all"),
        ),
        (
            "IX809",
            two_shards().index(|i| i["weight_map"]["x"] = json!("../model.safetensors")),
            two_shards().index(|i| i["weight_map"]["mlp.up.weight"] = json!("model.safetensors")),
        ),
        (
            "IX807",
            two_shards().change_shard("mlp.up.weight_scale", 1),
            // A bias of a plain layer is no companion of codes.
            two_shards().plain("norm", &[4], 1).shard("third.safetensors").tensor(
                "norm.bias",
                "BF16",
                &[4],
                vec![0; 8],
            ),
        ),
        ("SC004", copies().without("mlp.up.input_scale"), copies()),
    ]
}

/// Two whole files of one model. What is taken away is taken from the first.
fn copies() -> Ckpt {
    Ckpt::new()
        .nvfp4("mlp.up", 4, 32, 1)
        .nvfp4("mlp.down", 4, 48, 2)
        .shard("model-full.safetensors")
        .nvfp4("mlp.up", 4, 32, 1)
        .nvfp4("mlp.down", 4, 48, 2)
}
