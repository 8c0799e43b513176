//! What is measured on: the programs in their release builds, and generated files. Kept for the next run.

use super::contestant::Program;
use crate::full_size::peak_bytes;
use crate::page;
use crate::project::Project;
use crate::setup::{self, WASM_TARGET};
use anyhow::{Context as _, Result, ensure};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use xshell::cmd;

/// Raised when the generated files change.
const EDITION: &str = "1";

/// Which of the programs that take long to build are needed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needed {
    /// The command-line tool.
    pub(crate) tool: bool,
    /// The wasm contestants, and the native one that is held to their vectors.
    pub(crate) wasm: bool,
    /// The page.
    pub(crate) page: bool,
}

/// Programs and files.
pub(crate) struct Inputs {
    pub(crate) folder: PathBuf,
    /// The native contestants.
    pub(crate) program: PathBuf,
    /// The native contestants held to vectors of 128 bits.
    pub(crate) narrow_program: PathBuf,
    /// The command-line tool.
    pub(crate) tool: PathBuf,
    /// What Node loads to have the wasm contestants.
    pub(crate) wasm: PathBuf,
    /// The built page.
    pub(crate) page: PathBuf,
}

/// Time and memory of one command.
pub(crate) struct Cost {
    pub(crate) what: String,
    /// Bytes or tensors, whatever grows.
    pub(crate) size: u64,
    pub(crate) seconds: f64,
    pub(crate) peak_bytes: u64,
}

impl Inputs {
    /// Builds the programs that the rows need and makes the files that are missing.
    pub(crate) fn make(project: &Project, quick: bool, needed: Needed) -> Result<Self> {
        let sh = &project.sh;
        let folder = project.target().join(if quick { "bench-quick" } else { "bench" });
        let (release, narrow) = (project.target().join("release"), project.target().join("narrow"));
        let inputs = Self {
            program: release.join("quantscope-bench"),
            narrow_program: narrow.join("release/quantscope-bench"),
            tool: release.join("quantscope"),
            wasm: folder.join("wasm/quantscope_bench.js"),
            page: project.dist(),
            folder,
        };
        cmd!(sh, "cargo build --locked --release --package quantscope-bench").run()?;
        inputs.make_files(project, if quick { 250 } else { 1000 })?;
        if needed.wasm {
            cmd!(sh, "cargo build --locked --release --package quantscope-bench --bin quantscope-bench")
                .env("CARGO_TARGET_DIR", &narrow)
                .env("RUSTFLAGS", "--cfg quantscope_narrow")
                .run()?;
            inputs.build_wasm(project)?;
        }
        if needed.page {
            page::build(project, &setup::for_tests(project)?.page)?;
        }
        if needed.tool {
            cmd!(sh, "cargo build --locked --release --package quantscope").run()?;
            let packed = inputs.folder.join("packed");
            if !is_checkpoint(&packed) {
                inputs.convert(&inputs.folder.join("model"), &packed, "nvfp4").run_to_end()?;
            }
        }
        Ok(inputs)
    }

    /// As Trunk makes the page: the same profile, the same tools.
    fn build_wasm(&self, project: &Project) -> Result<()> {
        let sh = &project.sh;
        cmd!(
            sh,
            "cargo build --locked --profile page --target {WASM_TARGET} --package quantscope-bench --lib"
        )
        .run()?;
        let built = project.target().join(WASM_TARGET).join("page/quantscope_bench.wasm");
        let out = self.folder.join("wasm");
        std::fs::create_dir_all(&out)?;
        cmd!(sh, "wasm-bindgen --target nodejs --out-dir {out} {built}").run()?;
        let module = out.join("quantscope_bench_bg.wasm");
        cmd!(sh, "wasm-opt -Oz --enable-simd --enable-bulk-memory --enable-nontrapping-float-to-int --enable-sign-ext --enable-mutable-globals --enable-reference-types --enable-multivalue -o {module} {module}")
            .run()
            .context("wasm-opt: `cargo xtask serve --check` installs it")
    }

    fn make_files(&self, project: &Project, megabytes: u64) -> Result<()> {
        let stamp = self.folder.join("edition");
        if std::fs::read_to_string(&stamp).is_ok_and(|edition| edition == EDITION) {
            return Ok(());
        }
        let (program, folder, megabytes) = (&self.program, &self.folder, megabytes.to_string());
        cmd!(project.sh, "{program} make {folder} {megabytes}").run()?;
        let packed = folder.join("packed");
        if is_checkpoint(&packed) {
            std::fs::remove_dir_all(packed)?;
        }
        std::fs::write(stamp, EDITION)?;
        Ok(())
    }

    /// A path among the files, as an argument.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// A conversion by the command-line tool.
    pub(crate) fn convert(&self, from: &Path, to: &Path, scheme: &str) -> Program {
        let [from, to] = [from, to].map(|path| path.display().to_string());
        Program::new(&self.tool, ["convert", &from, "-o", &to, "--to", scheme, "--engine", "cpu"])
    }

    fn costs(&self, what: &str, size: u64, program: &Program, output: Option<&Path>) -> Result<Cost> {
        if let Some(folder) = output.filter(|folder| folder.exists()) {
            std::fs::remove_dir_all(folder)?;
        }
        let (seconds, peak_bytes) = program.run_watched()?;
        Ok(Cost { what: what.to_owned(), size, seconds, peak_bytes })
    }

