//! Answers requests: the one place that joins session, engines, sources and sink.

use super::blob::BlobSource;
use super::compare::CompareDesk;
use super::control::Jobs;
use super::convert::{Written, summary_of};
use super::engines::EngineRoom;
use super::js;
use super::judging;
use super::lab::SweepHeld;
use super::output::Output;
use super::samples;
use super::sink::Sources;
use super::tell;
use crate::protocol::remote::Traffic;
use crate::protocol::{Event, Reply, Request, RequestId};
use quantscope_session::Gather as _;
use quantscope_session::api::{ConvertRequest, LayerError, PlanLayer, PlanView, SessionError};
use quantscope_session::{InputFile, Limits, Session};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, FileSystemDirectoryHandle};

/// Most layers of a finding that travel; the page jumps to them by rule, not by name.
const LAYERS_OF_A_FINDING: usize = 12;
/// Room that the headers and configs of an output take, beside its packed tensors.
pub(super) const HEADERS: u64 = 8 << 20;

/// An answer: the reply, and what is attached to it.
pub(super) type Answer = Result<(Reply, Vec<JsValue>), SessionError>;

/// The open checkpoint.
#[derive(Clone)]
pub(super) struct Checkpoint {
    pub(super) session: Rc<Session>,
    pub(super) sources: Sources,
}

/// Everything that the worker holds.
pub(super) struct Desk {
    pub(super) engines: EngineRoom,
    pub(super) jobs: Rc<Jobs>,
    pub(super) output: Output,
    pub(super) checkpoint: RefCell<Option<Checkpoint>>,
    /// Whether someone judges what is open.
    pub(super) judging: Cell<bool>,
    calibration: RefCell<Option<String>>,
    pub(super) sweep: RefCell<Option<SweepHeld>>,
    pub(super) compare: CompareDesk,
    /// What went over the network for what is open.
    pub(super) traffic: Rc<Cell<Traffic>>,
    plan: RefCell<PlanView>,
    pub(super) errors: RefCell<Vec<LayerError>>,
    /// The files of the last result.
    pub(super) result: RefCell<Option<Written>>,
    /// A folder in which a dead tab has left finished files, while the user is asked what shall become of them.
    pub(super) stopped_in: RefCell<Option<FileSystemDirectoryHandle>>,
    /// Those of the result that is open.
    pub(super) open_result: RefCell<Option<Written>>,
}

impl Desk {
    /// A desk with nothing on it.
    /// `workers` is how many compute workers are asked for.
    pub(super) fn new(workers: Option<u32>) -> Self {
        Self {
            engines: EngineRoom::new(workers),
            jobs: Rc::default(),
            output: Output::new(),
            checkpoint: RefCell::default(),
            judging: Cell::default(),
            calibration: RefCell::default(),
            sweep: RefCell::default(),
            compare: CompareDesk::default(),
            traffic: Rc::default(),
            plan: RefCell::default(),
            errors: RefCell::default(),
            result: RefCell::default(),
            stopped_in: RefCell::default(),
            open_result: RefCell::default(),
        }
    }

    /// What is done once, after the worker listens.
    pub(super) async fn begin(&self) {
        if let Err(error) = self.output.clean_up().await {
            web_sys::console::warn_1(&error);
        }
    }

    /// Answers a request.
    pub(super) async fn answer(&self, id: RequestId, request: Request, attached: Vec<JsValue>) -> Answer {
        if judging::is_needed(&request) {
            self.judge_now();
        }
        let reply = match request {
            Request::Open { name, paths } => {
                let files = paths.into_iter().zip(attached.into_iter().map(JsCast::unchecked_into)).collect();
                let reply = self.open(id, &name, files).await?;
                self.forget_open_result().await;
                reply
            }
            Request::OpenSample { folder, name } => {
                let files = samples::fetch(&folder).await?;
                let reply = self.open(id, &name, files).await?;
                self.forget_open_result().await;
                reply
            }
            Request::Explore(request) => return self.explore(id, request).await,
            Request::Remote(request) => self.remote(id, request).await?,
            Request::Layer { name } => Reply::Layer(self.session()?.layer(&name)),
            Request::Values { name } => {
                let control = self.jobs.begin(id);
                Reply::Values(self.session()?.layer_values(&name, &control).await?)
            }
            Request::Findings(query) => {
                let mut groups = self.session()?.findings_of(&query);
                for finding in groups.iter_mut().flat_map(|group| &mut group.findings) {
                    finding.layers.truncate(LAYERS_OF_A_FINDING);
                }
                Reply::Findings(groups)
            }
            Request::Lab(request) => self.lab(id, request).await?,
            Request::Compare(request) => self.compare(id, request, &attached).await?,
            Request::Ties => Reply::Ties(self.session()?.ties()),
            Request::Audit(choice) => self.audit(&choice)?,
            Request::RepairPlan { rules } => self.repair_plan(rules).await?,
            Request::Repair { rules } => return self.repair(id, &rules).await,
            Request::Report(form) => return self.report(form),
            Request::Verify => self.verify(id, false).await?,
            Request::Calibration => self.take_calibration(&attached).await?,
            Request::Plan { convert, calibrated } => {
                let plan = self.session()?.plan_with_refusals(&self.calibrated(convert, calibrated))?;
                let summary = summary_of(&plan).await;
                *self.plan.borrow_mut() = plan;
                Reply::Planned(summary)
            }
            Request::Recipe(request) => return super::recipe::answer(request, &attached).await,
            Request::PlanRows { packed, start, count } => {
                let plan = self.plan.borrow();
                let rows: &[PlanLayer] = if packed { &plan.packed } else { &plan.kept };
                Reply::PlanRows(window(rows, start, count))
            }
            Request::Convert { convert, calibrated, resume } => {
                return self.convert(id, convert, calibrated, resume, &attached).await;
            }
            Request::OpenResult { name } => self.open_result(id, &name).await?,
            Request::ResultRows { start, count } => {
                Reply::ResultRows(window(&self.errors.borrow(), start, count))
            }
            Request::ProofRows { start, count } => self.proof_rows(start, count).await?,
            Request::Memory => Reply::Memory { bytes: js::memory_bytes() },
            Request::DropOutput => {
                self.drop_output().await;
                Reply::Done
            }
            Request::SetEngine(choice) => {
                tell(Event::Engine(self.engines.choose(choice).await));
                Reply::Done
            }
            Request::Cancel { job } => {
                self.jobs.cancel(job);
                Reply::Done
            }
        };
        Ok((reply, Vec::new()))
    }

