//! The tools that make the page: the wasm target, Trunk, the wasm-bindgen CLI, wasm-opt.
//!
//! Trunk and the wasm-bindgen CLI are built without optimisation and without debug information, into one
//! target folder, so that the crates both use are compiled once. They are fast enough that way: the time of a
//! page build goes into rustc and wasm-opt.

use super::{install, on_path, shown, system, version_of};
use crate::project::Project;
use anyhow::{Context as _, Result, bail};
use xshell::cmd;

const TRUNK: &str = "0.21.14";
/// What the page and its worker are compiled for.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// The standard library for wasm.
pub(super) fn target(project: &Project) -> Result<()> {
    let sysroot = cmd!(project.sh, "rustc --print sysroot").quiet().read()?;
    let there = std::path::Path::new(&sysroot).join("lib/rustlib").join(TARGET).join("lib").is_dir();
    if there {
        return Ok(());
    }
    install("the Rust target for wasm", &[cmd!(project.sh, "rustup target add {TARGET}")])
}

/// Trunk, which builds the page as `Trunk.toml` says.
pub(super) fn trunk(project: &Project) -> Result<()> {
    if version_of(project, "trunk").as_deref() == Some(&format!("trunk {TRUNK}")) {
        return Ok(());
    }
    let root = shown(project, &project.tools()).to_path_buf();
    // Without its default features it has no TLS, which it needs only to download tools: it never shall.
    let command = cmd!(
        project.sh,
        "cargo install trunk --version {TRUNK} --locked --debug --no-default-features --root {root}"
    );
    install(&format!("Trunk {TRUNK} (some minutes, once)"), &[cheap(project, command)])
}

/// The wasm-bindgen CLI, whose version must be that of the library.
pub(super) fn bindgen(project: &Project) -> Result<()> {
    let version = project.locked_version("wasm-bindgen")?;
    let there = |program: &str| version_of(project, program) == Some(format!("{program} {version}"));
    if there("wasm-bindgen") && there("wasm-bindgen-test-runner") {
        return Ok(());
    }
    let root = shown(project, &project.tools()).to_path_buf();
    // Not --locked: its lock file names versions that are withdrawn from some registries.
    let command =
        cmd!(project.sh, "cargo install wasm-bindgen-cli --version {version} --debug --root {root}");
    install(&format!("the wasm-bindgen CLI {version}"), &[cheap(project, command)])
}

/// Cuts what a build of a tool costs; the tool does the same.
fn cheap<'a>(project: &Project, command: xshell::Cmd<'a>) -> xshell::Cmd<'a> {
    command
        .env("CARGO_TARGET_DIR", project.tools().join("build"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_DEV_INCREMENTAL", "false")
}

/// wasm-opt: the version of `Trunk.toml` from npm, or whatever Debian has.
/// Answers how Trunk spells the version that is there.
pub(super) fn optimizer(project: &Project) -> Result<String> {
    let wanted = project.wanted_wasm_opt()?;
    let usable = |found: &u32| *found == wanted || on_path(project, "npm").is_none();
    if let Some(found) = optimizer_version(project).filter(usable) {
        return Ok(format!("version_{found}"));
    }
    if on_path(project, "npm").is_some() {
        let folder = shown(project, &project.tools().join("npm")).to_path_buf();
        std::fs::create_dir_all(project.tools().join("npm"))?;
        let package = format!("binaryen@{wanted}.0.0");
        install(
            &format!("wasm-opt {wanted}"),
            &[cmd!(project.sh, "npm install --no-audit --no-fund --prefix {folder} {package}")],
        )?;
    } else {
        system::install_packages(project, &["binaryen"])?;
    }
    let found = optimizer_version(project).context("wasm-opt was installed, but does not run")?;
    Ok(format!("version_{found}"))
}

/// The number in `wasm-opt version 132 (version_132)`.
fn optimizer_version(project: &Project) -> Option<u32> {
    version_of(project, "wasm-opt")?.strip_prefix("wasm-opt version ")?.split(' ').next()?.parse().ok()
}

/// Removes what the builds of the tools left. Half a gigabyte is not worth keeping for the next version.
pub(super) fn clean_up(project: &Project) -> Result<()> {
    for program in ["trunk", "wasm-bindgen", "wasm-opt"] {
        if version_of(project, program).is_none() {
            bail!("{program} was installed, but does not run");
        }
    }
    let build = project.tools().join("build");
    if build.exists() {
        std::fs::remove_dir_all(&build).with_context(|| format!("removing {}", build.display()))?;
    }
    Ok(())
}
