//! Converting at full size, and measuring: time, rate, and the most memory that was resident.

use crate::project::Project;
use crate::samples::full_size;
use anyhow::{Context as _, Result, ensure};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use xshell::cmd;

/// What a conversion may hold in memory, mapped files included.
const MEMORY_LIMIT: u64 = 512 << 20;

/// What is converted to what, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FullSize {
    pub(crate) folder: PathBuf,
    pub(crate) gigabytes: u64,
    pub(crate) to: String,
}

/// Makes the checkpoint if it is not there, converts and verifies it with the release build.
pub(crate) fn run(project: &Project, job: &FullSize) -> Result<()> {
    ensure!(cfg!(target_os = "linux"), "the memory of a process is read from /proc, which only Linux has");
    let (source, output) = (job.folder.join("source"), job.folder.join("output"));
    let total = job.gigabytes.checked_mul(1_000_000_000).context("too many gigabytes")?;
    if !source.join("config.json").exists() {
        let filled = full_size::write(&source, total)?;
        println!("{}: {filled} bytes of tensors", source.display());
    }
    if output.exists() {
        std::fs::remove_dir_all(&output)?;
    }
    cmd!(project.sh, "cargo build --locked --release --package quantscope").run()?;
    let program = project.target().join("release/quantscope");
    let [source, output]: [&OsStr; 2] = [source.as_ref(), output.as_ref()];
    let engine = ["--engine", "cpu"].map(OsStr::new);
    let to: &OsStr = job.to.as_ref();
    let mut convert = vec!["convert".as_ref(), source, "-o".as_ref(), output, "--to".as_ref(), to];
    convert.extend(engine);
    let read = folder_bytes(Path::new(source))?;
    measure(&program, &convert, read)?;
    let written = folder_bytes(Path::new(output))?;
    measure(&program, &["verify".as_ref(), output, "--against".as_ref(), source], read + written)
}

fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(folder)? {
        total += entry?.metadata()?.len();
    }
    Ok(total)
}

/// Runs the program on so many bytes, and fails if it fails or takes too much memory.
#[allow(clippy::cast_precision_loss, reason = "rounded for people")]
fn measure(program: &Path, args: &[&OsStr], bytes: u64) -> Result<()> {
    let name = args.first().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let begun = Instant::now();
    let mut child = Command::new(program).args(args).spawn().context("starting quantscope")?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        // The kernel keeps the peak; the last look is at most this much before the end.
        if let Some(now) = std::fs::read_to_string(&status).ok().as_deref().and_then(peak_bytes) {
            peak = now;
        }
        match child.try_wait()? {
            Some(ended) => break ended,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{name}: {seconds:.1} s, {:.0} MB/s of {:.1} GB, at most {:.0} MiB resident",
        bytes as f64 / seconds / 1e6,
        bytes as f64 / 1e9,
        peak as f64 / f64::from(1 << 20),
    );
    ensure!(ended.success(), "{name} ended with {ended}");
    ensure!(peak > 0, "the memory of {name} could not be read from {status}");
    ensure!(peak <= MEMORY_LIMIT, "{name} held {peak} bytes, {MEMORY_LIMIT} are allowed");
    Ok(())
}

/// The line `VmHWM:   1234 kB` of a process's status.
pub(crate) fn peak_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::peak_bytes;

    #[test]
    fn the_peak_is_read_from_the_status() {
        assert_eq!(peak_bytes("Name:\tx\nVmHWM:\t  20480 kB\nVmRSS:\t 1 kB\n"), Some(20_971_520));
        assert_eq!(peak_bytes("Name:\tx\n"), None);
    }
}
