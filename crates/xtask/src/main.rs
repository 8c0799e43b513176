//! The project's own commands: set-up, serve, test, samples.
//!
//! `cargo xtask serve` and `cargo xtask test` work on a bare clone: they say what is missing, install
//! it into the ignored folder `.tools` (or through apt, for the system's own parts), and reuse it the
//! next time. Nothing here knows about quantization; heavy work runs in child processes.
#![forbid(unsafe_code)]

mod bench;
mod finish;
mod full_size;
mod fuzz;
mod glue;
mod packed;
mod page;
mod project;
mod samples;
mod serve;
mod setup;
mod soak;
mod split;
mod steps;
mod trust;

use anyhow::{Context as _, Result, bail};
use lexopt::prelude::{Long, Short, Value, ValueExt as _};
use project::Project;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask serve [--check] [--port N] [--allow-local]
                                         install what is missing, build the page, serve it on this machine
                                         (--check: build and exit; --allow-local: the page that opens addresses
                                         may ask servers of this machine too)
cargo xtask test [--only STEP,STEP]      install what is missing for tests too, then check and test everything;
                                         deny (licences, advisories) and miri only if they are named
cargo xtask samples [--force]            make the sample checkpoints the page offers
cargo xtask large DIR                    write a checkpoint of 671 billion weights, its data as holes
cargo xtask full-size DIR [--gigabytes N] [--to ID]
                                         write a checkpoint of 20 (N) GB, convert and verify it with the release
                                         build, and measure time and memory; not part of the tests
cargo xtask finish                       what Trunk calls at the end of a build
cargo xtask fuzz [--thousandths N]       feed every parser bytes that nobody would write (needs the nightly
                                         toolchain); not part of the tests
cargo xtask soak [--minutes N] [--seed N] [--thousandths N]
                                         random checkpoints through one process and one tab for 60 (N) minutes,
                                         which fails if memory grows; then every fault of the core and the page,
                                         and what `fuzz` does (--thousandths: of its inputs; 0 leaves it out)
cargo xtask bench [--only NAME,NAME] [--quick] [--large] [--modelopt] [--page DIR] [--json FILE] [--write]
                                         measure against the peers, in turns, and print ratios (--large: also convert
                                         100 GB with holes, which takes 28 GB; --modelopt: install torch and ModelOpt
                                         for it, 5 GB; --page: one that is built already; --write: into
                                         docs/performance.md)
cargo xtask screenshots                  take the pictures in docs/images again
";

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Help,
    Serve { check: bool, port: u16, allow_local: bool },
    Finish,
    Test { only: Vec<steps::StepId> },
    Samples { force: bool },
    Large { folder: PathBuf },
    FullSize(full_size::FullSize),
    Fuzz { share: u64 },
    Soak(soak::Soak),
    Bench(bench::Bench),
    Screenshots,
}

