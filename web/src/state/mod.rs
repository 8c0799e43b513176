//! What the page knows, as plain data, and how each action changes it.
//!
//! [`State::update`] is the whole behaviour of the page: it changes the state and answers with commands for the
//! services (ask the worker, write the address, save a file). It names no browser interface, so its tests run
//! natively. What a view needs is not asked for by views: after each action [`State::ask_missing`] looks at where
//! the user is and asks for what is not there yet.

mod answers;
pub(crate) mod convert;
pub(crate) mod job;
pub(crate) mod list;
pub(crate) mod load;
pub(crate) mod picked;
pub(crate) mod route;
pub(crate) mod text;
pub(crate) mod treemap;

use crate::protocol::{EngineStatus, Event, Reply, Request, RequestId};
use convert::{Calibration, Convert, Form, Growing, ROWS};
use job::{Job, JobKind};
use list::{LayerList, PAGE};
use load::{Load, Shared};
use quantscope_session::api::{
    EngineChoice, FindingGroup, LayerDetail, LayerQuery, LayerRow, LayerValues, Overview, SessionError,
    TieReport, VerifySummary,
};
use route::{Filter, Route, View};
use std::collections::BTreeMap;

/// Layers that the size map draws one by one.
const SIZE_MAP_ROWS: u64 = 120;

/// What is open.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Phase {
    /// Nothing.
    #[default]
    Arrival,
    /// Headers are being read.
    Opening {
        /// What it is called.
        name: String,
    },
    /// A checkpoint.
    Open(Shared<Overview>),
}

/// Light, dark, or as the system says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Theme {
    /// As the system says.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

/// The layer in the panel.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Panel {
    /// Module path.
    pub(crate) name: String,
    /// From headers.
    pub(crate) detail: Load<Option<LayerDetail>>,
    /// From bytes.
    pub(crate) values: Load<LayerValues>,
}

/// Which engine works.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EngineState {
    /// What the user chose.
    pub(crate) choice: EngineChoice,
    /// What the worker made of it; `None` while it looks for an adapter.
    pub(crate) status: Option<EngineStatus>,
}

/// A message at the top of the view, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// What did not work, or what is done.
    pub(crate) title: String,
    /// What happened, to what, and the next step.
    pub(crate) text: String,
    /// Whether something went wrong.
    pub(crate) is_error: bool,
}

/// Where an answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Slot {
    Open,
    Layers { generation: u32, page: u64 },
    SizeMap,
    Detail,
    Values,
    Findings,
    Ties,
    Verify,
    Report,
    Calibration,
    Plan,
    PlanRows { packed: bool },
    Convert,
    ResultRows,
    Quiet,
}

/// What the user or the worker did.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Files were picked or dropped; the service holds them beside.
    OpenFiles {
        /// Name of the checkpoint.
        name: String,
        /// Paths, in the order of the files held.
        paths: Vec<String>,
    },
    /// A sample was chosen.
    OpenSample {
        /// Folder under `samples/`.
        folder: &'static str,
        /// What to call it.
        name: &'static str,
    },
    /// Files could not be taken.
    PickFailed(String),
    /// Back to arrival.
    Close,
    /// Another view.
    Go(View),
    /// The address changed under us: back, forward, or typed.
    Navigated(Route),
    /// The layer in the panel.
    Select(Option<String>),
    /// A row was clicked.
    SelectRow(u64),
    /// Another filter.
    SetFilter(Filter),
    /// The layers a rule touches.
    ShowRule(String),
    /// Rows in sight.
    ListWindow {
        /// First row.
        first: u64,
        /// How many.
        count: u64,
    },
    /// The keyboard moved.
    Move(i64),
    /// The keyboard came to a row by itself.
    CursorAt(u64),
    /// The keyboard opened.
    Enter,
    /// The keyboard closed.
    Escape,
    /// The search field is wanted.
    Search,
    /// The list of keys is wanted, or not.
    Keys(bool),
    /// Try again what failed.
    Retry,
    /// Verify bytes.
    Verify,
    /// Stop the job.
    CancelJob,
    /// Another engine.
    SetEngine(EngineChoice),
    /// Another theme.
    SetTheme(Theme),
    /// The system's theme changed.
    SystemDark(bool),
    /// The message was read.
    Dismiss,
    /// Another form.
    SetForm(Form),
    /// A calibration file was picked; the service holds it beside. `None` takes it away.
    SetCalibration(Option<String>),
    /// More rows of the plan.
    MorePlanRows {
        /// Packed layers, or kept ones.
        packed: bool,
    },
    /// More rows of the result.
    MoreResultRows,
    /// Convert.
    RunConvert,
    /// Save one file of the result.
    Save(String),
    /// Save all files of the result.
    SaveAll,
    /// Saving did not work.
    SaveFailed(String),
    /// Free the space of the result.
    DropOutput,
    /// Save the report.
    SaveReport,
    /// The worker answered.
    Answer {
        /// Request.
        id: RequestId,
        /// Answer.
        result: Box<Result<Reply, SessionError>>,
    },
    /// The worker told.
    Told(Event),
    /// The worker is gone.
    WorkerFailed(String),
}

