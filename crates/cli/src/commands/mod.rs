//! The commands: from arguments to a session's replies to what is printed. One file each.

mod audit;
mod convert;
mod inspect;
mod rules;

use crate::args::{Args, Command};
use crate::control::{Bars, listen};
use crate::exit::{Failure, Status};
use crate::files::CheckpointFiles;
use quantscope_format::Limits;
use quantscope_session::Session;
use quantscope_session::api::Report;
use serde_json::Value;

pub(crate) fn run(args: Args) -> Result<Status, Failure> {
    listen()?;
    let limits = args.limits();
    pollster::block_on(async {
        match args.command {
            Command::Inspect(command) => inspect::run(&command, &limits).await,
            Command::Audit(command) => audit::run(&command, &limits).await,
            Command::Convert(command) => convert::run(&command, &limits).await,
            Command::Rules(command) => rules::run(&command),
        }
    })
}

/// Opens one checkpoint: headers, index and configs.
async fn open(checkpoint: CheckpointFiles, limits: &Limits, bars: &Bars) -> Result<Session, Failure> {
    let session = Session::open(&checkpoint.name, checkpoint.files, *limits, bars).await;
    bars.clear();
    Ok(session?)
}

/// One report as a document, several as an array of them.
fn print_reports(reports: &[Report]) -> Result<(), Failure> {
    match reports {
        [one] => crate::json::print(one),
        several => {
            let reports: Result<Vec<Value>, _> = several.iter().map(serde_json::to_value).collect();
            let reports = reports.map_err(|error| Failure::new("refused", error.to_string()))?;
            crate::json::print(&Value::Array(reports))
        }
    }
}
