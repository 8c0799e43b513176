//! `inspect`: what a checkpoint is, from its headers and configs.

use crate::args::Inspect;
use crate::control::Bars;
use crate::exit::{Failure, Status};
use crate::files::checkpoints;
use crate::text;
use quantscope_format::Limits;
use quantscope_session::render::render;

pub(crate) async fn run(command: &Inspect, limits: &Limits) -> Result<Status, Failure> {
    let form = command.format.form(command.json);
    let bars = Bars::new();
    let mut views = Vec::new();
    for checkpoint in checkpoints(&command.paths, limits)? {
        let session = super::open(checkpoint, limits, &bars).await?;
        let view = session.audit_view();
        if form.is_none() {
            text::out(&text::overview::describe(&view.overview, &view.report))?;
        }
        views.push(view);
    }
    if let Some(form) = form {
        text::out(&render(form, views)?)?;
    }
    Ok(Status::Fine)
}
