//! `cargo xtask fuzz`: every parser, and the way from a corrupt checkpoint to a converted one, under libFuzzer.

use crate::project::Project;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;
use xshell::cmd;

/// Targets of `tests/fuzz`, with the longest input each is given and how many inputs one round of it has.
const TARGETS: [(&str, u64, u64); 7] = [
    ("header", 400, 30_000_000),
    ("index", 600, 3_000_000),
    ("model_config", 600, 3_000_000),
    ("hf_quant_config", 600, 3_000_000),
    ("glob", 600, 3_000_000),
    ("calibration", 600, 3_000_000),
    ("checkpoint", 64, 200_000),
];

/// Runs every target; `share` of its full number of inputs, in thousandths.
pub(crate) fn run(project: &Project, share: u64) -> Result<()> {
    let tools = project.tools();
    if !tools.join("bin/cargo-fuzz").exists() {
        let build = tools.join("build/fuzz");
        cmd!(project.sh, "cargo install --locked cargo-fuzz --root {tools} --target-dir {build}").run()?;
    }
    let folder = project.root.join("tests/fuzz");
    for (target, longest, inputs) in TARGETS {
        let corpus = folder.join("corpus").join(target);
        seed(project, target, &corpus)?;
        let limits = [format!("-runs={}", (inputs * share / 1000).max(1)), format!("-max_len={longest}")];
        let fuzz = tools.join("bin/cargo-fuzz");
        // The argument `fuzz` is how cargo calls the program.
        cmd!(project.sh, "{fuzz} fuzz run -O --fuzz-dir {folder} {target} {corpus} -- {limits...}")
            .env("RUSTUP_TOOLCHAIN", "nightly")
            .run()
            .with_context(|| format!("fuzzing {target}; the input is in tests/fuzz/artifacts/{target}"))?;
    }
    Ok(())
}

/// Puts the golden data that a target reads among its inputs: headers of weight files, and configs.
fn seed(project: &Project, target: &str, corpus: &Path) -> Result<()> {
    fs::create_dir_all(corpus)?;
    let ending = match target {
        "header" => ".safetensors",
        "index" => ".safetensors.index.json",
        "model_config" => "/config.json",
        "hf_quant_config" => "hf_quant_config.json",
        _ => return Ok(()),
    };
    let mut folders = vec![project.root.join("tests/data")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.to_string_lossy().replace('\\', "/");
            if !name.ends_with(ending) {
                continue;
            }
            let mut bytes = fs::read(&path)?;
            if ending == ".safetensors" {
                let length = bytes.first_chunk().map_or(0, |first: &[u8; 8]| u64::from_le_bytes(*first));
                bytes.truncate(usize::try_from(length).unwrap_or(0).saturating_add(16));
            }
            if bytes.len() < 4096 {
                let root = project.root.to_string_lossy().into_owned();
                fs::write(corpus.join(name.replace(&root, "").replace('/', "_")), bytes)?;
            }
        }
    }
    Ok(())
}
