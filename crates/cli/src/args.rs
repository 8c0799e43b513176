//! What the command line takes: commands, flags, limits. Their meaning is in `commands`.

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use quantscope_format::Limits;
use quantscope_session::api::EngineChoice;
use quantscope_session::render::Form;
use std::path::PathBuf;

/// Reads, checks and converts safetensors checkpoints with quantized layers (NVFP4, FP8).
#[derive(Debug, Parser)]
#[command(name = "quantscope", version, about, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Raise or lower a limit: header, tensors, name, dims, depth, json or tile (docs/limits.md).
    #[arg(long = "limit", value_name = "NAME=VALUE", global = true, value_parser = parse_limit)]
    pub(crate) limits: Vec<(String, u64)>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What it is: shards, layers, schemes, sizes, bits per weight.
    Inspect(Inspect),
    /// What is wrong with it.
    Audit(Audit),
    /// What quantization would do to one layer.
    Preview(crate::commands::preview::Preview),
    /// Write a copy whose layers are quantized.
    Convert(Box<Convert>),
    /// What differs between two checkpoints, each difference claimed by a cause or reported.
    Diff(crate::commands::diff::Diff),
    /// Write a copy in which what can be mended without quantizing again is mended.
    Repair(Repair),
    /// Check what convert or repair wrote against its manifest.
    Verify(Verify),
    /// Explain a rule, or list all.
    Rules(Rules),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Inspect {
    /// A file, a folder with its index and configs, a glob, or an address: https://… or hf://org/repo[@revision].
    /// Files of one folder are one checkpoint.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// How the report is printed.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// The same as --format json.
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Audit {
    /// A file, a folder with its index and configs, a glob, or an address: https://… or hf://org/repo[@revision].
    /// Files of one folder are one checkpoint.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Check headers and configs only; read no tensor bytes.
    #[arg(long)]
    pub(crate) headers_only: bool,
    /// Engine that checks the bytes.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) engine: EngineArg,
    /// How the report is printed.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// Gravity of findings from which the exit status is 1.
    #[arg(long, value_enum, default_value = "error")]
    pub(crate) fail_on: FailOn,
    /// Leave out the findings of a rule.
    #[arg(long, value_name = "RULE")]
    pub(crate) disable: Vec<String>,
    /// Also check what this runtime needs: vllm, sglang, trtllm, transformers, diffusers, comfyui. May be repeated.
    #[arg(long, value_name = "RUNTIME")]
    pub(crate) target: Vec<String>,
    /// The same as --format json.
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Convert {
    /// The checkpoint: a file, a folder, a glob or an address.
    #[arg(value_name = "SRC")]
    pub(crate) source: PathBuf,
    /// Folder to write. It must not exist, or be empty.
    #[arg(short, long, value_name = "OUT", required_unless_present = "plan")]
    pub(crate) output: Option<PathBuf>,
    /// What to do, as a TOML file; the other flags count before it.
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<PathBuf>,
    /// Scheme of the layers, such as nvfp4 or fp8; bf16, f16 or f32 dequantizes; nothing leaves values alone.
    #[arg(long, value_name = "ID")]
    pub(crate) to: Option<String>,
    /// Scheme of the modules that match, or `keep`; the first match wins.
    #[arg(long = "layer", value_name = "GLOB=ID|keep")]
    pub(crate) layers: Vec<String>,
    /// Keep the modules that match as they are.
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Cast packed weights to this type before their codes are taken; without a scheme, every floating tensor.
    #[arg(long, value_enum)]
    pub(crate) dtype: Option<Dtype>,
    /// Maxima of activations and weights under ModelOpt's state names: JSON, or safetensors (a file or folder).
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<PathBuf>,
    /// Weights that share a scale, in the schemes that leave it open, such as int4 (128 without it).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) group_size: Option<u64>,
    /// How the quotient of per-tensor FP8 is rounded: as the reference does on a CPU, or on a GPU
    /// [default: cpu].
    #[arg(long, value_parser = ["cpu", "cuda"])]
    pub(crate) fp8_rounding: Option<String>,
    /// Which 3-D convolutions are packed: all that can be, or those that the reference's own exporter takes
    /// [default: lenient].
    #[arg(long, value_parser = ["lenient", "strict"])]
    pub(crate) conv3d: Option<String>,
    /// What becomes of tensors that share their values with another [default: by-name].
    #[arg(long, value_parser = ["by-name", "keep-input-scale", "off"])]
    pub(crate) ties: Option<String>,
    /// Path prefix of the sides of ties that stay: model.decoder pairs model.ANY.rest with model.decoder.rest.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) canonical: Option<String>,
    /// Write the aliases of ties again, for runtimes that need both copies.
    #[arg(long)]
    pub(crate) expand_ties: bool,
    /// Rename, split and take stacks apart by the rules of this JSON file.
    #[arg(long, value_name = "RULES.json")]
    pub(crate) rename: Option<PathBuf>,
    /// Join q, k and v, and gate and up, into one tensor each.
    #[arg(long)]
    pub(crate) fuse: bool,
    /// Pad packed weights: their rows, or rows and columns; none takes padding and tiles off.
    #[arg(long, value_parser = ["none", "row", "row_col"])]
    pub(crate) pad: Option<String>,
    /// Write block scales in the tiles that GPUs read.
    #[arg(long)]
    pub(crate) swizzle: bool,
    /// Largest shard, such as 5GB (KB, MB, GB: powers of 1000; KiB, MiB, GiB: of 1024).
    #[arg(long, value_name = "SIZE")]
    pub(crate) shard_size: Option<String>,
    /// What to do with a tensor of zeros only, which the reference turns into NaN.
    #[arg(long, value_enum, default_value = "refuse")]
    pub(crate) zero_tensors: ZeroTensors,
    /// Engine that quantizes; the bytes are the same.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) engine: EngineArg,
    /// Go on with a run that was stopped: its finished files are compared and taken over.
    #[arg(long, conflicts_with = "plan")]
    pub(crate) resume: bool,
    /// Print what would be written and read no tensor bytes.
    #[arg(long)]
    pub(crate) plan: bool,
    /// Print one JSON document and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Repair {
    /// The checkpoint: a file, a folder, a glob or an address.
    #[arg(value_name = "SRC")]
    pub(crate) source: PathBuf,
    /// Folder to write. It must not exist, or be empty.
    #[arg(short, long, value_name = "OUT", required_unless_present = "plan")]
    pub(crate) output: Option<PathBuf>,
    /// Mend the findings of this rule only; without it, all that can be mended. May be repeated.
    #[arg(long = "rule", value_name = "ID")]
    pub(crate) rules: Vec<String>,
    /// Also mend what this runtime needs, as in audit. May be repeated.
    #[arg(long, value_name = "RUNTIME")]
    pub(crate) target: Vec<String>,
    /// Engine that checks the bytes before they are mended.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) engine: EngineArg,
    /// Print what would change and read no tensor bytes.
    #[arg(long)]
    pub(crate) plan: bool,
    /// Print one JSON document and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Verify {
    /// The folder that convert or repair wrote.
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// Also check that it was made of this checkpoint.
    #[arg(long, value_name = "SRC")]
    pub(crate) against: Option<PathBuf>,
    /// Print one JSON document and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Rules {
    /// A rule, such as LK401; all without it.
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Print one JSON document and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineArg {
    /// A hardware GPU if there is one, else the CPU.
    Auto,
    /// The CPU on all its cores.
    Cpu,
    /// WebGPU through Vulkan, Metal or DirectX, even if software.
    Gpu,
}

impl From<EngineArg> for EngineChoice {
    fn from(arg: EngineArg) -> Self {
        match arg {
            EngineArg::Auto => Self::Auto,
            EngineArg::Cpu => Self::Cpu,
            EngineArg::Gpu => Self::Gpu,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// The JSON report.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Markdown, for a pull request.
    Markdown,
}

impl Format {
    /// The form of the report, unless it is printed for people.
    pub(crate) fn form(self, json: bool) -> Option<Form> {
        match self {
            _ if json => Some(Form::Json),
            Self::Text => None,
            Self::Json => Some(Form::Json),
            Self::Sarif => Some(Form::Sarif),
            Self::Markdown => Some(Form::Markdown),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    Error,
    Warning,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dtype {
    Bf16,
    F16,
    F32,
}

impl Dtype {
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ZeroTensors {
    /// Refuse the conversion, naming the tensor.
    Refuse,
    /// Write the NaN bytes that the reference writes.
    Reference,
}

impl Args {
    pub(crate) fn wants_json(&self) -> bool {
        match &self.command {
            Command::Inspect(c) => c.json || c.format == Format::Json,
            Command::Audit(c) => c.json || c.format == Format::Json,
            Command::Preview(c) => c.json,
            Command::Convert(c) => c.json,
            Command::Diff(c) => c.json,
            Command::Repair(c) => c.json,
            Command::Verify(c) => c.json,
            Command::Rules(c) => c.json,
        }
    }

    /// The default limits with those of `--limit`.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        for (name, value) in &self.limits {
            // Names and values were checked when they were parsed.
            let _ = limits.set(name, *value);
        }
        limits
    }
}

fn parse_limit(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, such as tile=4194304")?;
    let number = value.parse().map_err(|_| format!("{value:?} is no whole number"))?;
    Limits::default().set(name, number)?;
    Ok((name.to_owned(), number))
}

#[cfg(test)]
mod tests {
    use super::{Args, parse_limit};
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn limits_are_checked_as_they_are_read() {
        assert_eq!(parse_limit("tile=1024"), Ok(("tile".to_owned(), 1024)));
        for wrong in ["tile", "tile=", "tile=-1", "tile=0", "size=3", "=3"] {
            assert!(parse_limit(wrong).is_err(), "{wrong}");
        }
    }
}
