//! A checkpoint as large as those that people convert, but cheap to make: BF16 layers of a real width whose first and
//! last rows are random, and holes between, which read as zeros.

use super::weights::Random;
use super::write_json;
use anyhow::{Context as _, Result, ensure};
use quantscope_format::{HeaderLayout, TensorSpec};
use quantscope_numeric::Dtype;
use serde_json::{Map, json};
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

const HIDDEN: u64 = 8192;
const WIDE: u64 = 28_672;
const VOCABULARY: u64 = 128_256;
/// Random bytes at either end of a tensor.
const RANDOM_BYTES: u64 = 1 << 20;
/// Bytes of tensors in a file, about.
const SHARD_BYTES: u64 = 5_000_000_000;

fn bytes(spec: &TensorSpec) -> u64 {
    spec.shape.iter().product::<u64>() * 2
}

/// Tensors of whole layers, up to that many bytes.
fn tensors(total: u64) -> Vec<TensorSpec> {
    let plain = |name: String, shape: &[u64]| TensorSpec { name, dtype: Dtype::BF16, shape: shape.into() };
    let mut list = vec![
        plain("model.embed_tokens.weight".into(), &[VOCABULARY, HIDDEN]),
        plain("model.norm.weight".into(), &[HIDDEN]),
    ];
    for layer in 0_u64.. {
        let module = format!("model.layers.{layer}");
        let layer = [
            ("input_layernorm", vec![HIDDEN]),
            ("mlp.down_proj", vec![HIDDEN, WIDE]),
            ("mlp.gate_proj", vec![WIDE, HIDDEN]),
            ("mlp.up_proj", vec![WIDE, HIDDEN]),
            ("self_attn.q_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.o_proj", vec![HIDDEN, HIDDEN]),
        ]
        .map(|(leaf, shape)| plain(format!("{module}.{leaf}.weight"), &shape));
        let filled: u64 = list.iter().chain(&layer).map(bytes).sum();
        if filled > total {
            break;
        }
        list.extend(layer);
    }
    list
}

/// BF16 numbers of either sign around 2^-8.
fn random_numbers(random: &mut Random, len: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(len)?);
    for _ in 0..len / 2 {
        let [low, high, ..] = random.next().to_le_bytes();
        bytes.extend([low, 0x3b ^ (high & 0x81)]);
    }
    Ok(bytes)
}

/// Writes the checkpoint into a folder; answers the bytes of its tensors.
pub(crate) fn write(folder: &Path, total: u64) -> Result<u64> {
    std::fs::create_dir_all(folder)?;
    let tensors = tensors(total);
    ensure!(tensors.len() > 2, "less than one layer fits into {total} bytes");
    let mut shards: Vec<(u64, Vec<TensorSpec>)> = Vec::new();
    for tensor in tensors {
        let size = bytes(&tensor);
        match shards.last_mut().filter(|(filled, _)| filled + size <= SHARD_BYTES) {
            Some((filled, shard)) => {
                *filled += size;
                shard.push(tensor);
            }
            None => shards.push((size, vec![tensor])),
        }
    }
    let count = shards.len();
    let mut map = Map::new();
    for (i, (_, specs)) in shards.iter().enumerate() {
        let name = format!("model-{:05}-of-{count:05}.safetensors", i + 1);
        let layout = HeaderLayout::new(specs, &[("format".into(), "pt".into())])?;
        let path = folder.join(&name);
        let mut file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        file.write_all(&layout.bytes)?;
        file.set_len(layout.file_len)?;
        for (spec, span) in specs.iter().zip(&layout.spans) {
            let mut random = Random::of(&spec.name);
            let len = RANDOM_BYTES.min(bytes(spec));
            for at in [span.start, span.end - len] {
                file.seek(SeekFrom::Start(at))?;
                file.write_all(&random_numbers(&mut random, len)?)?;
            }
        }
        map.extend(specs.iter().map(|spec| (spec.name.clone(), json!(name))));
    }
    let filled = shards.iter().map(|(filled, _)| filled).sum();
    let index = json!({"metadata": {"total_size": filled}, "weight_map": map});
    write_json(&folder.join("model.safetensors.index.json"), &index)?;
    let config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": WIDE,
        "vocab_size": VOCABULARY,
        "tie_word_embeddings": true,
        "torch_dtype": "bfloat16",
    });
    write_json(&folder.join("config.json"), &config)?;
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_what_was_asked_for() {
        for total in [20_000_000_000, 7_000_000_000] {
            let filled: u64 = tensors(total).iter().map(bytes).sum();
            assert!(filled <= total && filled + 2_000_000_000 > total, "{filled} of {total}");
        }
    }
}
