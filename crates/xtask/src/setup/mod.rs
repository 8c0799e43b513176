//! Finds what the project needs and installs what is missing, once.
//!
//! Everything that belongs to this checkout goes into `.tools`; only the system's own parts (Chromium,
//! a Vulkan driver, Node) come from apt. What cannot be installed here ends with the commands for the
//! user to run.

mod system;
mod wasm;

use crate::project::Project;
use anyhow::{Context as _, Result, anyhow};
use std::path::{Path, PathBuf};
use std::time::Instant;
use xshell::{Cmd, cmd};

pub(crate) use system::BrowserTools;
pub(crate) use wasm::TARGET as WASM_TARGET;

/// What building the page needs to know of its tools.
pub(crate) struct PageTools {
    /// How Trunk spells the version of the `wasm-opt` on the path.
    pub(crate) wasm_opt_version: String,
}

/// What the tests need beside the page.
pub(crate) struct TestTools {
    pub(crate) page: PageTools,
    pub(crate) browser: BrowserTools,
    /// Manifest of the software Vulkan driver.
    pub(crate) vulkan_driver: PathBuf,
    /// A Python that has numpy, `ml_dtypes` and safetensors.
    pub(crate) python: PathBuf,
}

/// Whatever `cargo xtask serve` needs.
pub(crate) fn for_page(project: &Project) -> Result<PageTools> {
    wasm::target(project)?;
    wasm::trunk(project)?;
    wasm::bindgen(project)?;
    let wasm_opt_version = wasm::optimizer(project)?;
    wasm::clean_up(project)?;
    Ok(PageTools { wasm_opt_version })
}

/// Whatever `cargo xtask test` needs.
pub(crate) fn for_tests(project: &Project) -> Result<TestTools> {
    system::packages(project)?;
    let python = system::python(project)?;
    system::end_to_end(project)?;
    let page = for_page(project)?;
    Ok(TestTools {
        page,
        browser: system::browser(project)?,
        vulkan_driver: system::vulkan_driver()
            .context("no software Vulkan driver was found after installing it")?,
        python,
    })
}

/// The folder of the small transformer that one test converts.
pub(crate) fn minilm(project: &Project, tools: &TestTools) -> Result<PathBuf> {
    system::minilm(project, &tools.python)
}

/// Runs `commands` to install `what`. Where one fails, the error lists all of them for the user.
fn install(what: &str, commands: &[Cmd<'_>]) -> Result<()> {
    println!("Installing {what}");
    let start = Instant::now();
    for command in commands {
        command.run().map_err(|error| anyhow!("{error}\n{}", by_hand(what, commands)))?;
    }
    println!("Installed {what} ({:.0} s)", start.elapsed().as_secs_f64());
    Ok(())
}

/// The commands with which a user installs `what` without us.
fn by_hand(what: &str, commands: &[Cmd<'_>]) -> String {
    let mut text =
        format!("{what} could not be installed. To do it by hand, from the root of the checkout:\n");
    for command in commands {
        text.push_str(&format!("\n    {command}"));
    }
    text.push_str("\n\nthen run the same xtask command again");
    text
}

/// What `program --version` prints; `None` if there is no such program or it fails.
fn version_of(project: &Project, program: &str) -> Option<String> {
    cmd!(project.sh, "{program} --version").quiet().ignore_stderr().read().ok()
}

/// The first file of this name on the search path.
fn on_path(project: &Project, program: &str) -> Option<PathBuf> {
    let path = project.sh.var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// A path as a child's argument: relative to the root where it lies inside, which reads better when echoed.
fn shown<'a>(project: &Project, path: &'a Path) -> &'a Path {
    path.strip_prefix(&project.root).unwrap_or(path)
}

/// Whether cargo-nextest is there. It runs the tests of all crates at once, where `cargo test` goes one by one.
pub(crate) fn has_nextest(project: &Project) -> bool {
    cmd!(project.sh, "cargo nextest --version").quiet().ignore_stdout().ignore_stderr().run().is_ok()
}
