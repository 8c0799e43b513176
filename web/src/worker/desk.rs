//! Answers requests: the one place that joins session, engines, sources and sink.

use super::blob::BlobSource;
use super::compare::CompareDesk;
use super::control::Jobs;
use super::engines::EngineRoom;
use super::js;
use super::judging;
use super::lab::SweepHeld;
use super::later::{self, work};
use super::output::{Output, Written};
use super::samples;
use super::sink::Sources;
use super::tell;
use crate::protocol::remote::Traffic;
use crate::protocol::{EngineStatus, Event, ExploreReply, ExploreRequest, Reply, Request, RequestId};
use gloo_timers::future::TimeoutFuture;
use quantscope_session::Gather as _;
use quantscope_session::api::{EngineChoice, LayerError, PlanView, SessionError};
use quantscope_session::{InputFile, Limits, Session};
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{Blob, FileSystemDirectoryHandle};

/// Most layers of a finding that travel; the page jumps to them by rule, not by name.
const LAYERS_OF_A_FINDING: usize = 12;
/// Room that the headers and configs of an output take, beside its packed tensors.
pub(super) const HEADERS: u64 = 8 << 20;

/// Milliseconds after the start before the rest of the program is fetched unasked: a checkpoint may be on its way in.
const ARRIVAL_MS: u32 = 1500;

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
    engines: OnceCell<EngineRoom>,
    pub(super) engine_choice: Cell<EngineChoice>,
    /// How many compute workers are asked for.
    workers: Option<u32>,
    pub(super) jobs: Rc<Jobs>,
    pub(super) output: Output,
    pub(super) checkpoint: RefCell<Option<Checkpoint>>,
    /// Whether someone judges what is open.
    pub(super) judging: Cell<bool>,
    pub(super) calibration: RefCell<Option<String>>,
    pub(super) sweep: RefCell<Option<SweepHeld>>,
    pub(super) compare: CompareDesk,
    /// What went over the network for what is open.
    pub(super) traffic: Rc<Cell<Traffic>>,
    pub(super) plan: RefCell<PlanView>,
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
            engines: OnceCell::new(),
            engine_choice: Cell::default(),
            workers,
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
    pub(super) async fn answer(
        self: &Rc<Self>,
        id: RequestId,
        request: Request,
        attached: Vec<JsValue>,
    ) -> Answer {
        if judging::is_needed(&request) {
            self.judge_now();
        }
        // Nothing of `work` is done before the part of the program that does it is here.
        let work = match request {
            Request::Open { name, paths } => {
                let files = paths.into_iter().zip(attached.into_iter().map(JsCast::unchecked_into)).collect();
                let reply = self.open(id, &name, files).await?;
                self.forget_open_result().await;
                return Ok((reply, Vec::new()));
            }
            Request::OpenSample { folder, name } => {
                let files = samples::fetch(&folder).await?;
                let reply = self.open(id, &name, files).await?;
                self.forget_open_result().await;
                return Ok((reply, Vec::new()));
            }
            Request::Explore(ExploreRequest::Tree(query)) => {
                let tree = self.session()?.tree(&query);
                return Ok((Reply::Explore(ExploreReply::Tree(tree)), Vec::new()));
            }
            Request::Explore(ExploreRequest::Size { path }) => {
                let size = self.session()?.size_view(&path);
                return Ok((Reply::Explore(ExploreReply::Size(size)), Vec::new()));
            }
            Request::Layer { name } => return Ok((Reply::Layer(self.session()?.layer(&name)), Vec::new())),
            Request::Findings(query) => {
                let mut groups = self.session()?.findings_of(&query);
                for finding in groups.iter_mut().flat_map(|group| &mut group.findings) {
                    finding.layers.truncate(LAYERS_OF_A_FINDING);
                }
                return Ok((Reply::Findings(groups), Vec::new()));
            }
            Request::Ties => return Ok((Reply::Ties(self.session()?.ties()), Vec::new())),
            Request::Memory => return Ok((Reply::Memory { bytes: js::memory_bytes() }, Vec::new())),
            Request::SetEngine(choice) => {
                self.choose_engine(choice);
                return Ok((Reply::Done, Vec::new()));
            }
            Request::Cancel { job } => {
                self.jobs.cancel(job);
                return Ok((Reply::Done, Vec::new()));
            }
            Request::Explore(ExploreRequest::Heat(query)) => work(self.heat(id, query)),
            Request::Explore(ExploreRequest::Block { name, row, col }) => work(self.block(name, row, col)),
            Request::Values { name } => work(self.values(id, name)),
            Request::Remote(request) => work(self.remote(id, request)),
            Request::Lab(request) => work(self.lab(id, request)),
            Request::Compare(request) => work(self.compare(id, request, &attached)),
            Request::RepairPlan { rules } => work(self.repair_plan(rules)),
            Request::Repair { rules } => Box::pin(self.repair(id, rules)),
            Request::Report(form) => Box::pin(self.report(form)),
            Request::Audit(choice) => work(async move { self.audit(&choice) }),
            Request::Verify => work(self.verify(id, false)),
            Request::Calibration => work(self.take_calibration(&attached)),
            Request::Plan { convert, calibrated } => work(self.plan(convert, calibrated)),
            Request::Recipe(request) => Box::pin(super::recipe::answer(request, &attached)),
            Request::PlanRows { packed, start, count } => work(self.plan_rows(packed, start, count)),
            Request::Convert { convert, calibrated, resume } => {
                Box::pin(self.convert(id, convert, calibrated, resume, &attached))
            }
            Request::OpenResult { name } => work(self.open_result(id, name)),
            Request::ResultRows { start, count } => work(self.result_rows(start, count)),
            Request::ProofRows { start, count } => work(self.proof_rows(start, count)),
            Request::DropOutput => work(self.output_dropped()),
        };
        let _waits = self.jobs.begin(id);
        if let Err(error) = later::fetch().await {
            // How it is taken down, the later part alone knows: a few hundred bytes stay.
            std::mem::forget(work);
            return Err(error);
        }
        work.await
    }

    /// Takes the user's choice, and tells what it comes to. That of the CPU comes to the CPU; whether there is a GPU,
    /// the part of the program knows that is fetched later.
    fn choose_engine(self: &Rc<Self>, choice: EngineChoice) {
        self.engine_choice.set(choice);
        if choice == EngineChoice::Cpu {
            tell(Event::Engine(EngineStatus { label: "CPU".into(), note: String::new(), gpu: false }));
            return;
        }
        let desk = Rc::clone(self);
        spawn_local(async move {
            if !later::is_here() {
                TimeoutFuture::new(ARRIVAL_MS).await;
            }
            // Without it there is nothing to tell; what needs it will say so.
            if later::fetch().await.is_ok() {
                desk.tell_engine().await;
            }
        });
    }

    pub(super) fn checkpoint(&self) -> Result<Checkpoint, SessionError> {
        self.checkpoint
            .borrow()
            .clone()
            .ok_or_else(|| js::error("nothing", "No checkpoint is open. Drop files first."))
    }

    /// The engines. Only what is fetched later may ask for them.
    pub(super) fn engines(&self) -> &EngineRoom {
        self.engines.get_or_init(|| EngineRoom::new(self.workers))
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
        // The browser takes nearly as long over a question for less.
        let limits = Limits { tile_bytes: 16 << 20, ..Limits::default() };
        Ok((Session::read(name, inputs, limits, &control).await?, files))
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
}
