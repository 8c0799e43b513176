//! What `cargo xtask test` runs, in the order that fails fastest, each step named and timed.

use crate::project::Project;
use crate::setup::{self, TestTools};
use crate::{page, samples, trust};
use anyhow::{Context as _, Result, bail};
use std::str::FromStr;
use std::time::{Duration, Instant};
use xshell::{Cmd, cmd};

/// One step of `cargo xtask test`, by the name `--only` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepId {
    Fmt,
    Clippy,
    Native,
    Oracle,
    Minilm,
    Wasm,
    E2e,
    /// Licences, sources and advisories of dependencies; only when asked for.
    Deny,
    /// The pure rooms' tests under Miri; only when asked for.
    Miri,
}

impl StepId {
    const ALL: [Self; 9] = [
        Self::Fmt,
        Self::Clippy,
        Self::Native,
        Self::Oracle,
        Self::Minilm,
        Self::Wasm,
        Self::E2e,
        Self::Deny,
        Self::Miri,
    ];

    /// Whether it is left out unless it is asked for: it needs another toolchain or a network, or takes long.
    const fn is_extra(self) -> bool {
        matches!(self, Self::Deny | Self::Miri)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Native => "native",
            Self::Oracle => "oracle",
            Self::Minilm => "minilm",
            Self::Wasm => "wasm",
            Self::E2e => "e2e",
            Self::Deny => "deny",
            Self::Miri => "miri",
        }
    }
}

impl FromStr for StepId {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|step| step.name() == name);
        found.with_context(|| {
            format!("no step is called {name:?}; there are fmt, clippy, native, oracle, minilm, wasm, e2e, deny and miri")
        })
    }
}

/// Crates whose code runs in the page's worker, linted for wasm as the page is.
const ON_WASM: [&str; 3] = ["quantscope-web", "quantscope-session", "quantscope-gpu"];
/// Crates whose tests run in Chromium too: codes, kernels, headers past 4 GiB, WebGPU.
const TESTED_ON_WASM: [&str; 4] =
    ["quantscope-numeric", "quantscope-format", "quantscope-kernels", "quantscope-gpu"];

/// Steps run so far, for the table at the end.
#[derive(Default)]
struct Clock {
    rows: Vec<(&'static str, Duration, bool)>,
}

impl Clock {
    fn time<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("\n── {name} ──");
        let start = Instant::now();
        let result = work();
        self.rows.push((name, start.elapsed(), result.is_ok()));
        result.with_context(|| format!("step failed: {name}"))
    }

    fn print(&self) {
        println!("\n{:<36} {:>8}", "step", "seconds");
        for (name, took, passed) in &self.rows {
            println!("{name:<36} {:>8.1}{}", took.as_secs_f64(), if *passed { "" } else { "  failed" });
        }
        let total: Duration = self.rows.iter().map(|(_, took, _)| *took).sum();
        println!("{:<36} {:>8.1}", "total", total.as_secs_f64());
    }
}

/// Runs the steps asked for, or all. Stops at the first that fails.
pub(crate) fn run(project: &Project, only: &[StepId]) -> Result<()> {
    let mut clock = Clock::default();
    let result = run_steps(project, only, &mut clock);
    clock.print();
    result
}

fn run_steps(project: &Project, only: &[StepId], clock: &mut Clock) -> Result<()> {
    let wanted = |step: StepId| (only.is_empty() && !step.is_extra()) || only.contains(&step);
    if wanted(StepId::Deny) {
        clock.time("licences, sources, advisories", || trust::deny(project))?;
    }
    if wanted(StepId::Miri) {
        clock.time("tests under Miri", || trust::miri(project))?;
    }
    if wanted(StepId::Fmt) {
        clock.time("format check", || format_check(project))?;
    }
    if StepId::ALL.into_iter().any(|step| step != StepId::Fmt && !step.is_extra() && wanted(step)) {
        let tools = clock.time("set-up", || setup::for_tests(project))?;
        build_and_test(project, &wanted, &tools, clock)?;
    }
    Ok(())
}

fn build_and_test(
    project: &Project,
    wanted: &dyn Fn(StepId) -> bool,
    tools: &TestTools,
    clock: &mut Clock,
) -> Result<()> {
    if wanted(StepId::Clippy) {
        clock.time("clippy, native", || clippy_native(project))?;
        clock.time("clippy, wasm", || clippy_wasm(project))?;
    }
    if wanted(StepId::Native) {
        clock.time("tests, native", || native(project, tools))?;
    }
    if wanted(StepId::Oracle) {
        clock.time("oracle in Python", || oracle(project, tools))?;
    }
    if wanted(StepId::Minilm) {
        clock.time("a real small transformer", || minilm(project, tools))?;
    }
    if wanted(StepId::Wasm) {
        clock.time("tests, wasm in Chromium", || wasm(project, tools))?;
    }
    if wanted(StepId::E2e) {
        clock.time("samples", || samples::make_if_missing(project))?;
        clock.time("page", || page::build(project, &tools.page))?;
        clock.time("size of the page", || Ok(cmd!(project.sh, "node tests/e2e/size.mjs").run()?))?;
        clock.time("tests, end to end", || Ok(end_to_end(project, tools)?.run()?))?;
    }
    Ok(())
}

