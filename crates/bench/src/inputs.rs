//! The inputs: the same bytes on every machine, made of integers and exactly rounded operations.

use anyhow::{Context as _, Result};
use half::bf16;
use quantscope_format::{HeaderLayout, TensorSpec};
use quantscope_numeric::Dtype;
use serde_json::{Map, json};
use std::fs::File;
use std::io::{BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// Rows and columns of the two large matrices, and of the one whose rows are no whole blocks.
const MATRIX: [u64; 2] = [4096, 14_336];
const RAGGED: [u64; 2] = [4099, 14_323];

/// Tensors of the headers; that of 100,000 has 13 MB of JSON. A million would be more than the 100 MB that readers take.
const HEADER_TENSORS: [u64; 4] = [1_000, 10_000, 100_000, 700_000];
/// Shards, and tensors of all of them, of the checkpoint in many files.
const SHARDS: u64 = 163;
const SHARD_TENSORS: u64 = 91_991;

/// Sides of the checkpoint that is converted.
const HIDDEN: u64 = 2048;
const WIDE: u64 = 8192;
const VOCABULARY: u64 = 32_000;

/// `SplitMix64` (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1), in steps of 2^-16.
    fn uniform(&mut self) -> f64 {
        let [a, b, ..] = self.next().to_le_bytes();
        f64::from(u16::from_le_bytes([a, b])) / 65536.0
    }

    /// Nearly standard normal: the sum of twelve uniforms (Irwin-Hall), less six.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// How weights are distributed.
#[derive(Clone, Copy)]
enum Tails {
    /// Nearly normal with a deviation of 1/64.
    Gaussian,
    /// The same over the square root of a uniform number: Student's t with two degrees of freedom, nearly.
    Heavy,
}

/// Weights drawn from 65,536 values of the distribution.
struct Weights {
    random: Random,
    values: Vec<[u8; 2]>,
}

impl Weights {
    fn new(seed: u64, tails: Tails) -> Self {
        let mut random = Random(seed);
        let value = |random: &mut Random| {
            let normal = random.normal() / 64.0;
            let value = match tails {
                Tails::Gaussian => normal,
                Tails::Heavy => normal / (random.uniform() + 1.0 / 65536.0).sqrt(),
            };
            bf16::from_f64(value).to_le_bytes()
        };
        let values = (0..1 << 16).map(|_| value(&mut random)).collect();
        Self { random, values }
    }

    /// Writes so many BF16 numbers.
    fn write(&mut self, count: u64, out: &mut impl std::io::Write) -> Result<()> {
        let mut left = count;
        while left > 0 {
            let mut four = [[0; 2]; 4];
            for (value, index) in four.iter_mut().zip(self.random.next().to_le_bytes().as_chunks::<2>().0) {
                *value =
                    self.values.get(usize::from(u16::from_le_bytes(*index))).copied().unwrap_or_default();
            }
            let now = left.min(4);
            out.write_all(four.as_flattened().get(..usize::try_from(now * 2)?).unwrap_or_default())?;
            left -= now;
        }
        Ok(())
    }
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
    Ok(BufWriter::with_capacity(1 << 20, file))
}

/// Writes all inputs into a folder; the checkpoint has about so many megabytes of tensors.
pub(crate) fn make(folder: &Path, megabytes: u64) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let matrices = [
        ("gaussian.bin", MATRIX, Tails::Gaussian),
        ("heavy.bin", MATRIX, Tails::Heavy),
        ("ragged.bin", RAGGED, Tails::Gaussian),
    ];
    for (seed, (name, [rows, cols], tails)) in (1..).zip(matrices) {
        let mut out = create(&folder.join(name))?;
        Weights::new(seed, tails).write(rows * cols, &mut out)?;
        out.flush()?;
    }
    headers(folder, &HEADER_TENSORS)?;
    shards(&folder.join("shards"))?;
    checkpoint(&folder.join("model"), megabytes, Filling::Whole)
}

/// The name of a tensor that each expert of a large model has: as long as many tensors in one file have it.
fn of_expert(number: u64, tensor: &str) -> String {
    let (leaf, number) = (number % 3, number / 3);
    let leaf = ["down_proj", "gate_proj", "up_proj"].get(usize::try_from(leaf).unwrap_or(0)).unwrap_or(&"");
    let (layer, expert) = (number / 256, number % 256);
    format!("model.layers.{layer}.mlp.experts.{expert}.{leaf}.{tensor}")
}

/// Such a tensor, in a shape as small as many of them in one file need.
fn expert(number: u64) -> TensorSpec {
    TensorSpec { name: of_expert(number, "weight_scale_inv"), dtype: Dtype::F32, shape: vec![16, 56] }
}

/// Files of which only the header is written; the data is a hole.
fn write_hollow(path: &Path, specs: &[TensorSpec]) -> Result<()> {
    let layout = HeaderLayout::new(specs, &[("format".into(), "pt".into())])?;
    let mut file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
    file.write_all(&layout.bytes)?;
    file.set_len(layout.file_len)?;
    Ok(())
}

