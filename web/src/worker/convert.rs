//! The worker's part of the Convert view: where the output goes, and what becomes of it.

use super::desk::{Answer, Checkpoint, Desk, HEADERS};
use super::folder::FolderSink;
use super::hashing::Beside;
use super::js;
use super::output::{self, Written, free};
use super::sink::OpfsSink;
use super::stopped::Stopped;
use crate::protocol::{PlanSummary, Reply, RequestId, ResultSummary, STOPPED};
use quantscope_session::Arrange as _;
use quantscope_session::Sink as _;
use quantscope_session::api::{
    ConvertRequest, ConvertSummary, LayerError, PlanLayer, PlanView, SessionError,
};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Blob, FileSystemDirectoryHandle};

impl Desk {
    /// Converts into the folder that is attached, or into the private file system.
    pub(super) async fn convert(
        &self,
        id: RequestId,
        convert: ConvertRequest,
        calibrated: bool,
        resume: Option<bool>,
        attached: &[JsValue],
    ) -> Answer {
        let control = self.jobs.begin(id);
        let Checkpoint { session, sources } = self.checkpoint()?;
        let convert = self.calibrated(convert, calibrated);
        self.drop_output().await;
        let given =
            attached.first().and_then(|folder| folder.dyn_ref::<FileSystemDirectoryHandle>().cloned());
        // The folder that was picked before is still that of the answer to what stands in it.
        let asked = self.stopped_in.borrow().clone().filter(|_| resume.is_some());
        let picked = given.or(asked);
        let needed = needed(&session.plan(&convert)?);
        let engines = self.ready().await;
        let control = Beside::new(&control, self.engines().pool());
        let (summary, written) = match &picked {
            Some(picked) => {
                let refused = |error: JsValue| {
                    let why = js::reason(&error);
                    js::error("sink", format!("The folder {} cannot be written to: {why}", picked.name()))
                };
                let stopped = Stopped::find(picked, &self.output, resume == Some(false)).await;
                let stopped = stopped.map_err(refused)?;
                if let Some(stopped) = stopped.as_ref().filter(|_| resume.is_none()) {
                    *self.stopped_in.borrow_mut() = Some(picked.clone());
                    return Err(told_of(stopped, &picked.name()));
                }
                let sink = FolderSink::new(picked.clone(), &self.output, sources, stopped).await;
                let mut sink = sink.map_err(refused)?;
                let summary = session.convert(&convert, engines.engines(), &mut sink, &control).await;
                (summary, Written { folder: None, files: sink.into_files() })
            }
            None => {
                let folder = self.output.begin(needed).await?;
                let mut sink = OpfsSink::new(folder.clone(), sources);
                let summary = session.convert(&convert, engines.engines(), &mut sink, &control).await;
                if summary.is_err() {
                    sink.abandon().await;
                }
                (summary, Written { folder: Some(folder), files: sink.into_files() })
            }
        };
        self.tell_engine().await;
        let (mut summary, errors) = split(summary?, &written.files);
        summary.memory = self.engines().memory();
        summary.folder = picked.filter(|_| written.folder.is_none()).map(|picked| picked.name());
        *self.stopped_in.borrow_mut() = None;
        *self.errors.borrow_mut() = errors;
        let blobs = written.files.iter().map(|(_, blob)| blob.clone().into()).collect();
        *self.result.borrow_mut() = Some(written);
        Ok((Reply::Converted(summary), blobs))
    }

    /// Opens the files of the last result.
    pub(super) async fn open_result(&self, id: RequestId, name: String) -> Result<Reply, SessionError> {
        let files = self.result_files()?;
        let reply = self.open(id, &name, files).await?;
        self.forget_open_result().await;
        let written = self.result.borrow_mut().take();
        *self.open_result.borrow_mut() = written;
        Ok(reply)
    }

    /// The files of the last result.
    pub(super) fn result_files(&self) -> Result<Vec<(String, Blob)>, SessionError> {
        let files = self.result.borrow().as_ref().map(|written| written.files.clone());
        files.ok_or_else(|| js::error("nothing", "The result is no longer there; convert again."))
    }

    /// Frees the space that the last result takes in the browser. Files in a folder of the user's stay.
    pub(super) async fn drop_output(&self) {
        self.compare.forget_result();
        let written = self.result.borrow_mut().take();
        free(written).await;
    }

    pub(super) async fn output_dropped(&self) -> Result<Reply, SessionError> {
        self.drop_output().await;
        Ok(Reply::Done)
    }
}

/// What the user is asked where a dead tab has left finished files.
fn told_of(stopped: &Stopped, folder: &str) -> SessionError {
    let files = if stopped.finished == 1 { "weight file" } else { "weight files" };
    js::error(
        STOPPED,
        format!(
            "A conversion into the folder {folder} was broken off when {} {files} had been finished. With the same checkpoint and recipe \
             it can be continued: what is finished is compared, not made again.",
            stopped.finished
        ),
    )
}

/// Room that an output takes in the private file system: what passes unchanged stays where it is.
fn needed(plan: &PlanView) -> u64 {
    let packed = plan.packed.iter().map(|layer| layer.bytes_after).fold(0, u64::saturating_add);
    packed.saturating_add(HEADERS)
}

/// Most refusals that travel.
const REFUSALS: usize = 50;

/// A plan without its rows, and the room there is for it.
pub(super) async fn summary_of(plan: &PlanView) -> PlanSummary {
    let lossless = |layer: &&PlanLayer| layer.lossless == Some(true);
    PlanSummary {
        packed_count: plan.packed.len() as u64,
        kept_count: plan.kept.len() as u64,
        files: plan.files.clone(),
        other_files: plan.other_files.clone(),
        bytes_before: plan.bytes_before,
        bytes_after: plan.bytes_after,
        bits_before: plan.bits_before,
        bits_after: plan.bits_after,
        warnings: plan.warnings.clone(),
        refused: plan.refused.iter().take(REFUSALS).cloned().collect(),
        refused_count: plan.refused.len() as u64,
        lossless_count: plan.packed.iter().filter(lossless).count() as u64,
        bytes_to_write: plan.bytes_to_write,
        bytes_here: needed(plan),
        free_here: output::free_bytes().await,
    }
}

/// The result without its rows, which stay here, the worst layer first. All files that the sink holds are named,
/// in its order: the blobs that travel beside have no names.
fn split(summary: ConvertSummary, files: &[(String, Blob)]) -> (ResultSummary, Vec<LayerError>) {
    let ConvertSummary {
        packed, copied, bytes_written, engine, read_back_equal, mut errors, warnings, ..
    } = summary;
    let noise = |error: &LayerError| error.sqnr_db.unwrap_or(f64::INFINITY);
    errors.arrange_by(|a, b| noise(a).total_cmp(&noise(b)).then_with(|| a.name.cmp(&b.name)));
    let worst = errors.first().and_then(|error| Some((error.name.clone(), error.sqnr_db?)));
    let result = ResultSummary {
        files: files
            .iter()
            .map(|(name, blob)| (name.clone(), js::to_u64(blob.size()).unwrap_or(0)))
            .collect(),
        packed,
        copied,
        bytes_written,
        engine,
        read_back_equal,
        error_rows: errors.len() as u64,
        worst,
        warnings,
        ..ResultSummary::default()
    };
    (result, errors)
}
