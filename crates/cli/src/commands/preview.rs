//! `preview`: what quantization would do to one layer.

use crate::args::EngineArg;
use crate::control::Bars;
use crate::engine::EngineSet;
use crate::exit::{Failure, Status};
use crate::files::checkpoints;
use crate::json::{print, tool};
use crate::text;
use clap::Args;
use quantscope_format::Limits;
use quantscope_session::api::PreviewRequest;
use serde_json::json;
use std::path::PathBuf;

/// Arguments of `preview`.
#[derive(Debug, Args)]
pub(crate) struct Preview {
    /// The checkpoint: a file, a folder or a glob.
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// The layer: a module path, or the name of its weight.
    #[arg(long, value_name = "NAME")]
    pub(crate) tensor: String,
    /// Schemes to try, such as nvfp4,fp8.
    #[arg(long, value_name = "ID[,ID…]", value_delimiter = ',', required = true)]
    pub(crate) to: Vec<String>,
    /// Weights that share a scale, in the schemes that leave it open, such as int4 (128 without it).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) group_size: Option<u64>,
    /// Engine that quantizes; the figures are the same.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) engine: EngineArg,
    /// Print one JSON document and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn run(command: &Preview, limits: &Limits) -> Result<Status, Failure> {
    let bars = Bars::new();
    let mut found = checkpoints(std::slice::from_ref(&command.path), limits)?;
    let (Some(checkpoint), true) = (found.pop(), found.is_empty()) else {
        let path = command.path.display();
        return Err(Failure::new("usage", format!("{path} matches several checkpoints; name one of them")));
    };
    let session = super::open(checkpoint, limits, &bars).await?;
    let engines = EngineSet::open(command.engine.into()).await?;
    let request = PreviewRequest {
        layer: command.tensor.clone(),
        schemes: command.to.clone(),
        group_size: command.group_size,
        sample_bytes: None,
    };
    let trial = session.preview(&request, engines.engines(), &bars).await;
    bars.clear();
    let trial = trial?;
    if command.json {
        print(&json!({"schema": 1, "tool": tool(), "preview": trial}))?;
    } else {
        text::out(&text::preview::describe(&trial))?;
    }
    Ok(Status::Fine)
}
