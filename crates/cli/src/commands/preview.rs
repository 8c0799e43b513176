//! `preview`: what quantization would do to one layer, or to all, and the mixed recipe that fits a budget.

use crate::args::EngineArg;
use crate::control::Bars;
use crate::engine::EngineSet;
use crate::exit::{Failure, Status};
use crate::files::checkpoints;
use crate::json::{print, tool};
use crate::text;
use clap::Args;
use quantscope_format::Limits;
use quantscope_session::api::{Budget, PreviewRequest};
use quantscope_session::{Session, parse_size};
use serde_json::json;
use std::path::PathBuf;

/// Arguments of `preview`.
#[derive(Debug, Args)]
pub(crate) struct Preview {
    /// The checkpoint: a file, a folder or a glob.
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// The layer: a module path, or the name of its weight. Without it, all layers are tried one by one.
    #[arg(long, value_name = "NAME")]
    pub(crate) tensor: Option<String>,
    /// Schemes to try, such as nvfp4,fp8.
    #[arg(long, value_name = "ID[,ID…]", value_delimiter = ',', required = true)]
    pub(crate) to: Vec<String>,
    /// Weights that share a scale, in the schemes that leave it open, such as int4 (128 without it).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) group_size: Option<u64>,
    /// Propose the mixed recipe of least error that fits: bytes of all tensors, such as 5GB, or bits per weight of
    /// the layers tried, such as 5.5.
    #[arg(long, value_name = "SIZE", conflicts_with = "tensor", value_parser = parse_budget)]
    pub(crate) budget: Option<Budget>,
    /// Engine that quantizes; the figures are the same.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) engine: EngineArg,
    /// Print one JSON document and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn run(command: &Preview, limits: &Limits) -> Result<Status, Failure> {
    let bars = Bars::new();
    let mut found = checkpoints(std::slice::from_ref(&command.path), limits).await?;
    let (Some(checkpoint), true) = (found.pop(), found.is_empty()) else {
        let path = command.path.display();
        return Err(Failure::new("usage", format!("{path} matches several checkpoints; name one of them")));
    };
    let session = super::open(checkpoint, limits, &bars).await?;
    let engines = EngineSet::open(command.engine.into()).await?;
    match &command.tensor {
        Some(layer) => one(command, layer, &session, &engines, &bars).await?,
        None => all(command, &session, &engines, &bars).await?,
    }
    Ok(Status::Fine)
}

async fn one(
    command: &Preview,
    layer: &str,
    session: &Session,
    engines: &EngineSet,
    bars: &Bars,
) -> Result<(), Failure> {
    let request = PreviewRequest {
        layer: layer.to_owned(),
        schemes: command.to.clone(),
        group_size: command.group_size,
        sample_bytes: None,
    };
    let trial = session.preview(&request, engines.engines(), bars).await;
    bars.clear();
    let trial = trial?;
    if command.json {
        print(&json!({"schema": 1, "tool": tool(), "preview": trial}))
    } else {
        text::out(&text::preview::describe(&trial))
    }
}

async fn all(command: &Preview, session: &Session, engines: &EngineSet, bars: &Bars) -> Result<(), Failure> {
    let mut sweep = session.sweep(&command.to, command.group_size, None)?;
    loop {
        let step = session.sweep_step(&mut sweep, engines.engines(), bars).await;
        if !step.inspect_err(|_| bars.clear())? {
            break;
        }
    }
    bars.clear();
    let proposal = command.budget.map(|budget| session.propose(&sweep, budget)).transpose()?;
    if command.json {
        print(&json!({"schema": 1, "tool": tool(), "layers": sweep.rows(), "proposal": proposal}))
    } else {
        text::out(&text::preview::describe_all(sweep.rows(), proposal.as_ref()))
    }
}

/// A size with a unit is bytes; a plain number is bits per weight.
fn parse_budget(text: &str) -> Result<Budget, String> {
    match text.parse::<f64>() {
        Ok(bits) if bits.is_finite() && bits > 0.0 => Ok(Budget::BitsPerWeight(bits)),
        Ok(_) => Err("bits per weight are a number above 0".into()),
        Err(_) => parse_size(text).map(Budget::Bytes).map_err(|error| error.message),
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, parse_budget};

    #[test]
    fn budgets_are_bytes_or_bits() {
        assert_eq!(parse_budget("5.5"), Ok(Budget::BitsPerWeight(5.5)));
        assert_eq!(parse_budget("5GB"), Ok(Budget::Bytes(5_000_000_000)));
        for wrong in ["", "0", "-1", "nan", "5 bits", "inf"] {
            assert!(parse_budget(wrong).is_err(), "{wrong}");
        }
    }
}