/// What the services shall do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// Ask the worker.
    Send {
        /// Number of the request.
        id: RequestId,
        /// The request. Files held go with `Open` and `Calibration`.
        request: Request,
    },
    /// Write the address.
    SetAddress {
        /// Fragment.
        fragment: String,
        /// Whether the present entry of the history is replaced.
        replace: bool,
    },
    /// Apply and remember the theme.
    SetTheme(Theme),
    /// Save a file of the result.
    Save(String),
    /// Save all files of the result.
    SaveAll,
    /// Forget the blobs of the result.
    ForgetOutput,
    /// Put the keyboard into the search field.
    FocusSearch,
}

/// All the page knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    /// What is open.
    pub(crate) phase: Phase,
    /// Where the user is.
    pub(crate) route: Route,
    /// The layer list.
    pub(crate) list: LayerList,
    /// The layer in the panel.
    pub(crate) panel: Panel,
    /// The largest layers.
    pub(crate) size_map: Load<Vec<LayerRow>>,
    /// Findings by rule.
    pub(crate) findings: Load<Vec<FindingGroup>>,
    /// Tie groups.
    pub(crate) ties: Load<TieReport>,
    /// The Convert view.
    pub(crate) convert: Convert,
    /// The job that runs.
    pub(crate) job: Option<Job>,
    /// Which engine works.
    pub(crate) engine: EngineState,
    /// What the last verification did.
    pub(crate) verified: Option<Shared<VerifySummary>>,
    /// Message at the top.
    pub(crate) notice: Option<Notice>,
    /// Theme chosen.
    pub(crate) theme: Theme,
    /// Whether the system is dark.
    pub(crate) system_dark: bool,
    /// Whether the list of keys is open.
    pub(crate) keys_open: bool,
    /// Requests under way.
    waiting: BTreeMap<RequestId, Slot>,
    last_id: RequestId,
}

impl State {
    /// The page as it begins.
    pub(crate) fn new(route: Route, theme: Theme, system_dark: bool) -> Self {
        Self { route, theme, system_dark, ..Self::default() }
    }

    /// The checkpoint that is open.
    pub(crate) fn overview(&self) -> Option<&Shared<Overview>> {
        match &self.phase {
            Phase::Open(overview) => Some(overview),
            Phase::Arrival | Phase::Opening { .. } => None,
        }
    }

    /// Whether the plan that is shown is of the form as it is now.
    pub(crate) fn plan_is_fresh(&self) -> bool {
        let plan = &self.convert.plan;
        plan.value.is_some() && !plan.is_wanted() && plan.asked().is_none()
    }

    /// Whether the page is dark now.
    pub(crate) fn is_dark(&self) -> bool {
        match self.theme {
            Theme::System => self.system_dark,
            Theme::Light => false,
            Theme::Dark => true,
        }
    }