fn main() -> ExitCode {
    match parse(lexopt::Parser::from_env()).and_then(|request| run(&request)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(request: &Request) -> Result<()> {
    if *request == Request::Help {
        print!("{USAGE}");
        return Ok(());
    }
    let project = Project::open()?;
    match request {
        Request::Help => Ok(()),
        Request::Serve { check, port, allow_local } => {
            let tools = setup::for_page(&project)?;
            samples::make_if_missing(&project)?;
            page::build(&project, &tools)?;
            if *check { Ok(()) } else { serve::serve(&project.dist(), *port, *allow_local) }
        }
        Request::Finish => {
            let folder = std::env::var_os("TRUNK_STAGING_DIR")
                .context("Trunk calls this, with the folder that it fills")?;
            finish::finish(Path::new(&folder))
        }
        Request::Test { only } => steps::run(&project, only),
        Request::Samples { force } => {
            if *force {
                samples::make(&project)
            } else {
                samples::make_if_missing(&project)
            }
        }
        Request::Large { folder } => samples::moe::write(folder),
        Request::FullSize(job) => full_size::run(&project, job),
        Request::Fuzz { share } => fuzz::run(&project, *share),
        Request::Soak(job) => soak::run(&project, *job),
        Request::Bench(job) => bench::run(&project, job),
        Request::Screenshots => steps::screenshots(&project),
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Request> {
    let Some(first) = parser.next()? else { return Ok(Request::Help) };
    let mut request = match first {
        Value(name) => match name.string()?.as_str() {
            "serve" => Request::Serve { check: false, port: 0, allow_local: false },
            "finish" => Request::Finish,
            "test" => Request::Test { only: Vec::new() },
            "samples" => Request::Samples { force: false },
            "large" => Request::Large { folder: parser.value()?.into() },
            "full-size" => Request::FullSize(full_size::FullSize {
                folder: parser.value()?.into(),
                gigabytes: 20,
                to: "nvfp4".into(),
            }),
            "fuzz" => Request::Fuzz { share: 1000 },
            "soak" => Request::Soak(soak::Soak { minutes: 60, seed: 1, share: 1000 }),
            "bench" => Request::Bench(bench::Bench::default()),
            "screenshots" => Request::Screenshots,
            "help" => Request::Help,
            other => bail!("there is no command {other:?}\n\n{USAGE}"),
        },
        Long("help") | Short('h') => Request::Help,
        other => return Err(other.unexpected().into()),
    };
    while let Some(argument) = parser.next()? {
        match (&mut request, argument) {
            (_, Long("help") | Short('h')) => return Ok(Request::Help),
            (Request::Serve { check, .. }, Long("check")) => *check = true,
            (Request::Serve { allow_local, .. }, Long("allow-local")) => *allow_local = true,
            (Request::Serve { port, .. }, Long("port")) => *port = parser.value()?.parse()?,
            (Request::FullSize(job), Long("gigabytes")) => job.gigabytes = parser.value()?.parse()?,
            (Request::FullSize(job), Long("to")) => job.to = parser.value()?.string()?,
            (Request::Soak(job), Long("minutes")) => job.minutes = parser.value()?.parse()?,
            (Request::Soak(job), Long("seed")) => job.seed = parser.value()?.parse()?,
            (Request::Soak(job), Long("thousandths")) => job.share = parser.value()?.parse()?,
            (Request::Fuzz { share }, Long("thousandths")) => *share = parser.value()?.parse()?,
            (Request::Bench(job), Long("quick")) => job.quick = true,
            (Request::Bench(job), Long("large")) => job.large = true,
            (Request::Bench(job), Long("modelopt")) => job.modelopt = true,
            (Request::Bench(job), Long("write")) => job.write = true,
            (Request::Bench(job), Long("page")) => job.page = Some(parser.value()?.into()),
            (Request::Bench(job), Long("json")) => job.json = Some(parser.value()?.into()),
            (Request::Bench(job), Long("only")) => {
                job.only.extend(parser.value()?.string()?.split(',').map(str::to_owned));
            }
            (Request::Samples { force }, Long("force")) => *force = true,
            (Request::Test { only }, Long("only")) => {
                for name in parser.value()?.string()?.split(',') {
                    only.push(name.parse()?);
                }
            }
            (_, other) => return Err(other.unexpected().into()),
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request> {
        parse(lexopt::Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn flags_are_read() {
        let serve = |check, port, allow_local| Request::Serve { check, port, allow_local };
        assert_eq!(parsed("serve --check").unwrap(), serve(true, 0, false));
        assert_eq!(parsed("serve --port 8080 --allow-local").unwrap(), serve(false, 8080, true));
        assert_eq!(
            parsed("test --only fmt,e2e").unwrap(),
            Request::Test { only: vec![steps::StepId::Fmt, steps::StepId::E2e] }
        );
        assert_eq!(parsed("large out/moe").unwrap(), Request::Large { folder: "out/moe".into() });
        let job = full_size::FullSize { folder: "big".into(), gigabytes: 3, to: "fp8".into() };
        assert_eq!(parsed("full-size big --gigabytes 3 --to fp8").unwrap(), Request::FullSize(job));
        assert_eq!(parsed("fuzz --thousandths 5").unwrap(), Request::Fuzz { share: 5 });
        let job = soak::Soak { minutes: 5, seed: 7, share: 0 };
        assert_eq!(parsed("soak --minutes 5 --seed 7 --thousandths 0").unwrap(), Request::Soak(job));
        let job = bench::Bench { only: vec!["a".into(), "b".into()], quick: true, ..bench::Bench::default() };
        assert_eq!(parsed("bench --quick --only a,b").unwrap(), Request::Bench(job));
        assert_eq!(parsed("").unwrap(), Request::Help);
    }

    #[test]
    fn unknown_words_are_refused() {
        for line in [
            "build",
            "serve --only fmt",
            "serve --port many",
            "large",
            "test --only everything",
            "samples sound",
        ] {
            assert!(parsed(line).is_err(), "{line} was taken");
        }
    }
}
