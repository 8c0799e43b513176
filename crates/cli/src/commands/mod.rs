//! The commands: from arguments to a session's replies to what is printed. One file each.

mod audit;
mod convert;
pub(crate) mod diff;
mod inspect;
pub(crate) mod preview;
mod repair;
mod rules;
mod verify;

use crate::args::{Args, Command};
use crate::control::{Bars, listen};
use crate::exit::{Failure, Status};
use crate::files::CheckpointFiles;
use quantscope_format::Limits;
use quantscope_session::Session;

pub(crate) fn run(args: Args) -> Result<Status, Failure> {
    listen()?;
    let limits = args.limits();
    futures_executor::block_on(async {
        match args.command {
            Command::Inspect(command) => inspect::run(&command, &limits).await,
            Command::Audit(command) => audit::run(&command, &limits).await,
            Command::Preview(command) => preview::run(&command, &limits).await,
            Command::Convert(command) => convert::run(&command, &limits).await,
            Command::Diff(command) => diff::run(&command, &limits).await,
            Command::Repair(command) => repair::run(&command, &limits).await,
            Command::Verify(command) => verify::run(&command, &limits).await,
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