fn headers(folder: &Path, counts: &[u64]) -> Result<()> {
    for &count in counts {
        let specs: Vec<TensorSpec> = (0..count).map(expert).collect();
        write_hollow(&folder.join(format!("header-{count}.safetensors")), &specs)?;
    }
    Ok(())
}

fn shards(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut map = Map::new();
    for shard in 0..SHARDS {
        let name = format!("model-{:05}-of-{SHARDS:05}.safetensors", shard + 1);
        let tensors = SHARD_TENSORS * shard / SHARDS..SHARD_TENSORS * (shard + 1) / SHARDS;
        let specs: Vec<TensorSpec> = tensors.map(expert).collect();
        write_hollow(&folder.join(&name), &specs)?;
        map.extend(specs.iter().map(|spec| (spec.name.clone(), json!(name))));
    }
    let index = json!({"metadata": {"total_size": SHARD_TENSORS * 16 * 56 * 4}, "weight_map": map});
    write_json(&folder.join("model.safetensors.index.json"), &index)
}

fn write_json(path: &Path, value: &serde_json::Value) -> Result<()> {
    std::fs::write(path, serde_json::to_vec_pretty(value)?)
        .with_context(|| format!("writing {}", path.display()))
}

fn bytes(spec: &TensorSpec) -> u64 {
    spec.shape.iter().product::<u64>() * 2
}

/// Bytes that are drawn at the start of each tensor of a checkpoint with holes.
const EDGE: u64 = 4096;

/// What a checkpoint is filled with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filling {
    /// Every byte is drawn: there are no holes that would be read faster than others.
    Whole,
    /// Each tensor begins with numbers and goes on as a hole: sizes for which there is no room.
    Holes,
}

/// A checkpoint in one file.
pub(crate) fn checkpoint(folder: &Path, megabytes: u64, filling: Filling) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let plain = |name: String, shape: &[u64]| TensorSpec { name, dtype: Dtype::BF16, shape: shape.into() };
    let mut specs = vec![
        plain("model.embed_tokens.weight".into(), &[VOCABULARY, HIDDEN]),
        plain("model.norm.weight".into(), &[HIDDEN]),
    ];
    for layer in 0_u64.. {
        let filled: u64 = specs.iter().map(bytes).sum();
        if filled >= megabytes * 1_000_000 {
            break;
        }
        let parts = [
            ("input_layernorm", vec![HIDDEN]),
            ("mlp.down_proj", vec![HIDDEN, WIDE]),
            ("mlp.gate_proj", vec![WIDE, HIDDEN]),
            ("mlp.up_proj", vec![WIDE, HIDDEN]),
            ("self_attn.q_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.k_proj", vec![HIDDEN / 4, HIDDEN]),
            ("self_attn.v_proj", vec![HIDDEN / 4, HIDDEN]),
            ("self_attn.o_proj", vec![HIDDEN, HIDDEN]),
            ("post_attention_layernorm", vec![HIDDEN]),
        ];
        specs.extend(parts.map(|(leaf, shape)| plain(format!("model.layers.{layer}.{leaf}.weight"), &shape)));
    }
    write_weights(folder, &specs, filling)?;
    write_config(folder)
}

/// A checkpoint in one file that has so many layers, each a small one.
pub(crate) fn experts(folder: &Path, count: u64) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let plain = |i| TensorSpec { name: of_expert(i, "weight"), dtype: Dtype::BF16, shape: vec![32, 64] };
    let specs: Vec<TensorSpec> = (0..count).map(plain).collect();
    write_weights(folder, &specs, Filling::Whole)?;
    write_config(folder)
}

fn write_weights(folder: &Path, specs: &[TensorSpec], filling: Filling) -> Result<()> {
    let layout = HeaderLayout::new(specs, &[("format".into(), "pt".into())])?;
    let mut out = create(&folder.join("model.safetensors"))?;
    out.write_all(&layout.bytes)?;
    let mut weights = Weights::new(7, Tails::Gaussian);
    match filling {
        Filling::Whole => {
            // The layout puts the tensors in its own order; they all hold the same kind of numbers.
            let filled = layout.file_len - layout.bytes.len() as u64;
            weights.write(filled / 2, &mut out)?;
        }
        Filling::Holes => {
            for span in &layout.spans {
                out.seek(SeekFrom::Start(span.start))?;
                weights.write((span.end - span.start).min(EDGE) / 2, &mut out)?;
            }
        }
    }
    out.flush()?;
    out.get_ref().set_len(layout.file_len)?;
    Ok(())
}

fn write_config(folder: &Path) -> Result<()> {
    let config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": WIDE,
        "vocab_size": VOCABULARY,
        "tie_word_embeddings": true,
        "torch_dtype": "bfloat16",
    });
    write_json(&folder.join("config.json"), &config)
}