    pub(super) fn checkpoint(&self) -> Result<Checkpoint, SessionError> {
        self.checkpoint
            .borrow()
            .clone()
            .ok_or_else(|| js::error("nothing", "No checkpoint is open. Drop files first."))
    }

    pub(super) fn session(&self) -> Result<Rc<Session>, SessionError> {
        Ok(self.checkpoint()?.session)
    }

    pub(super) async fn open(
        &self,
        id: RequestId,
        name: &str,
        files: Vec<(String, Blob)>,
    ) -> Result<Reply, SessionError> {
        let (session, files) = self.session_of(id, name, files).await?;
        Ok(self.take(session, Rc::new(files.into_iter().gather_map())))
    }

    /// Opens files, and gives them back.
    pub(super) async fn session_of(
        &self,
        id: RequestId,
        name: &str,
        files: Vec<(String, Blob)>,
    ) -> Result<(Session, Vec<(String, Blob)>), SessionError> {
        let control = self.jobs.begin(id);
        let mut inputs = Vec::with_capacity(files.len());
        for (path, blob) in &files {
            let source = BlobSource::new(path, blob.clone())
                .map_err(|error| js::error("source", error.to_string()))?;
            inputs.push(InputFile { path: path.clone(), source: Rc::new(source) });
        }
        Ok((Session::read(name, inputs, Limits::default(), &control).await?, files))
    }

    /// Puts a checkpoint that was opened on the desk. `sources` are the files that the browser can splice.
    pub(super) fn take(&self, mut session: Session, sources: Sources) -> Reply {
        if judging::is_quick(&session) {
            session.judge();
        }
        let overview = session.overview();
        *self.checkpoint.borrow_mut() = Some(Checkpoint { session: Rc::new(session), sources });
        *self.calibration.borrow_mut() = None;
        *self.sweep.borrow_mut() = None;
        self.compare.clear();
        *self.plan.borrow_mut() = PlanView::default();
        Reply::Opened(overview)
    }

    /// Works on a copy of the session, so that the page can look around meanwhile, and so that a verification
    /// that is cancelled leaves everything as it was.
    pub(super) async fn verify(&self, id: RequestId, scales_alone: bool) -> Result<Reply, SessionError> {
        let control = self.jobs.begin(id);
        let checkpoint = self.checkpoint()?;
        let mut session = Session::clone(&checkpoint.session);
        let engines = self.engines.ready().await;
        let engines = engines.engines();
        let result = if scales_alone {
            session.check_scales(engines, &control).await
        } else {
            session.verify(engines, &control).await
        };
        tell(Event::Engine(self.engines.status().await));
        let summary = result?;
        let overview = session.overview();
        let mut open = self.checkpoint.borrow_mut();
        match open.as_mut().filter(|open| Rc::ptr_eq(&open.session, &checkpoint.session)) {
            Some(open) => open.session = Rc::new(session),
            None => return Err(js::error("cancelled", "Another checkpoint was opened meanwhile.")),
        }
        Ok(Reply::Verified { summary, overview })
    }

    pub(super) fn calibrated(&self, convert: ConvertRequest, calibrated: bool) -> ConvertRequest {
        let calibration_json = calibrated.then(|| self.calibration.borrow().clone()).flatten();
        ConvertRequest { calibration_json, ..convert }
    }

    async fn take_calibration(&self, attached: &[JsValue]) -> Result<Reply, SessionError> {
        let file = attached.first().and_then(|file| file.dyn_ref::<Blob>());
        let file = file.ok_or_else(|| js::error("refused", "No calibration file was given."))?;
        let text = JsFuture::from(file.text())
            .await
            .map_err(|error| {
                js::error("source", format!("The calibration file could not be read: {}", js::reason(&error)))
            })?
            .as_string()
            .unwrap_or_default();
        let entries =
            serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).map_err(|error| {
                js::error(
                    "refused",
                    format!(
                        "The calibration file is no JSON object ({error}). It has to look like \
                     {{\"decoder.conv_out.input_quantizer\": {{\"amax\": 0.1}}}}."
                    ),
                )
            })?;
        let entries = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        *self.calibration.borrow_mut() = Some(text);
        Ok(Reply::Calibrated { entries })
    }
}

fn window<T: Clone>(rows: &[T], start: u64, count: u64) -> Vec<T> {
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    rows.iter().skip(start).take(usize::try_from(count).unwrap_or(usize::MAX)).cloned().collect()
}
