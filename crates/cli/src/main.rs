//! `quantscope`: what a checkpoint is, what is wrong with it, and a converted copy of it.
//!
//! Knows: arguments, files, the terminal, exit codes. Does not know: schemes, rules, kernels.
//! Everything it prints comes from one session's replies, the same that the page shows.
#![forbid(unsafe_code)]

mod args;
mod calibration;
mod commands;
mod control;
mod engine;
mod exit;
mod files;
mod json;
mod pace;
mod remote;
mod sink;
mod source;
mod space;
mod text;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let wants_json = args.wants_json();
    let done = commands::run(args);
    remote::note_traffic();
    match done {
        Ok(status) => status.into(),
        Err(failure) => {
            eprintln!("quantscope: {}", failure.message);
            if wants_json {
                json::print_failure(&failure);
            }
            failure.status().into()
        }
    }
}
