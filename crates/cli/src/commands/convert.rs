//! `convert`: a copy whose layers are quantized, decoded or kept as asked, or with `--plan` what it would be.

use crate::args::{Convert, ZeroTensors};
use crate::control::Bars;
use crate::engine::EngineSet;
use crate::exit::{Failure, Status};
use crate::files::checkpoints;
use crate::json::{print, tool};
use crate::pace::Pace;
use crate::sink::FolderSink;
use crate::{calibration, space, text};
use quantscope_format::Limits;
use quantscope_session::api::{ConvertRequest, PlanDocument};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

pub(crate) async fn run(command: &Convert, limits: &Limits) -> Result<Status, Failure> {
    let bars = Bars::new();
    let mut found = checkpoints(std::slice::from_ref(&command.source), limits).await?;
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
    let request = request(command, calibration_json, limits)?;
    if command.plan {
        return show_plan(command, &session.plan_document(&request)?);
    }
    let mut plan = session.plan(&request)?;
    let output = output_folder(command.output.as_deref())?;
    if !command.json {
        text::note(&text::plan::in_one_line(&plan));
    }
    // Of 100,000 layers that is memory, and what is told in the end needs none of it.
    (plan.packed, plan.kept) = (Vec::new(), Vec::new());
    let engines = EngineSet::open(command.engine.into()).await?;
    let mut sink = FolderSink::new(output, command.resume)?;
    let begun = Instant::now();
    let summary = session.convert(&request, engines.engines(), &mut sink, &bars).await;
    bars.clear();
    let summary = summary.map_err(|error| Failure::from(error).with(sink.kept()))?;
    let pace = Pace::new(plan.bytes_before, begun.elapsed());
    if command.json {
        let output = output.display().to_string();
        print(&json!({"schema": 1, "tool": tool(), "output": output, "summary": summary, "pace": pace}))?;
    } else {
        text::out(&text::plan::describe_done(&plan, &summary, output, pace))?;
    }
    Ok(Status::Fine)
}

/// `--plan --json`. Plans list every tensor, of which there may be a hundred thousand: written as they are, without a
/// copy of the whole on the way.
#[derive(Serialize)]
struct PlanReport<'a> {
    schema: u64,
    tool: Value,
    plan: &'a PlanDocument<'a>,
    space: Value,
}

/// `--plan`: what would be written, and whether there is room for it. What is refused makes the status that of a
/// conversion that was refused.
fn show_plan(command: &Convert, plan: &PlanDocument<'_>) -> Result<Status, Failure> {
    let free = command.output.as_deref().and_then(space::free);
    if command.json {
        let space = json!({"needed": plan.view.bytes_to_write, "free": free});
        print(&PlanReport { schema: 1, tool: tool(), plan, space })?;
    } else {
        text::out(&text::plan::describe(&plan.view, free))?;
    }
    Ok(if plan.view.refused.is_empty() { Status::Fine } else { Status::Refused })
}

/// What is asked: the flags, over the recipe if there is one.
fn request(
    command: &Convert,
    calibration_json: Option<String>,
    limits: &Limits,
) -> Result<ConvertRequest, Failure> {
    let flags = ConvertRequest {
        to: command.to.clone().unwrap_or_default(),
        exclude: command.exclude.clone(),
        layers: command.layers.clone(),
        dtype: command.dtype.map(|dtype| dtype.id().to_owned()),
        calibration_json,
        zero_tensors_as_reference: command.zero_tensors == ZeroTensors::Reference,
        group_size: command.group_size,
        fp8_rounding: command.fp8_rounding.clone(),
        conv3d: command.conv3d.clone(),
        ties: command.ties.clone(),
        canonical: command.canonical.clone(),
        expand_ties: command.expand_ties,
        rename_json: command.rename.as_deref().map(|path| text_of(path, limits)).transpose()?,
        fuse: command.fuse,
        pad: command.pad.clone(),
        swizzle: command.swizzle,
        shard_size: command.shard_size.clone(),
        ..ConvertRequest::default()
    };
    let Some(path) = &command.recipe else { return Ok(flags) };
    let recipe = ConvertRequest::from_toml(&text_of(path, limits)?)
        .map_err(|error| Failure::new(&error.kind, format!("{}: {}", path.display(), error.message)))?;
    Ok(recipe.overridden_by(&flags))
}

/// A text file that a flag names, within the limit of JSON files.
fn text_of(path: &Path, limits: &Limits) -> Result<String, Failure> {
    let fail = |what: String| Failure::new("refused", format!("{}: {what}", path.display()));
    let len = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
    if len > limits.json_bytes {
        return Err(fail(format!("{len} bytes are over the limit `json` of {}", limits.json_bytes)));
    }
    std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))
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
