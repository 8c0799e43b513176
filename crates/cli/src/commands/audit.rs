//! `audit`: what is wrong with a checkpoint, from headers and configs and, unless told otherwise, bytes.

use crate::args::{Audit, FailOn};
use crate::control::Bars;
use crate::engine::EngineSet;
use crate::exit::{Failure, Status};
use crate::files::checkpoints;
use crate::text;
use quantscope_format::Limits;
use quantscope_session::api::AuditChoice;

pub(crate) async fn run(command: &Audit, limits: &Limits) -> Result<Status, Failure> {
    let choice = AuditChoice { targets: command.target.clone(), disabled: command.disable.clone() };
    // A name that is not known is told before anything is read.
    choice.check()?;
    let form = command.format.form(command.json);
    let bars = Bars::new();
    let engines = match command.headers_only {
        true => None,
        false => Some(EngineSet::open(command.engine.into()).await?),
    };
    let (mut sessions, mut fails) = (Vec::new(), false);
    for checkpoint in checkpoints(&command.paths, limits).await? {
        let mut session = super::open(checkpoint, limits, &bars).await?;
        session.choose(&choice)?;
        let verified = match &engines {
            Some(engines) => Some(session.verify(engines.engines(), &bars).await?),
            None => None,
        };
        bars.clear();
        let view = session.audit_view();
        let summary = view.summary();
        fails |= match command.fail_on {
            FailOn::Error => summary.errors > 0,
            FailOn::Warning => summary.errors > 0 || summary.warnings > 0,
            FailOn::Never => false,
        };
        if form.is_none() {
            let groups = session.findings();
            text::out(&text::findings::describe(&view.overview, &summary, &groups, verified.as_ref()))?;
        } else {
            sessions.push(session);
        }
    }
    if let Some(form) = form {
        text::report(form, &sessions)?;
    }
    Ok(if fails { Status::Findings } else { Status::Fine })
}
