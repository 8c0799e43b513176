//! Builds the page with Trunk, as the root's `Trunk.toml` says.

use crate::project::Project;
use crate::setup::{self, PageTools};
use anyhow::{Context as _, Result};
use std::time::Instant;
use xshell::cmd;

/// Builds the release page into `dist`. Trunk runs offline: it uses the tools that set-up found.
pub(crate) fn build(project: &Project, tools: &PageTools) -> Result<()> {
    println!("Building the page");
    let start = Instant::now();
    // Trunk hands its own offline flag down to cargo, so the crates have to be there before.
    let target = setup::WASM_TARGET;
    cmd!(project.sh, "cargo fetch --locked --target {target} --target host-tuple").run()?;
    cmd!(project.sh, "trunk build --offline true --skip-version-check")
        // Trunk takes the tool on the path only if its version is the one it wants, so it is told the one there is.
        .env("TRUNK_TOOLS_WASM_OPT", &tools.wasm_opt_version)
        // Some systems set NO_COLOR=1, which Trunk 0.21 refuses to read as a flag.
        .env_remove("NO_COLOR")
        .run()
        .context("the page does not build")?;
    println!("The page is in {} ({:.0} s)", project.dist().display(), start.elapsed().as_secs_f64());
    Ok(())
}