/// `cargo fmt` follows `mod`; the schemes are collected by a build script, so that it does not see them.
fn format_check(project: &Project) -> Result<()> {
    cmd!(project.sh, "cargo fmt --all --check").run()?;
    let mut files = project.sh.read_dir("crates/schemes/src/formats")?;
    files.extend(project.sh.read_dir("tests/made-up")?);
    files.retain(|path| path.extension().is_some_and(|e| e == "rs"));
    Ok(cmd!(project.sh, "rustfmt --check --edition 2024 {files...}").run()?)
}

fn clippy_native(project: &Project) -> Result<()> {
    let deny = ["-D", "warnings"];
    Ok(cmd!(
        project.sh,
        "cargo clippy --locked --workspace --exclude quantscope-web --all-targets -- {deny...}"
    )
    .run()?)
}

/// The wasm lint has a configuration of its own: it forbids what browsers lack.
fn clippy_wasm(project: &Project) -> Result<()> {
    let packages = ON_WASM.iter().flat_map(|name| ["-p", name]);
    let deny = ["-D", "warnings"];
    let target = setup::WASM_TARGET;
    Ok(cmd!(project.sh, "cargo clippy --locked --target {target} {packages...} -- {deny...}")
        .env("CLIPPY_CONF_DIR", project.root.join("crates/xtask/clippy-wasm"))
        .run()?)
}

fn native(project: &Project, tools: &TestTools) -> Result<()> {
    let sh = &project.sh;
    let run = if setup::has_nextest(project) {
        let others = "not (package(quantscope-tests) and (binary(cases) or binary(decoding)))";
        cmd!(sh, "cargo nextest run --locked --workspace --no-fail-fast -E {others}")
    } else {
        cmd!(sh, "cargo test --locked --workspace --lib --bins --tests --no-fail-fast")
    };
    with_test_tools(run, tools).run()?;
    // These print how many golden cases agree, by family and engine, which is to be seen.
    let conformance = ["--workspace", "--test", "cases", "--test", "decoding", "--", "--nocapture"];
    with_test_tools(cmd!(sh, "cargo test --locked {conformance...}"), tools).run()?;
    // A build of its own, since the feature adds a scheme that no other test expects.
    let made_up = ["-p", "quantscope-tests", "--features", "made-up", "--test", "made_up"];
    with_test_tools(cmd!(sh, "cargo test --locked {made_up...}"), tools).run()?;
    // Loops are compiled for several instruction sets; the widest alone has run so far.
    let narrower = ["-p", "quantscope-kernels", "--features", "narrower", "--test", "cpu", "with_avx2"];
    with_test_tools(cmd!(sh, "cargo test --locked {narrower...}"), tools).run()?;
    // nextest does not run the examples in the documentation. The same packages: others would be built anew.
    with_test_tools(cmd!(sh, "cargo test --locked --workspace --doc"), tools).run()?;
    Ok(())
}

/// The formats once more in numpy: against the golden data, and against the command-line tool on random checkpoints.
/// The seed is fixed here, so that the same code passes twice; `compare.py` alone draws another each time.
fn oracle(project: &Project, tools: &TestTools) -> Result<()> {
    let python = &tools.python;
    for program in ["check.py", "decode.py", "preview.py"] {
        cmd!(project.sh, "{python} -B tests/oracle/{program}").run()?;
    }
    let headers =
        cmd!(project.sh, "cargo run --locked --quiet -p quantscope-promises --example headers -- 6000")
            .read()?;
    cmd!(project.sh, "{python} -B tests/oracle/headers.py").stdin(headers).run()?;
    let cli = samples::command_line(project)?;
    cmd!(project.sh, "{python} -B tests/oracle/compare.py --binary {cli} --rounds 60 --seed 1").run()?;
    Ok(())
}

/// A real model through every scheme, judged in numpy.
fn minilm(project: &Project, tools: &TestTools) -> Result<()> {
    let (python, model) = (&tools.python, setup::minilm(project, tools)?);
    let cli = samples::command_line(project)?;
    Ok(cmd!(project.sh, "{python} -B tests/minilm/check.py --binary {cli} --model {model}").run()?)
}

