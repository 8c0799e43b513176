//! A checkpoint of 671 billion weights for tests of scale: the names and shapes of DeepSeek-V3's FP8
//! release, 91,991 tensors in 163 files. Headers are real, data are holes, so it costs a few megabytes.

use super::write_json;
use anyhow::{Context as _, Result};
use quantscope_format::{HeaderLayout, TensorSpec};
use quantscope_numeric::Dtype;
use serde_json::{Map, Value, json};
use std::path::Path;

const HIDDEN: u64 = 7168;
const VOCABULARY: u64 = 129_280;
/// Layers of the model; the one after them predicts further tokens.
const LAYERS: u64 = 61;
/// The first of them have no experts.
const DENSE: u64 = 3;
const EXPERTS: u64 = 256;
const EXPERT: u64 = 2048;
const DENSE_WIDTH: u64 = 18_432;
/// Files of the release.
const SHARDS: u64 = 163;
/// Side of a tile that shares a scale.
const TILE: u64 = 128;

#[derive(Default)]
struct List(Vec<TensorSpec>);

impl List {
    fn plain(&mut self, name: &str, shape: &[u64]) {
        self.0.push(TensorSpec { name: name.into(), dtype: Dtype::BF16, shape: shape.into() });
    }

    /// A weight in tiles, with its scales.
    fn fp8(&mut self, module: &str, [rows, cols]: [u64; 2]) {
        let name = format!("{module}.weight");
        let scale = format!("{name}_scale_inv");
        let grid = vec![rows.div_ceil(TILE), cols.div_ceil(TILE)];
        self.0.push(TensorSpec { name, dtype: Dtype::F8_E4M3, shape: vec![rows, cols] });
        self.0.push(TensorSpec { name: scale, dtype: Dtype::F32, shape: grid });
    }

    fn gated(&mut self, module: &str, width: u64) {
        self.fp8(&format!("{module}.gate_proj"), [width, HIDDEN]);
        self.fp8(&format!("{module}.up_proj"), [width, HIDDEN]);
        self.fp8(&format!("{module}.down_proj"), [HIDDEN, width]);
    }

    fn layer(&mut self, layer: &str, has_experts: bool) {
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            self.plain(&format!("{layer}.{norm}.weight"), &[HIDDEN]);
        }
        let attention = format!("{layer}.self_attn");
        self.fp8(&format!("{attention}.q_a_proj"), [1536, HIDDEN]);
        self.plain(&format!("{attention}.q_a_layernorm.weight"), &[1536]);
        self.fp8(&format!("{attention}.q_b_proj"), [24_576, 1536]);
        self.fp8(&format!("{attention}.kv_a_proj_with_mqa"), [576, HIDDEN]);
        self.plain(&format!("{attention}.kv_a_layernorm.weight"), &[512]);
        self.fp8(&format!("{attention}.kv_b_proj"), [32_768, 512]);
        self.fp8(&format!("{attention}.o_proj"), [HIDDEN, 16_384]);
        if !has_experts {
            return self.gated(&format!("{layer}.mlp"), DENSE_WIDTH);
        }
        self.plain(&format!("{layer}.mlp.gate.weight"), &[EXPERTS, HIDDEN]);
        let bias = format!("{layer}.mlp.gate.e_score_correction_bias");
        self.0.push(TensorSpec { name: bias, dtype: Dtype::F32, shape: vec![EXPERTS] });
        for expert in 0..EXPERTS {
            self.gated(&format!("{layer}.mlp.experts.{expert}"), EXPERT);
        }
        self.gated(&format!("{layer}.mlp.shared_experts"), EXPERT);
    }
}

/// Every tensor, in the order of the model.
fn tensors() -> Vec<TensorSpec> {
    let mut list = List::default();
    list.plain("model.embed_tokens.weight", &[VOCABULARY, HIDDEN]);
    for layer in 0..=LAYERS {
        list.layer(&format!("model.layers.{layer}"), layer >= DENSE);
    }
    let last = format!("model.layers.{LAYERS}");
    for (name, shape) in [
        ("embed_tokens", &[VOCABULARY, HIDDEN][..]),
        ("enorm", &[HIDDEN]),
        ("hnorm", &[HIDDEN]),
        ("shared_head.norm", &[HIDDEN]),
        ("eh_proj", &[HIDDEN, 2 * HIDDEN]),
        ("shared_head.head", &[VOCABULARY, HIDDEN]),
    ] {
        list.plain(&format!("{last}.{name}.weight"), shape);
    }
    list.plain("model.norm.weight", &[HIDDEN]);
    list.plain("lm_head.weight", &[VOCABULARY, HIDDEN]);
    list.0
}

fn bytes(tensor: &TensorSpec) -> Result<u64> {
    let elements = tensor.shape.iter().product();
    tensor.dtype.byte_len(elements).with_context(|| format!("{}: no whole bytes", tensor.name))
}

fn config() -> Value {
    json!({
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "hidden_size": HIDDEN,
        "vocab_size": VOCABULARY,
        "num_hidden_layers": LAYERS,
        "num_nextn_predict_layers": 1,
        "n_routed_experts": EXPERTS,
        "first_k_dense_replace": DENSE,
        "tie_word_embeddings": false,
        "torch_dtype": "bfloat16",
        "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
            "weight_block_size": [TILE, TILE]},
    })
}

/// Writes the checkpoint into a folder.
pub(crate) fn write(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let tensors = tensors();
    let sizes = tensors.iter().map(bytes).collect::<Result<Vec<u64>>>()?;
    let total: u64 = sizes.iter().sum();
    let mut shards: Vec<Vec<TensorSpec>> = vec![Vec::new(); usize::try_from(SHARDS)?];
    let mut before = 0;
    for (tensor, size) in tensors.into_iter().zip(sizes) {
        let shard = usize::try_from(u128::from(before) * u128::from(SHARDS) / u128::from(total))?;
        shards.get_mut(shard).context("a tensor past the last file")?.push(tensor);
        before += size;
    }
    let mut map = Map::new();
    for (i, specs) in shards.iter().enumerate() {
        let file = format!("model-{:05}-of-{SHARDS:06}.safetensors", i + 1);
        let layout = HeaderLayout::new(specs, &[("format".into(), "pt".into())])?;
        std::fs::write(folder.join(&file), &layout.bytes)?;
        // The rest is a hole.
        std::fs::OpenOptions::new().write(true).open(folder.join(&file))?.set_len(layout.file_len)?;
        map.extend(specs.iter().map(|t| (t.name.clone(), json!(file))));
    }
    write_json(&folder.join("config.json"), &config())?;
    let index = json!({"metadata": {"total_size": total}, "weight_map": map});
    write_json(&folder.join("model.safetensors.index.json"), &index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_the_counts_of_the_release() {
        let tensors = tensors();
        assert_eq!(tensors.len(), 91_991);
        let total: u64 = tensors.iter().map(|t| bytes(t).unwrap()).sum();
        assert!((680..700).contains(&(total / 1_000_000_000)), "{total} bytes");
        assert!(
            tensors.iter().any(|t| t.name == "model.layers.61.mlp.experts.255.down_proj.weight_scale_inv")
        );
    }
}
