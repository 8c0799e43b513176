//! `diff`: what differs between two checkpoints.

use crate::args::EngineArg;
use crate::control::Bars;
use crate::engine::EngineSet;
use crate::exit::{Failure, Status};
use crate::files::checkpoints;
use crate::json::{print, tool};
use crate::text;
use clap::Args;
use quantscope_format::Limits;
use quantscope_session::Session;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The first checkpoint, such as the source of a conversion: a file, a folder or a glob.
    #[arg(value_name = "A")]
    pub(crate) a: PathBuf,
    /// The second, such as the export.
    #[arg(value_name = "B")]
    pub(crate) b: PathBuf,
    /// Rules from the names of the first to those of the second, as in convert. Without them the names that a
    /// conversion gives are known.
    #[arg(long, value_name = "RULES.json")]
    pub(crate) rename: Option<PathBuf>,
    /// Engine that decodes; the figures are the same.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) engine: EngineArg,
    /// Print one JSON document and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn run(command: &Diff, limits: &Limits) -> Result<Status, Failure> {
    let bars = Bars::new();
    let rules =
        match &command.rename {
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
                Failure::new("usage", format!("{} cannot be read: {error}", path.display()))
            })?),
            None => None,
        };
    let a = open(&command.a, limits, &bars).await?;
    let b = open(&command.b, limits, &bars).await?;
    let engines = EngineSet::open(command.engine.into()).await?;
    let found = a.compare(&b, rules.as_deref(), engines.engines(), &bars).await;
    bars.clear();
    let found = found?;
    if command.json {
        print(&json!({"schema": 1, "tool": tool(), "diff": found}))?;
    } else {
        text::out(&text::diff::describe(&found))?;
    }
    Ok(if found.unexplained > 0 { Status::Findings } else { Status::Fine })
}

async fn open(path: &Path, limits: &Limits, bars: &Bars) -> Result<Session, Failure> {
    let mut found = checkpoints(std::slice::from_ref(&path.to_path_buf()), limits).await?;
    let (Some(checkpoint), true) = (found.pop(), found.is_empty()) else {
        let path = path.display();
        return Err(Failure::new("usage", format!("{path} matches several checkpoints; name one of them")));
    };
    super::open(checkpoint, limits, bars).await
}
