//! `repair`: a copy in which what can be mended is mended, or with `--plan` what would change.

use crate::args::Repair;
use crate::control::Bars;
use crate::engine::EngineSet;
use crate::exit::{Failure, Status};
use crate::files::checkpoints;
use crate::json::{print, tool};
use crate::sink::FolderSink;
use crate::text;
use quantscope_format::Limits;
use quantscope_session::Session;
use quantscope_session::api::AuditChoice;
use serde_json::json;

pub(crate) async fn run(command: &Repair, limits: &Limits) -> Result<Status, Failure> {
    let choice = AuditChoice { targets: command.target.clone(), disabled: Vec::new() };
    choice.check()?;
    AuditChoice { targets: Vec::new(), disabled: command.rules.clone() }.check()?;
    let bars = Bars::new();
    let mut found = checkpoints(std::slice::from_ref(&command.source), limits).await?;
    let (Some(checkpoint), true) = (found.pop(), found.is_empty()) else {
        let source = command.source.display();
        return Err(Failure::new(
            "usage",
            format!("{source} matches several checkpoints; repair them one by one"),
        ));
    };
    let mut session = super::open(checkpoint, limits, &bars).await?;
    session.choose(&choice)?;
    let needs_bytes = Session::repair_needs_bytes(&command.rules);
    if needs_bytes && !command.plan {
        let engines = EngineSet::open(command.engine.into()).await?;
        let verified = session.verify(engines.engines(), &bars).await;
        bars.clear();
        verified?;
    }
    let plan = session.repair_plan(&command.rules).await?;
    if command.plan {
        if command.json {
            print(&json!({"schema": 1, "tool": tool(), "plan": plan}))?;
        } else {
            text::out(&text::repair::describe(&plan, needs_bytes))?;
        }
        return Ok(Status::Fine);
    }
    let output = super::convert::output_folder(command.output.as_deref())?;
    if plan.changes.is_empty() && plan.mends_all {
        return Err(Failure::new("refused", "there is nothing to mend; nothing was written"));
    }
    let mut sink = FolderSink::new(output, false)?;
    let summary = session.repair(&command.rules, &mut sink, &bars).await;
    bars.clear();
    let summary = summary?;
    if command.json {
        let output = output.display().to_string();
        print(&json!({"schema": 1, "tool": tool(), "output": output, "plan": plan, "summary": summary}))?;
    } else {
        text::out(&text::repair::describe_done(&plan, &summary, output))?;
    }
    Ok(if plan.mends_all { Status::Fine } else { Status::Findings })
}
