//! `cargo xtask bench`: what the product does against what others do, in turns, as ratios.
//!
//! Two contestants of a comparison run in turns within one measuring run, so that what else happens on the machine
//! meets both. A row's ratio is the median over pairs; its spread the quartiles. Targets are judged here; nothing
//! fails because one is missed.

mod contestant;
mod inputs;
mod machine;
mod measure;
mod peers;
mod plot;
mod report;
mod rows;

use crate::project::Project;
use anyhow::{Result, ensure};
use inputs::{Inputs, Needed};
use std::path::PathBuf;

/// What is measured, and where it goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bench {
    /// Only rows whose name begins with one of these.
    pub(crate) only: Vec<String>,
    /// Smaller inputs and fewer turns: an hour's work can be checked in two minutes, the numbers are worth less.
    pub(crate) quick: bool,
    /// Also convert 100 GB with holes, of which 28 are written.
    pub(crate) large: bool,
    /// Install what the slow peers need: torch and ModelOpt, 5 GB.
    pub(crate) modelopt: bool,
    /// A page that is built already.
    pub(crate) page: Option<PathBuf>,
    /// Where the record goes.
    pub(crate) json: Option<PathBuf>,
    /// Write `docs/performance.md`.
    pub(crate) write: bool,
}

/// Builds, makes the inputs, measures, prints; writes what was asked for.
pub(crate) fn run(project: &Project, job: &Bench) -> Result<()> {
    ensure!(cfg!(target_os = "linux"), "the peers are programs of Linux, and memory is read from /proc");
    let tools = peers::find(project, job.modelopt)?;
    let any = |names: &[&str]| names.iter().any(|name| is_wanted(&job.only, name));
    let needed = Needed {
        tool: any(&rows::OF_THE_TOOL) || any(&["memory", "growth"]),
        wasm: any(&rows::IN_WASM),
        page: job.page.is_none() && any(&rows::OF_THE_PAGE),
    };
    let mut inputs = Inputs::make(project, job.quick, needed)?;
    inputs.page = job.page.clone().unwrap_or(inputs.page);
    let rows: Vec<rows::Row> =
        rows::all(&inputs, &tools).into_iter().filter(|row| is_wanted(&job.only, row.name)).collect();
    ensure!(!rows.is_empty(), "no row is called like that");
    // Before the first turn: what is built by now is what is measured, whatever becomes of the checkout.
    let machine = machine::describe(project, &tools);
    let mut results = Vec::new();
    for row in rows {
        let result = measure::row(row, job.quick);
        println!("{}", report::line(&result));
        results.push(result);
    }
    let memory = if is_wanted(&job.only, "memory") { inputs.peak_memory()? } else { Vec::new() };
    let growth =
        if is_wanted(&job.only, "growth") { inputs.growth(job.quick, job.large)? } else { Vec::new() };
    let record = report::Record { machine, results, memory, growth };
    report::print(&record);
    if let Some(path) = &job.json {
        std::fs::write(path, serde_json::to_vec_pretty(&record.json())?)?;
    }
    if job.write { report::write_page(project, &record) } else { Ok(()) }
}

fn is_wanted(only: &[String], name: &str) -> bool {
    only.is_empty() || only.iter().any(|part| name.starts_with(part.as_str()))
}