    /// The file whose header has so many tensors, described by the command-line tool.
    fn inspect(&self, tensors: u64) -> Program {
        let file = self.file(&format!("header-{tensors}.safetensors"));
        Program::new(&self.tool, ["inspect", &file, "--json", "--limit", "tensors=1000000"])
    }

    /// Bytes of that header, its length included.
    fn header_bytes(&self, tensors: u64) -> Result<u64> {
        let mut length = [0; 8];
        File::open(self.file(&format!("header-{tensors}.safetensors")))?.read_exact(&mut length)?;
        Ok(u64::from_le_bytes(length).saturating_add(8))
    }

    /// What the commands that read every byte hold in memory at most, and what reads headers of many tensors.
    pub(crate) fn peak_memory(&self) -> Result<Vec<Cost>> {
        let (model, packed, again) =
            (self.folder.join("model"), self.folder.join("packed"), self.folder.join("again"));
        let size = bytes_of(&model)?;
        let mut costs = Vec::new();
        for scheme in ["nvfp4", "nvfp4-mse", "fp8-block"] {
            let program = self.convert(&model, &again, scheme);
            costs.push(self.costs(&format!("convert --to {scheme}"), size, &program, Some(&again))?);
        }
        let [from, to] = [&model, &packed].map(|path| path.display().to_string());
        let verify = Program::new(&self.tool, ["verify", &to, "--against", &from]);
        costs.push(self.costs("verify --against", size, &verify, None)?);
        let audit = Program::new(&self.tool, ["audit", &to, "--engine", "cpu", "--fail-on", "never"]);
        costs.push(self.costs("audit", bytes_of(&packed)?, &audit, None)?);
        std::fs::remove_dir_all(&again)?;
        for tensors in [100_000, 700_000] {
            let what = format!("inspect --json, {tensors} tensors");
            costs.push(self.costs(&what, self.header_bytes(tensors)?, &self.inspect(tensors), None)?);
        }
        Ok(costs)
    }

    /// Time and memory against the number of tensors, and against the bytes of a checkpoint.
    pub(crate) fn growth(&self, quick: bool, large: bool) -> Result<Vec<Cost>> {
        let mut costs = Vec::new();
        for tensors in [1_000, 10_000, 100_000, 700_000] {
            costs.push(self.costs("inspect, by tensors", tensors, &self.inspect(tensors), None)?);
        }
        let grown = self.folder.join("grown");
        let (model, out) = (grown.join("model"), grown.join("out"));
        let [from, to] = [&model, &out].map(|path| path.display().to_string());
        let convert = self.convert(&model, &out, "nvfp4");
        for layers in [1_000, 10_000, 100_000] {
            Program::new(&self.program, ["make-experts", &from, &layers.to_string()]).run_to_end()?;
            costs.push(self.costs("convert --to nvfp4, by layers", layers, &convert, Some(&out))?);
            if layers == 100_000 {
                let plan = Program::new(&self.tool, ["convert", &from, "--to", "nvfp4", "--plan", "--json"]);
                costs.push(self.costs("convert --plan --json, by layers", layers, &plan, None)?);
                let verify = Program::new(&self.tool, ["verify", &to]);
                costs.push(self.costs("verify of that, by layers", layers, &verify, None)?);
                let audit = Program::new(&self.tool, ["audit", &to, "--engine", "cpu", "--fail-on", "never"]);
                costs.push(self.costs("audit of that, by layers", layers, &audit, None)?);
            }
            std::fs::remove_dir_all(&grown)?;
        }
        let mut sizes = vec![("make-model", 1)];
        sizes.extend((!quick).then_some(("make-model", 10)));
        // Few disks have room for all of it.
        sizes.extend(large.then_some(("make-hollow-model", 100)));
        for (make, gigabytes) in sizes {
            Program::new(&self.program, [make, &from, &(gigabytes * 1000).to_string()]).run_to_end()?;
            let bytes = bytes_of(&model)?;
            costs.push(self.costs("convert --to nvfp4, by bytes", bytes, &convert, Some(&out))?);
            std::fs::remove_dir_all(&grown)?;
        }
        Ok(costs)
    }
}

fn is_checkpoint(folder: &Path) -> bool {
    folder.join("config.json").is_file()
}

/// Bytes of the files in a folder.
pub(crate) fn bytes_of(folder: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(folder)? {
        total += entry?.metadata()?.len();
    }
    Ok(total)
}

impl Program {
    fn run_to_end(&self) -> Result<()> {
        self.run_watched().map(|_| ())
    }

    /// Seconds, and the most memory that was resident.
    fn run_watched(&self) -> Result<(f64, u64)> {
        let begun = Instant::now();
        let mut child = self
            .command()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", self.path.display()))?;
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        let ended = loop {
            if let Some(now) = std::fs::read_to_string(&status).ok().as_deref().and_then(peak_bytes) {
                peak = now;
            }
            match child.try_wait()? {
                Some(ended) => break ended,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        ensure!(ended.success(), "{} {} ended with {ended}", self.path.display(), self.arguments.join(" "));
        Ok((begun.elapsed().as_secs_f64(), peak))
    }
}
