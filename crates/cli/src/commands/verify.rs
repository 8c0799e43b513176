//! `verify`: whether a converted checkpoint is still what its manifest says.

use crate::args::Verify;
use crate::control::Bars;
use crate::exit::{Failure, Status};
use crate::files::checkpoints;
use crate::json::{print, tool};
use crate::text;
use quantscope_format::Limits;
use quantscope_session::Session;
use serde_json::json;
use std::path::Path;

async fn open(path: &Path, limits: &Limits, bars: &Bars) -> Result<Session, Failure> {
    let mut found = checkpoints(&[path.to_path_buf()], limits).await?;
    match (found.pop(), found.is_empty()) {
        (Some(checkpoint), true) => super::open(checkpoint, limits, bars).await,
        _ => {
            let message = format!("{} matches several checkpoints; name one", path.display());
            Err(Failure::new("usage", message))
        }
    }
}

pub(crate) async fn run(command: &Verify, limits: &Limits) -> Result<Status, Failure> {
    let bars = Bars::new();
    let output = open(&command.output, limits, &bars).await?;
    let source = match &command.against {
        Some(path) => Some(open(path, limits, &bars).await?),
        None => None,
    };
    let proof = output.check_manifest(source.as_ref(), &bars).await;
    bars.clear();
    let proof = proof?;
    if command.json {
        print(&json!({
            "schema": 1,
            "tool": tool(),
            "output": command.output.display().to_string(),
            "against": command.against.as_ref().map(|path| path.display().to_string()),
            "verification": proof,
        }))?;
    } else {
        text::out(&text::proof::describe(&proof, &command.output))?;
    }
    Ok(if proof.verified { Status::Fine } else { Status::Findings })
}
