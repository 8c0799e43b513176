//! `inspect`: what a checkpoint is, from its headers and configs.

use crate::args::Inspect;
use crate::control::Bars;
use crate::exit::{Failure, Status};
use crate::files::checkpoints;
use crate::text;
use quantscope_format::Limits;

pub(crate) async fn run(command: &Inspect, limits: &Limits) -> Result<Status, Failure> {
    let form = command.format.form(command.json);
    let bars = Bars::new();
    let mut sessions = Vec::new();
    for checkpoint in checkpoints(&command.paths, limits).await? {
        let session = super::open(checkpoint, limits, &bars).await?;
        match form {
            Some(_) => sessions.push(session),
            None => text::out(&text::overview::describe(&session.audit_view()))?,
        }
    }
    if let Some(form) = form {
        text::report(form, &sessions)?;
    }
    Ok(Status::Fine)
}