    /// Changes the state. `now_ms` is the time, for rates.
    pub(crate) fn update(&mut self, action: Action, now_ms: f64) -> Vec<Command> {
        let mut commands = Vec::new();
        match action {
            Action::OpenFiles { name, paths } if paths.is_empty() => {
                self.notice = Some(Notice {
                    title: "Nothing to open".into(),
                    text: format!(
                        "{name} holds no files. Choose .safetensors files, or the folder they are in."
                    ),
                    is_error: true,
                });
            }
            Action::OpenFiles { name, paths } => {
                self.open(name.clone(), Request::Open { name, paths }, now_ms, &mut commands);
            }
            Action::OpenSample { folder, name } => {
                let request = Request::OpenSample { folder: folder.into(), name: name.into() };
                self.open(name.into(), request, now_ms, &mut commands);
            }
            Action::PickFailed(text) => {
                self.notice = Some(Notice { title: "Could not take the files".into(), text, is_error: true });
            }
            Action::Close => {
                self.cancel_job(&mut commands);
                self.forget(&mut commands);
                self.phase = Phase::Arrival;
                self.go(Route::default(), false, &mut commands);
            }
            Action::Go(view) => self.go(Route { view, ..self.route.clone() }, false, &mut commands),
            Action::Navigated(route) => {
                // Layer and filters are not in the address of other views; they wait for the way back.
                self.route = if route.view == View::Layers {
                    route
                } else {
                    Route { view: route.view, ..self.route.clone() }
                };
            }
            Action::Select(layer) => self.select(layer, &mut commands),
            Action::SelectRow(index) => {
                self.list.cursor = Some(index);
                let name =
                    self.list.shown.as_ref().and_then(|rows| rows.row(index)).map(|row| row.name.clone());
                if name.is_some() {
                    self.select(name, &mut commands);
                }
            }
            Action::SetFilter(filter) => {
                let route = Route { view: View::Layers, filter, ..self.route.clone() };
                let replace = self.route.view == View::Layers;
                self.go(route, replace, &mut commands);
            }
            Action::ShowRule(rule) => {
                let filter = Filter { rule: Some(rule), ..Filter::default() };
                self.go(Route { view: View::Layers, layer: None, filter }, false, &mut commands);
            }
            Action::ListWindow { first, count } => self.list.set_window(first, count),
            Action::Move(rows) if self.route.view == View::Layers => {
                let name = self.list.move_cursor(rows).map(str::to_owned);
                if self.route.layer.is_some() && name.is_some() {
                    self.go(Route { layer: name, ..self.route.clone() }, true, &mut commands);
                }
            }
            Action::CursorAt(row) => self.list.cursor = Some(row),
            Action::Enter if self.route.view == View::Layers => {
                if let Some(index) = self.list.cursor {
                    return self.update(Action::SelectRow(index), now_ms);
                }
            }
            Action::Escape => {
                if self.keys_open {
                    self.keys_open = false;
                } else if self.route.view == View::Layers && self.route.layer.is_some() {
                    self.select(None, &mut commands);
                } else {
                    self.notice = None;
                }
            }
            Action::Move(_) | Action::Enter => {}
            Action::Search => {
                if self.overview().is_some() {
                    self.go(Route { view: View::Layers, ..self.route.clone() }, false, &mut commands);
                    commands.push(Command::FocusSearch);
                }
            }
            Action::Keys(open) => self.keys_open = open,
            Action::Retry => {
                self.list.failed = None;
                self.panel.detail.outdate();
                self.panel.values.outdate();
                self.findings.outdate();
                self.ties.outdate();
                self.size_map.outdate();
                self.convert.plan.outdate();
            }
            Action::Verify => {
                self.begin(Slot::Verify, JobKind::Verify, Request::Verify, now_ms, &mut commands);
            }
            Action::CancelJob => self.cancel_job(&mut commands),
            Action::SetEngine(choice) => {
                self.engine = EngineState { choice, status: None };
                self.send(Slot::Quiet, Request::SetEngine(choice), &mut commands);
            }
            Action::SetTheme(theme) => {
                self.theme = theme;
                commands.push(Command::SetTheme(theme));
            }
            Action::SystemDark(dark) => self.system_dark = dark,
            Action::Dismiss => self.notice = None,
            Action::SetForm(form) => {
                if self.convert.form != form {
                    self.convert.form = form;
                    self.convert.plan.outdate();
                }
            }
            Action::SetCalibration(file) => {
                self.convert.form.calibration = file.map(|file| Calibration { file, entries: None });
                if self.convert.form.calibration.is_some() {
                    self.send(Slot::Calibration, Request::Calibration, &mut commands);
                }
                self.convert.plan.outdate();
            }
            Action::MorePlanRows { packed } => self.ask_plan_rows(packed, &mut commands),
            Action::MoreResultRows => self.ask_result_rows(&mut commands),
            Action::RunConvert if !self.plan_is_fresh() => {}
            Action::RunConvert => {
                let (convert, calibrated) = self.convert.form.request();
                self.forget_result(&mut commands);
                let request = Request::Convert { convert, calibrated };
                self.begin(Slot::Convert, JobKind::Convert, request, now_ms, &mut commands);
            }
            Action::Save(file) => commands.push(Command::Save(file)),
            Action::SaveAll => commands.push(Command::SaveAll),
            Action::SaveFailed(text) => {
                self.notice = Some(Notice { title: "Not saved".into(), text, is_error: true });
            }
            Action::DropOutput => self.forget_result(&mut commands),
            Action::SaveReport => {
                self.send(Slot::Report, Request::Report, &mut commands);
            }
            Action::Answer { id, result } => {
                if let Some(slot) = self.waiting.remove(&id) {
                    self.settle(id, slot, *result, &mut commands);
                }
            }
            Action::Told(Event::Ready) => {}
            Action::Told(Event::Engine(status)) => self.engine.status = Some(status),
            Action::Told(Event::Progress { job, progress }) => {
                if let Some(running) = self.job.as_mut().filter(|running| running.id == job) {
                    running.advance(progress, now_ms);
                }
            }
            Action::Told(Event::Failed(text)) | Action::WorkerFailed(text) => {
                self.job = None;
                self.waiting.clear();
                if !matches!(self.phase, Phase::Open(_)) {
                    self.phase = Phase::Arrival;
                }
                self.notice = Some(Notice { title: "The worker stopped".into(), text, is_error: true });
            }
        }
        self.ask_missing(&mut commands);
        commands
    }

