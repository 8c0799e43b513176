//! The samples the page offers to a visitor without files, made here and never committed.
//!
//! `convert` is a BF16 source like a small Wan VAE, with weights of our own making; `sound` is what
//! `quantscope convert` makes of it; `faults` is a copy with planted faults. Each folder lists its files in
//! `files.json`, since a page cannot list a folder.

mod checkpoint;
mod faults;
pub(crate) mod full_size;
pub(crate) mod moe;
mod vae;
mod weights;

use crate::project::Project;
use anyhow::{Context as _, Result};
use checkpoint::{Entry, Weights};
use quantscope_numeric::Dtype;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use xshell::cmd;

/// Raised when the samples change, so that old ones are made again.
const EDITION: &str = "1";
/// The one weight file of a diffusers component.
const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";
/// Small enough to load at once, wide enough that rows are padded (20 x 27 is no multiple of 16).
const SIZES: vae::Sizes = vae::Sizes { base_dim: 20, dim_mult: [1, 2, 2, 2], num_res_blocks: 2, z_dim: 16 };

/// Makes the samples unless they are there in this edition.
pub(crate) fn make_if_missing(project: &Project) -> Result<()> {
    let edition = std::fs::read_to_string(folder(project).join("edition"));
    if edition.is_ok_and(|edition| edition == EDITION) { Ok(()) } else { make(project) }
}

/// Makes the samples beside their place and moves them there when they are complete.
pub(crate) fn make(project: &Project) -> Result<()> {
    println!("Making the samples");
    let building = project.target().join("samples");
    if building.exists() {
        std::fs::remove_dir_all(&building)?;
    }
    let [source, sound, faulty] = ["convert", "sound", "faults"].map(|name| building.join(name));
    std::fs::create_dir_all(&source)?;
    write_source(&source)?;
    let calibration = building.join("calibration.json");
    write_json(&calibration, &calibration_of_source())?;
    convert(project, &source, &sound, &calibration)?;
    std::fs::remove_file(&calibration)?;
    copy_with_faults(&sound, &faulty)?;
    for sample in [&source, &sound, &faulty] {
        list_files(sample)?;
    }
    std::fs::write(building.join("edition"), EDITION)?;
    let place = folder(project);
    if place.exists() {
        std::fs::remove_dir_all(&place)?;
    }
    std::fs::rename(&building, &place).with_context(|| format!("moving the samples to {}", place.display()))
}

/// The command-line tool of this checkout, built if it is not.
pub(crate) fn command_line(project: &Project) -> Result<PathBuf> {
    cmd!(project.sh, "cargo build --locked --package quantscope").run()?;
    Ok(project.target().join("debug").join(format!("quantscope{}", std::env::consts::EXE_SUFFIX)))
}

fn folder(project: &Project) -> PathBuf {
    project.root.join("web/samples")
}

fn write_source(folder: &Path) -> Result<()> {
    let entries = vae::tensors(&SIZES)
        .into_iter()
        .map(|tensor| Entry {
            bytes: weights::bf16_bytes(&tensor),
            name: tensor.name,
            dtype: Dtype::BF16,
            shape: tensor.shape,
        })
        .collect();
    Weights { entries }.write(&folder.join(WEIGHTS))?;
    write_json(
        &folder.join("config.json"),
        &json!({
            "_class_name": "AutoencoderKLWan",
            "_diffusers_version": "0.42.1",
            "attn_scales": [],
            "base_dim": SIZES.base_dim,
            "dim_mult": SIZES.dim_mult,
            "dropout": 0.0,
            "in_channels": 3,
            "is_residual": false,
            "num_res_blocks": SIZES.num_res_blocks,
            "out_channels": 3,
            "temperal_downsample": [false, true, true],
            "z_dim": SIZES.z_dim
        }),
    )
}

/// Invented activation maxima, as a calibration run would have left them.
fn calibration_of_source() -> Value {
    let maxima =
        vae::tensors(&SIZES).into_iter().filter(|tensor| tensor.shape.len() == 5).filter_map(|tensor| {
            let module = tensor.name.strip_suffix(".weight")?;
            let amax = 0.05 + 0.25 * weights::Random::of(module).uniform();
            Some((format!("{module}.input_quantizer"), json!({ "amax": amax })))
        });
    Value::Object(maxima.collect())
}

fn convert(project: &Project, source: &Path, sound: &Path, calibration: &Path) -> Result<()> {
    let cli = command_line(project)?;
    cmd!(
        project.sh,
        "{cli} convert {source} -o {sound} --to nvfp4 --exclude *conv_in* --calibration {calibration} --engine cpu"
    )
    .run()
    .context("the sound sample could not be converted")
}

fn copy_with_faults(sound: &Path, faulty: &Path) -> Result<()> {
    std::fs::create_dir_all(faulty)?;
    let mut weights = Weights::read(&sound.join(WEIGHTS))?;
    faults::plant(&mut weights)?;
    weights.write(&faulty.join(WEIGHTS))?;
    let text = std::fs::read_to_string(sound.join("config.json"))?;
    let mut config: Value = serde_json::from_str(&text)?;
    faults::promise(&mut config)?;
    write_json(&faulty.join("config.json"), &config)
}

fn list_files(sample: &Path) -> Result<()> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(sample)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    write_json(&sample.join("files.json"), &json!(names))
}

fn write_json(file: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    std::fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))
}
