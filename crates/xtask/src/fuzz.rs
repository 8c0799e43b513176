//! `cargo xtask fuzz`: every promise of `tests/promises` under libFuzzer, and a million headers against the
//! reference's reader.

use crate::project::Project;
use anyhow::{Context as _, Result};
use xshell::cmd;

/// Promises, with the longest input each is given and how many inputs one round of it has.
const TARGETS: [(&str, u64, u64); 10] = [
    ("header", 400, 30_000_000),
    ("index", 600, 3_000_000),
    ("model_config", 600, 3_000_000),
    ("hf_quant_config", 600, 3_000_000),
    ("glob", 600, 3_000_000),
    ("calibration", 600, 3_000_000),
    ("recipe", 600, 3_000_000),
    ("rename_rules", 600, 3_000_000),
    ("manifest", 1200, 3_000_000),
    ("checkpoint", 64, 200_000),
];

/// Headers that are compared with what the `safetensors` crate makes of them.
const HEADERS: u64 = 1_000_000;

/// Runs every target; `share` of its full number of inputs, in thousandths.
pub(crate) fn run(project: &Project, share: u64) -> Result<()> {
    let part = |full: u64| (full * share / 1000).max(1);
    cmd!(project.sh, "cargo test --locked -p quantscope-promises --test differences -- --nocapture")
        .env("QUANTSCOPE_HEADERS", part(HEADERS).max(1000).to_string())
        .run()?;
    let tools = project.tools();
    if !tools.join("bin/cargo-fuzz").exists() {
        let build = tools.join("build/fuzz");
        cmd!(project.sh, "cargo install --locked cargo-fuzz --root {tools} --target-dir {build}").run()?;
    }
    let folder = project.root.join("tests/fuzz");
    for (target, longest, inputs) in TARGETS {
        let corpus = folder.join("corpus").join(target);
        std::fs::create_dir_all(&corpus)?;
        // What is kept is read beside the corpus that grows.
        let mut kept = vec![project.root.join("tests/promises/seeds").join(target)];
        kept.extend(
            Some(project.root.join("tests/promises/found").join(target)).filter(|found| found.exists()),
        );
        let limits = [format!("-runs={}", part(inputs)), format!("-max_len={longest}")];
        let fuzz = tools.join("bin/cargo-fuzz");
        // The argument `fuzz` is how cargo calls the program. No sanitizer: there is no unsafe code to watch, and
        // three times as many inputs are tried in the same time.
        cmd!(
            project.sh,
            "{fuzz} fuzz run -O -s none --fuzz-dir {folder} {target} {corpus} {kept...} -- {limits...}"
        )
        .env("RUSTUP_TOOLCHAIN", "nightly")
        .run()
        .with_context(|| format!("fuzzing {target}; the input is in tests/fuzz/artifacts/{target}"))?;
    }
    Ok(())
}