    /// Asks for everything that the present view shows and that is neither here nor under way.
    fn ask_missing(&mut self, commands: &mut Vec<Command>) {
        if self.overview().is_none() {
            return;
        }
        match self.route.view {
            View::Overview => {
                if self.size_map.is_wanted() {
                    let query =
                        LayerQuery { sort: "-size".into(), count: SIZE_MAP_ROWS, ..LayerQuery::default() };
                    let id = self.send(Slot::SizeMap, Request::Layers(query), commands);
                    self.size_map.ask(id);
                }
            }
            View::Layers => {
                let filter = self.route.filter.clone();
                self.list.set_filter(&filter);
                for page in self.list.wanted() {
                    let id = self.next_id();
                    let generation = self.list.ask(page, id);
                    let request = Request::Layers(self.list.filter().query(page * PAGE, PAGE));
                    self.waiting.insert(id, Slot::Layers { generation, page });
                    commands.push(Command::Send { id, request });
                }
                self.ask_panel(commands);
            }
            View::Findings => {
                if self.findings.is_wanted() {
                    let id = self.send(Slot::Findings, Request::Findings, commands);
                    self.findings.ask(id);
                }
            }
            View::Ties => {
                if self.ties.is_wanted() {
                    let id = self.send(Slot::Ties, Request::Ties, commands);
                    self.ties.ask(id);
                }
            }
            View::Convert => {
                let reading =
                    self.convert.form.calibration.as_ref().is_some_and(|given| given.entries.is_none());
                if self.convert.plan.is_wanted() && !reading {
                    let (convert, calibrated) = self.convert.form.request();
                    let id = self.send(Slot::Plan, Request::Plan { convert, calibrated }, commands);
                    self.convert.plan.ask(id);
                }
            }
        }
    }

    fn ask_panel(&mut self, commands: &mut Vec<Command>) {
        let Some(name) = self.route.layer.clone() else { return };
        if self.panel.name != name {
            // Values of a layer that is no longer looked at are not worth reading on.
            if let Some(job) = self.panel.values.asked() {
                self.send(Slot::Quiet, Request::Cancel { job }, commands);
            }
            self.panel = Panel { name: name.clone(), ..Panel::default() };
        }
        if self.panel.detail.is_wanted() {
            let id = self.send(Slot::Detail, Request::Layer { name: name.clone() }, commands);
            self.panel.detail.ask(id);
        }
        if self.panel.values.is_wanted() {
            let id = self.send(Slot::Values, Request::Values { name }, commands);
            self.panel.values.ask(id);
        }
    }

