//! `convert`: a copy whose layers are quantized, or with `--plan` what it would be.

use crate::args::{Convert, ZeroTensors};
use crate::control::Bars;
use crate::engine::EngineSet;
use crate::exit::{Failure, Status};
use crate::files::checkpoints;
use crate::json::{print, tool};
use crate::sink::FolderSink;
use crate::{calibration, text};
use quantscope_format::Limits;
use quantscope_session::api::ConvertRequest;
use serde_json::json;
use std::path::Path;

pub(crate) async fn run(command: &Convert, limits: &Limits) -> Result<Status, Failure> {
    let bars = Bars::new();
    let mut found = checkpoints(std::slice::from_ref(&command.source), limits)?;
    let (Some(checkpoint), true) = (found.pop(), found.is_empty()) else {
        return Err(Failure::new(
            "usage",
            format!("{} matches several checkpoints; convert them one by one", command.source.display()),
        ));
    };
    let mut session = super::open(checkpoint, limits, &bars).await?;
    let calibration_json = match &command.calibration {
        Some(path) => calibration::give(&mut session, path, limits).await?,
        None => None,
    };
    let request = ConvertRequest {
        to: command.to.clone(),
        exclude: command.exclude.clone(),
        layers: command.layers.clone(),
        dtype: command.dtype.map(|dtype| dtype.id().to_owned()),
        calibration_json,
        zero_tensors_as_reference: command.zero_tensors == ZeroTensors::Reference,
        group_size: command.group_size,
        fp8_rounding: Some(command.fp8_rounding.clone()),
        conv3d: Some(command.conv3d.clone()),
        ties: Some(command.ties.clone()),
        canonical: command.canonical.clone(),
        declared_ties: Vec::new(),
    };
    let plan = session.plan(&request)?;
    if command.plan {
        if command.json {
            print(&json!({"schema": 1, "tool": tool(), "plan": plan}))?;
        } else {
            text::out(&text::plan::describe(&plan))?;
        }
        return Ok(Status::Fine);
    }
    let output = output_folder(command.output.as_deref())?;
    if !command.json {
        text::note(&text::plan::in_one_line(&plan));
    }
    let engines = EngineSet::open(command.engine.into()).await?;
    let mut sink = FolderSink::new(output)?;
    let summary = session.convert(&request, engines.engines(), &mut sink, &bars).await;
    bars.clear();
    let summary = summary?;
    if command.json {
        print(
            &json!({"schema": 1, "tool": tool(), "output": output.display().to_string(), "summary": summary}),
        )?;
    } else {
        text::out(&text::plan::describe_done(&plan, &summary, output))?;
    }
    Ok(Status::Fine)
}

/// The folder that `-o` names.
pub(super) fn output_folder(output: Option<&Path>) -> Result<&Path, Failure> {
    let output = output.ok_or_else(|| Failure::new("usage", "-o OUT is missing"))?;
    if output.extension().is_some_and(|extension| extension == "safetensors") {
        let message =
            format!("-o names a folder, for weights and configs; {} looks like a file", output.display());
        return Err(Failure::new("usage", message));
    }
    Ok(output)
}
