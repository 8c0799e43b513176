//! `inspect`: what a checkpoint is, from its headers and configs.

use crate::args::Inspect;
use crate::control::Bars;
use crate::exit::{Failure, Status};
use crate::files::checkpoints;
use crate::text;
use quantscope_format::Limits;

pub(crate) async fn run(command: &Inspect, limits: &Limits) -> Result<Status, Failure> {
    let bars = Bars::new();
    let mut reports = Vec::new();
    for checkpoint in checkpoints(&command.paths, limits)? {
        let session = super::open(checkpoint, limits, &bars).await?;
        let report = session.report();
        if !command.json {
            text::out(&text::overview::describe(&session.overview(), &report))?;
        }
        reports.push(report);
    }
    if command.json {
        super::print_reports(&reports)?;
    }
    Ok(Status::Fine)
}
