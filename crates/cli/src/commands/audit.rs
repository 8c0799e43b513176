//! `audit`: what is wrong with a checkpoint, from headers and configs and, unless told otherwise, bytes.

use crate::args::{Audit, FailOn, Format};
use crate::control::Bars;
use crate::engine::EngineSet;
use crate::exit::{Failure, Status};
use crate::files::checkpoints;
use crate::text;
use quantscope_format::Limits;
use quantscope_session::api::{FindingGroup, Report, Severity};
use quantscope_session::rule;

pub(crate) async fn run(command: &Audit, limits: &Limits) -> Result<Status, Failure> {
    let disabled = known_rules(&command.disable)?;
    let as_json = command.json || command.format == Format::Json;
    let bars = Bars::new();
    let engines = match command.headers_only {
        true => None,
        false => Some(EngineSet::open(command.engine.into()).await?),
    };
    let mut reports = Vec::new();
    for checkpoint in checkpoints(&command.paths, limits)? {
        let mut session = super::open(checkpoint, limits, &bars).await?;
        let verified = match &engines {
            Some(engines) => Some(session.verify(engines.engines(), &bars).await?),
            None => None,
        };
        bars.clear();
        let mut report = session.report();
        let mut groups = session.findings();
        leave_out(&disabled, &mut report, &mut groups);
        if !as_json {
            text::out(&text::findings::describe(&session.overview(), &report, &groups, verified.as_ref()))?;
        }
        reports.push(report);
    }
    if as_json {
        super::print_reports(&reports)?;
    }
    let fails = |report: &Report| match command.fail_on {
        FailOn::Error => report.summary.errors > 0,
        FailOn::Warning => report.summary.errors > 0 || report.summary.warnings > 0,
        FailOn::Never => false,
    };
    Ok(if reports.iter().any(fails) { Status::Findings } else { Status::Fine })
}

/// Ids as the registry spells them.
fn known_rules(ids: &[String]) -> Result<Vec<&'static str>, Failure> {
    let known = |id: &String| {
        rule(id).map(|rule| rule.id).ok_or_else(|| {
            Failure::new("usage", format!("no rule is called {id:?}; `quantscope rules` lists them"))
        })
    };
    ids.iter().map(known).collect()
}

fn leave_out(disabled: &[&str], report: &mut Report, groups: &mut Vec<FindingGroup>) {
    groups.retain(|group| !disabled.contains(&group.rule.as_str()));
    report.findings.retain(|finding| !disabled.contains(&finding.rule.as_str()));
    let count =
        |severity| report.findings.iter().filter(|finding| finding.severity == severity).count() as u64;
    let (errors, warnings, infos) = (count(Severity::Error), count(Severity::Warning), count(Severity::Info));
    let summary = &mut report.summary;
    (summary.errors, summary.warnings, summary.infos) = (errors, warnings, infos);
}