/// What native tests find their tools by. `required` turns a skipped GPU test into a failure.
fn with_test_tools<'a>(command: Cmd<'a>, tools: &TestTools) -> Cmd<'a> {
    command
        .env("QUANTSCOPE_GPU", "required")
        .env("VK_DRIVER_FILES", &tools.vulkan_driver)
        .env("VK_ICD_FILENAMES", &tools.vulkan_driver)
        .env("QUANTSCOPE_PYTHON", &tools.python)
}

fn wasm(project: &Project, tools: &TestTools) -> Result<()> {
    let driver_config = write_driver_config(project, tools)?;
    for package in TESTED_ON_WASM {
        let command = cmd!(
            project.sh,
            "cargo test --locked --target wasm32-unknown-unknown -p {package} --lib --tests"
        )
        .env("CHROMEDRIVER", &tools.browser.driver)
        .env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", &driver_config)
        .env("WASM_BINDGEN_TEST_TIMEOUT", "300")
        .env("QUANTSCOPE_GPU", "required");
        let output = command.ignore_status().output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{text}");
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
            bail!("{package} fails in Chromium");
        }
        let passed = passed_tests(&text);
        println!("{package}: {passed} tests passed in Chromium");
        if passed == 0 {
            bail!("{package} has no test that ran in Chromium");
        }
    }
    Ok(())
}

/// Sum over the lines `test result: ok. N passed; …`.
fn passed_tests(output: &str) -> u64 {
    output
        .lines()
        .filter_map(|line| {
            line.trim().strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<u64>().ok()
        })
        .sum()
}

/// The flags that give headless Chromium WebGPU without a GPU, for both kinds of browser test.
fn chromium_flags(project: &Project) -> Result<serde_json::Value> {
    let file = project.root.join("tests/chromium-flags.json");
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("reading {}", file.display()))
}

/// Writes what chromedriver shall start, for wasm-bindgen's test runner.
fn write_driver_config(project: &Project, tools: &TestTools) -> Result<std::path::PathBuf> {
    let mut flags = chromium_flags(project)?;
    flags.as_array_mut().context("tests/chromium-flags.json should be a list")?.push("--headless=new".into());
    let config = serde_json::json!({
        "goog:chromeOptions": { "binary": tools.browser.chromium, "args": flags }
    });
    let file = project.tools().join("webdriver.json");
    std::fs::write(&file, serde_json::to_vec_pretty(&config)?)
        .with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

/// Playwright over the built page and the command-line tool.
fn end_to_end<'a>(project: &'a Project, tools: &TestTools) -> Result<Cmd<'a>> {
    let cli = samples::command_line(project)?;
    let config = "tests/e2e/playwright.config.mjs";
    Ok(cmd!(project.sh, "node tests/e2e/node_modules/@playwright/test/cli.js test --config {config}")
        .env("QUANTSCOPE_CHROMIUM", &tools.browser.chromium)
        .env("QUANTSCOPE_CLI", cli)
        // The specs that need a very large checkpoint have it written by this very program.
        .env("QUANTSCOPE_XTASK", std::env::current_exe()?)
        .env("QUANTSCOPE_PORT", free_port()?.to_string())
        .env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1"))
}

/// Some of them, without a second try: what fails once in an hour has failed.
pub(crate) fn browser_tests<'a>(project: &'a Project, tools: &TestTools, spec: &str) -> Result<Cmd<'a>> {
    Ok(end_to_end(project, tools)?.args(["--retries", "0", spec]))
}

/// A port that nobody listens on now.
fn free_port() -> Result<u16> {
    let listener =
        std::net::TcpListener::bind(("127.0.0.1", 0)).context("no port is free on this machine")?;
    Ok(listener.local_addr()?.port())
}

/// Takes the pictures of the documentation anew.
pub(crate) fn screenshots(project: &Project) -> Result<()> {
    let tools = setup::for_tests(project)?;
    samples::make_if_missing(project)?;
    page::build(project, &tools.page)?;
    let pictures = project.root.join("docs/images");
    end_to_end(project, &tools)?.arg("screenshots").env("QUANTSCOPE_SCREENSHOTS", &pictures).run()?;
    println!("The pictures are in {}; look at them before you commit them", pictures.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_tests_are_summed() {
        let output =
            "test result: ok. 3 passed; 0 failed\nno tests to run!\n  test result: ok. 4 passed; 0 failed;\n";
        assert_eq!(passed_tests(output), 7);
        assert_eq!(passed_tests("no tests to run!\ntest result: FAILED. 5 passed; 1 failed"), 0);
    }
}
