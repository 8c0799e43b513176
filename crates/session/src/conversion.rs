//! A conversion as plain data: what is asked, what is planned, what was done.

use serde::{Deserialize, Serialize};

/// What a conversion is asked to do. Fields mirror the flags of `quantscope convert`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvertRequest {
    /// What the recipe is called.
    #[serde(default)]
    pub name: Option<String>,
    /// Scheme id, such as `nvfp4`, or `bf16`, `f16`, `f32` to dequantize; nothing leaves values alone.
    pub to: String,
    /// Scheme by kind, such as `linear` and `nvfp4`, in place of `to`: kinds that are not named are kept, but
    /// for experts, which count as linear.
    #[serde(default)]
    pub by_kind: Vec<(String, String)>,
    /// Globs of modules that stay as they are.
    pub exclude: Vec<String>,
    /// Single rules `GLOB=ID|keep`, the first match wins.
    pub layers: Vec<String>,
    /// `bf16`, `f16`, `f32`: the dtype packed weights are cast to before their codes are taken; without any scheme,
    /// that of every floating tensor.
    pub dtype: Option<String>,
    /// Calibration as JSON text (`{"<module>.input_quantizer": {"amax": 0.1}}`).
    pub calibration_json: Option<String>,
    /// Write NaN bytes for an all-zero tensor as the reference does, instead of refusing it.
    pub zero_tensors_as_reference: bool,
    /// Weights that share a scale, in the schemes that leave it open (`int4`: 128).
    #[serde(default)]
    pub group_size: Option<u64>,
    /// `cpu` (default) or `cuda`: how the quotient of per-tensor FP8 is rounded.
    #[serde(default)]
    pub fp8_rounding: Option<String>,
    /// `lenient` (default) or `strict`: which 3-D convolutions are packed.
    #[serde(default)]
    pub conv3d: Option<String>,
    /// `by-name` (default), `keep-input-scale` or `off`: what becomes of tensors that share their values.
    #[serde(default)]
    pub ties: Option<String>,
    /// Path prefix of the sides of ties that stay, such as `model.decoder`.
    #[serde(default)]
    pub canonical: Option<String>,
    /// Declared ties: `ALIAS=CANONICAL` module patterns, `*` being the same text on both sides; or entries of a list,
    /// which gives no direction: names, prefixes, patterns.
    #[serde(default)]
    pub declared_ties: Vec<String>,
    /// Write the aliases of ties again, for runtimes that need both copies.
    #[serde(default)]
    pub expand_ties: bool,
    /// Rules of renaming, as JSON text.
    #[serde(default)]
    pub rename_json: Option<String>,
    /// Groups of last path segments that share a global scale; none are the usual ones (q, k, v; gate, up; w1, w3).
    #[serde(default)]
    pub fuse_groups: Vec<Vec<String>>,
    /// Join groups such as q, k and v into one tensor.
    #[serde(default)]
    pub fuse: bool,
    /// `row` or `row_col`: pad quantized weights; `none`: take padding and tiles off.
    #[serde(default)]
    pub pad: Option<String>,
    /// Write block scales in the tiles that GPUs read.
    #[serde(default)]
    pub swizzle: bool,
    /// Largest shard, such as `5GB`: KB, MB, GB are powers of 1000, KiB, MiB, GiB of 1024.
    #[serde(default)]
    pub shard_size: Option<String>,
    /// Configs that are written, of `config.json` and `hf_quant_config.json`; all that there are without it.
    #[serde(default)]
    pub configs: Option<Vec<String>>,
}

/// What a conversion would write.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanView {
    /// Layers that are packed.
    pub packed: Vec<PlanLayer>,
    /// Layers that are kept although a scheme was asked for, with the reason. Norms are not listed.
    pub kept: Vec<PlanLayer>,
    /// Tensors whose numbers are only rounded to another float type.
    #[serde(default)]
    pub tensors_cast: u64,
    /// Layers that cannot be converted as asked. While there are any, nothing is written.
    #[serde(default)]
    pub refused: Vec<PlanRefusal>,
    /// Files that will be written, with their lengths (weights only; configs are small).
    pub files: Vec<(String, u64)>,
    /// Other files that are copied or written anew.
    pub other_files: Vec<String>,
    /// Bytes of the source's tensors.
    pub bytes_before: u64,
    /// Bytes of the output's tensors.
    pub bytes_after: u64,
    /// Bytes of the source's tensors that ties leave out: copies of others.
    #[serde(default)]
    pub bytes_tied: u64,
    /// Bytes of all files that are written, the manifest left out. They grow under temporary names beside each other,
    /// so that no more room is needed while they are written.
    #[serde(default)]
    pub bytes_to_write: u64,
    /// Bits per weight before.
    pub bits_before: f64,
    /// Bits per weight after.
    pub bits_after: f64,
    /// What the user should know before going on.
    pub warnings: Vec<String>,
}

/// A layer that cannot be converted as asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRefusal {
    /// Module path.
    pub name: String,
    /// What stands against it.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

/// One layer of a plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanLayer {
    /// Module path.
    pub name: String,
    /// Kind.
    pub kind: String,
    /// Scheme of the source.
    pub from: String,
    /// Scheme of the output.
    pub to: String,
    /// Logical shape.
    pub shape: Vec<u64>,
    /// Bytes before.
    pub bytes_before: u64,
    /// Bytes after.
    pub bytes_after: u64,
    /// Whether every value stays the same; `None` if only the data tell.
    #[serde(default)]
    pub lossless: Option<bool>,
    /// Why it is kept, or what is noteworthy.
    pub reason: String,
}

/// What a conversion did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConvertSummary {
    /// Files under their final names, with their lengths.
    pub files: Vec<(String, u64)>,
    /// Layers packed.
    pub packed: u64,
    /// Tensors copied unchanged.
    pub copied: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Engine that quantized.
    pub engine: String,
    /// Whether the output was read back and equals the plan (always true here: otherwise it is an error).
    pub read_back_equal: bool,
    /// Signal to quantization noise per packed layer, in dB, and its largest absolute error.
    pub errors: Vec<LayerError>,
    /// Warnings of the plan and of the run.
    pub warnings: Vec<String>,
}

/// Round-trip error of one packed layer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerError {
    /// Module path.
    pub name: String,
    /// Signal to quantization noise ratio in dB; `None` if nothing was lost or nothing was there.
    pub sqnr_db: Option<f64>,
    /// Largest absolute difference.
    pub max_abs: f64,
}
