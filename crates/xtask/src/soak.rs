//! `cargo xtask soak`: random checkpoints through one process and one tab for as long as is wanted, every fault of
//! the core and of the page visited, and fuzzing.

use crate::project::Project;
use crate::setup::{self, TestTools};
use crate::{fuzz, page, samples, steps};
use anyhow::{Context as _, Result};
use xshell::cmd;

/// What is to be run, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Soak {
    /// Minutes in the process, and as many in the tab at the same time.
    pub(crate) minutes: u64,
    /// Where chance begins.
    pub(crate) seed: u64,
    /// How many of the inputs of the fuzzing are tried, in thousandths; none leaves it out.
    pub(crate) share: u64,
}

/// Runs it. Process and tab run at the same time.
pub(crate) fn run(project: &Project, soak: Soak) -> Result<()> {
    let tools = setup::for_tests(project)?;
    samples::make_if_missing(project)?;
    page::build(project, &tools.page)?;
    let (minutes, seed) = (soak.minutes.to_string(), soak.seed.to_string());
    // Built before the clock of either begins.
    cmd!(project.sh, "cargo test --locked -p quantscope-tests --test soak --no-run").run()?;
    let mut process = std::process::Command::new("cargo")
        .args(["test", "--locked", "-p", "quantscope-tests", "--test", "soak", "--", "--nocapture"])
        .current_dir(&project.root)
        .env("QUANTSCOPE_SOAK_MINUTES", &minutes)
        .env("QUANTSCOPE_SOAK_SEED", &seed)
        .spawn()
        .context("the tests of the process do not start")?;
    let tab = in_the_tab(project, &tools, "specs/soak.spec", &[("MINUTES", &minutes), ("SEED", &seed)]);
    let ended = process.wait()?;
    anyhow::ensure!(ended.success(), "the process did not stand it: {ended}");
    tab.context("the tab did not stand it")?;
    cmd!(project.sh, "cargo test --locked -p quantscope-tests --test injected -- --nocapture").run()?;
    steps::browser_tests(project, &tools, "specs/faults.spec")?.env("QUANTSCOPE_VISITS", "all").run()?;
    if soak.share > 0 { fuzz::run(project, soak.share) } else { Ok(()) }
}

fn in_the_tab(project: &Project, tools: &TestTools, spec: &str, settings: &[(&str, &String)]) -> Result<()> {
    let mut run = steps::browser_tests(project, tools, spec)?;
    for (name, value) in settings {
        run = run.env(format!("QUANTSCOPE_SOAK_{name}"), value.as_str());
    }
    Ok(run.run()?)
}
