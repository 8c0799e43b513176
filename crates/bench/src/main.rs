//! `quantscope-bench make FOLDER` writes the inputs; `quantscope-bench NAME [ARGUMENTS]` is one contestant.
//!
//! A contestant answers every line `run` with the seconds its work took, a check of the result, and the seconds that
//! the processor spent on it, all threads together. Both are taken here, around the work alone.
#![forbid(unsafe_code)]

mod headers;
mod inputs;
mod machine;
mod packing;
mod plain;

use anyhow::{Context as _, Result, bail};
use inputs::Filling;
use rustix::time::{ClockId, clock_gettime};
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// What is timed, and what is done with its result afterwards.
pub(crate) struct Contestant {
    /// The work that is timed.
    pub(crate) run: Box<dyn FnMut() -> Result<()>>,
    /// The check, not timed.
    pub(crate) check: Box<dyn FnMut() -> u64>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["make", folder, megabytes] => inputs::make(Path::new(folder), megabytes.parse()?),
        ["make-model", folder, megabytes] => {
            inputs::checkpoint(Path::new(folder), megabytes.parse()?, Filling::Whole)
        }
        ["make-hollow-model", folder, megabytes] => {
            inputs::checkpoint(Path::new(folder), megabytes.parse()?, Filling::Holes)
        }
        ["make-experts", folder, count] => inputs::experts(Path::new(folder), count.parse()?),
        ["threads", count, name, rest @ ..] => {
            rayon::ThreadPoolBuilder::new().num_threads(count.parse()?).build_global()?;
            take_turns(contestant(name, rest)?)
        }
        [name, rest @ ..] => {
            quantscope_kernels::join_threads();
            take_turns(contestant(name, rest)?)
        }
        [] => bail!("say which contestant, or `make FOLDER MEGABYTES`"),
    }
}

fn contestant(name: &str, arguments: &[&str]) -> Result<Contestant> {
    match (name, arguments) {
        ("header", [file]) => headers::ours(Path::new(file)),
        ("header-crate", [file]) => headers::safetensors_crate(Path::new(file)),
        ("copy", [file]) => machine::copy(Path::new(file)),
        ("read", [file]) => machine::read(Path::new(file)),
        ("tie-hash", [file]) => machine::tie_hash(Path::new(file)),
        ("sha256", [file]) => machine::sha256(Path::new(file)),
        ("nvfp4", [file, rows, cols]) => packing::nvfp4(Path::new(file), rows.parse()?, cols.parse()?),
        ("nvfp4-codes", [file, rows, cols]) => {
            packing::nvfp4_codes(Path::new(file), rows.parse()?, cols.parse()?)
        }
        ("nvfp4-mse", [file, rows, cols]) => {
            packing::nvfp4_mse(Path::new(file), rows.parse()?, cols.parse()?)
        }
        ("nvfp4-mse-plain", [file, rows, cols]) => {
            plain::nvfp4_mse(Path::new(file), rows.parse()?, cols.parse()?)
        }
        ("fp8-block", [file, rows, cols]) => {
            packing::fp8_block(Path::new(file), rows.parse()?, cols.parse()?)
        }
        _ => bail!("no contestant {name} takes the arguments {arguments:?}"),
    }
}

/// Works once for every line on standard input. What was never done before is done once without being told.
fn take_turns(mut contestant: Contestant) -> Result<()> {
    (contestant.run)()?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        if line.context("reading what to do")?.trim() != "run" {
            bail!("the only thing that can be asked for is `run`");
        }
        let (begun, spent) = (Instant::now(), processor_time());
        (contestant.run)()?;
        let (seconds, processor) = (begun.elapsed().as_secs_f64(), processor_time() - spent);
        let mut out = std::io::stdout().lock();
        writeln!(out, "{seconds:.9} {:016x} {:.9}", (contestant.check)(), processor.as_secs_f64())?;
        out.flush()?;
    }
    Ok(())
}

/// What the processor has spent on this process, in user code and in the system.
fn processor_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec.try_into().unwrap_or(0), spent.tv_nsec.try_into().unwrap_or(0))
}