    fn ask_plan_rows(&mut self, packed: bool, commands: &mut Vec<Command>) {
        let Some(shown) = &mut self.convert.shown else { return };
        let rows = if packed { &mut shown.packed } else { &mut shown.kept };
        if rows.asked || rows.len() >= rows.total {
            return;
        }
        rows.asked = true;
        let start = rows.len();
        self.send(Slot::PlanRows { packed }, Request::PlanRows { packed, start, count: ROWS }, commands);
    }

    fn ask_result_rows(&mut self, commands: &mut Vec<Command>) {
        let Some(result) = &mut self.convert.result else { return };
        if result.rows.asked || result.rows.len() >= result.rows.total {
            return;
        }
        result.rows.asked = true;
        let start = result.rows.len();
        self.send(Slot::ResultRows, Request::ResultRows { start, count: ROWS }, commands);
    }

    fn open(&mut self, name: String, request: Request, now_ms: f64, commands: &mut Vec<Command>) {
        self.cancel_job(commands);
        self.job = None;
        if matches!(self.phase, Phase::Open(_)) {
            // The address belongs to the checkpoint that was open.
            self.go(Route::default(), false, commands);
        }
        self.forget(commands);
        self.phase = Phase::Opening { name };
        self.begin(Slot::Open, JobKind::Open, request, now_ms, commands);
    }

    fn begin(
        &mut self,
        slot: Slot,
        kind: JobKind,
        request: Request,
        now_ms: f64,
        commands: &mut Vec<Command>,
    ) {
        if self.job.is_some() {
            return;
        }
        self.notice = None;
        let id = self.send(slot, request, commands);
        self.job = Some(Job::new(id, kind, now_ms));
    }

    fn cancel_job(&mut self, commands: &mut Vec<Command>) {
        let Some(job) = &mut self.job else { return };
        if !job.cancelling {
            job.cancelling = true;
            let job = job.id;
            self.send(Slot::Quiet, Request::Cancel { job }, commands);
        }
    }

    /// Forgets everything that belongs to the checkpoint.
    fn forget(&mut self, commands: &mut Vec<Command>) {
        self.forget_result(commands);
        self.list = LayerList::default();
        self.panel = Panel::default();
        self.size_map = Load::default();
        self.findings = Load::default();
        self.ties = Load::default();
        self.convert = Convert::default();
        self.verified = None;
        self.notice = None;
    }

    fn forget_result(&mut self, commands: &mut Vec<Command>) {
        self.convert.failed = None;
        if self.convert.result.take().is_some() {
            self.send(Slot::Quiet, Request::DropOutput, commands);
            commands.push(Command::ForgetOutput);
        }
    }

    /// What was learnt from headers is of before: ask for it again when it is looked at.
    fn outdate(&mut self) {
        self.list.outdate();
        self.panel.detail.outdate();
        self.size_map.outdate();
        self.findings.outdate();
        self.ties.outdate();
    }

    fn select(&mut self, layer: Option<String>, commands: &mut Vec<Command>) {
        // Opening the panel is a step that "back" undoes; moving from layer to layer is not.
        let replace = self.route.view == View::Layers && self.route.layer.is_some() && layer.is_some();
        self.go(Route { view: View::Layers, layer, ..self.route.clone() }, replace, commands);
    }

    fn go(&mut self, route: Route, replace: bool, commands: &mut Vec<Command>) {
        if self.route != route {
            if self.route.view != route.view {
                self.notice = None;
            }
            let fragment = route.fragment();
            if fragment != self.route.fragment() {
                commands.push(Command::SetAddress { fragment, replace });
            }
            self.route = route;
        }
    }

    fn next_id(&mut self) -> RequestId {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }

    fn send(&mut self, slot: Slot, request: Request, commands: &mut Vec<Command>) -> RequestId {
        let id = self.next_id();
        if slot != Slot::Quiet {
            self.waiting.insert(id, slot);
        }
        commands.push(Command::Send { id, request });
        id
    }

    fn show_plan(&mut self, commands: &mut Vec<Command>) {
        self.convert.shown = None;
        if let Some(summary) = self.convert.plan.value.clone() {
            self.convert.shown = Some(convert::PlanShown {
                packed: Growing::new(summary.packed_count),
                kept: Growing::new(summary.kept_count),
                summary,
            });
            self.ask_plan_rows(true, commands);
            self.ask_plan_rows(false, commands);
        }
    }
}

#[cfg(test)]
mod tests;
