//! The peers that are no part of the system: a Python of their own, packages of Node. Installed into `.tools`.

use super::contestant::{Contestant, Program};
use crate::project::Project;
use anyhow::Result;
use std::path::{Path, PathBuf};
use xshell::cmd;

const HUGGINGFACE_JS: &str = "@huggingface/hub@2.17.5";
const SAFETENSORS: [&str; 2] = ["numpy==2.2.6", "safetensors==0.8.0"];
const TORCH: &str = "torch==2.15.0";
/// ModelOpt, and what importing its NVFP4 tensor needs; the rest of what it names is large and not used.
const MODELOPT: [&str; 14] = [
    "nvidia-modelopt==0.47.0",
    "pulp<4",
    "pydantic",
    "tqdm",
    "rich",
    "packaging",
    "regex",
    "pyyaml",
    "omegaconf",
    "requests",
    "httpx2",
    "nvidia-ml-py",
    "scipy",
    "ninja",
];

/// Where the peers are.
pub(crate) struct Peers {
    scripts: PathBuf,
    tests: PathBuf,
    python: PathBuf,
    hub: PathBuf,
    /// Whether torch and ModelOpt are there.
    pub(crate) has_modelopt: bool,
}

/// Finds the peers, installs the small ones that are missing, and the large ones if `modelopt` asks for them.
pub(crate) fn find(project: &Project, modelopt: bool) -> Result<Peers> {
    let sh = &project.sh;
    let folder = project.tools().join("bench-python");
    let python = folder.join("bin/python");
    let imports = |packages: &str| {
        let program = format!("import {packages}");
        python.is_file()
            && cmd!(sh, "{python} -c {program}").quiet().ignore_stdout().ignore_stderr().run().is_ok()
    };
    if !imports("numpy, safetensors") {
        cmd!(sh, "python3 -m venv {folder}").run()?;
        cmd!(sh, "{python} -m pip install --quiet --no-cache-dir").args(SAFETENSORS).run()?;
    }
    let packing = "modelopt.torch.quantization.qtensor";
    if modelopt && !imports(packing) {
        println!("Installing torch and ModelOpt (5 GB, once)");
        cmd!(sh, "{python} -m pip install --quiet --no-cache-dir {TORCH}").run()?;
        cmd!(sh, "{python} -m pip install --quiet --no-cache-dir --no-deps").args(MODELOPT.first()).run()?;
        cmd!(sh, "{python} -m pip install --quiet --no-cache-dir")
            .args(MODELOPT.get(1..).unwrap_or_default())
            .run()?;
        // Its parts that load models import this one; its own dependencies are not needed for it.
        cmd!(sh, "{python} -m pip install --quiet --no-cache-dir --no-deps huggingface_hub==2.4.0").run()?;
    }
    let npm = project.tools().join("bench-npm");
    let hub = npm.join("node_modules/@huggingface/hub");
    if !hub.is_dir() {
        std::fs::create_dir_all(&npm)?;
        cmd!(sh, "npm install --silent --no-audit --no-fund --prefix {npm} {HUGGINGFACE_JS}").run()?;
    }
    let has_modelopt = imports(packing);
    let (scripts, tests) = (project.root.join("crates/bench/peers"), project.root.join("tests/e2e"));
    Ok(Peers { scripts, tests, python, hub, has_modelopt })
}

impl Peers {
    fn script(&self, name: &str) -> String {
        self.scripts.join(name).display().to_string()
    }

    /// A contestant in Python.
    pub(crate) fn python(&self, arguments: &[&str]) -> Contestant {
        let all = std::iter::once(self.script("peer.py")).chain(arguments.iter().map(ToString::to_string));
        Contestant::Turns(Program::new(&self.python, all))
    }

    /// A contestant in Node.
    pub(crate) fn node(&self, arguments: &[&str]) -> Program {
        let all = std::iter::once(self.script("peer.mjs")).chain(arguments.iter().map(ToString::to_string));
        Program::new("node", all)
    }

    /// A contestant in a tab of Chromium, with the browser as the tests use it.
    pub(crate) fn tab(&self, what: &str, page: &Path, input: &Path) -> Program {
        let paths = [&self.tests.join("bench.mjs"), page, input].map(|path| path.display().to_string());
        let [script, page, input] = paths;
        Program::new("node", [script, what.to_owned(), page, input])
    }

    /// The folder of huggingface.js.
    pub(crate) fn hub(&self) -> &Path {
        &self.hub
    }

    /// The versions of the packages.
    pub(crate) fn versions(&self, project: &Project) -> Vec<(String, String)> {
        let python = &self.python;
        let frozen = cmd!(project.sh, "{python} -m pip list --format=freeze --disable-pip-version-check");
        let frozen = frozen.quiet().ignore_stderr().read().unwrap_or_default();
        let wanted = ["safetensors", "torch", "nvidia-modelopt"];
        let mut versions: Vec<(String, String)> = frozen
            .lines()
            .filter_map(|line| line.split_once("=="))
            .filter(|(name, _)| wanted.contains(name))
            .map(|(name, version)| (format!("{name} (Python)"), version.to_owned()))
            .collect();
        if let Some((name, version)) = HUGGINGFACE_JS.rsplit_once('@') {
            versions.push((name.to_owned(), version.to_owned()));
        }
        versions
    }
}
