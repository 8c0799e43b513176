//! What the page knows, as plain data, and how each action changes it.
//!
//! [`State::update`] is the whole behaviour of the page: it changes the state and answers with commands for the
//! services (ask the worker, write the address, save a file). It names no browser interface, so its tests run
//! natively. What a view needs is not asked for by views: after each action `State::ask_missing` looks at where
//! the user is and asks for what is not there yet.

mod action;
mod answers;
pub(crate) mod area;
mod asking;
pub(crate) mod causes;
pub(crate) mod columns;
pub(crate) mod compare;
pub(crate) mod convert;
pub(crate) mod converting;
pub(crate) mod exploring;
pub(crate) mod form;
pub(crate) mod home;
pub(crate) mod job;
pub(crate) mod lab;
pub(crate) mod list;
pub(crate) mod load;
pub(crate) mod looking;
pub(crate) mod mending;
mod notice;
pub(crate) mod picked;
pub(crate) mod recent;
pub(crate) mod remote;
mod revival;
pub(crate) mod route;
mod running;
pub(crate) mod text;
pub(crate) mod treemap;

use crate::protocol::{EngineStatus, Event, Request, RequestId};
pub(crate) use action::{Action, Command};
use compare::{CompareSlot, CompareState};
use convert::Convert;
use exploring::Exploring;
use home::AtHome;
use job::{Job, JobKind};
use lab::{LabSlot, LabState};
use list::LayerList;
use load::{Load, Shared};
use looking::Looking;
use mending::Mending;
pub(crate) use notice::Notice;
use quantscope_session::api::{
    EngineChoice, FindingGroup, LayerDetail, LayerValues, Overview, TieReport, VerifySummary,
};
use remote::Remote;
use revival::Revival;
use route::{Filter, Route, View};
use std::collections::BTreeMap;

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
    /// What the user moves about.
    pub(crate) looking: Looking,
}

/// Which engine works.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EngineState {
    /// What the user chose.
    pub(crate) choice: EngineChoice,
    /// What the worker made of it; `None` while it looks for an adapter.
    pub(crate) status: Option<EngineStatus>,
}

/// Where an answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Slot {
    Open,
    Tree { generation: u32, page: u64 },
    Sizes,
    Heat,
    Block,
    Detail,
    Values,
    Findings,
    Ties,
    Verify,
    Report,
    Memory,
    Audit,
    RepairPlan,
    Repair,
    Calibration,
    Plan,
    PlanRows { packed: bool },
    Convert,
    Recipe,
    Proof,
    ResultRows,
    Lab(LabSlot),
    Compare(CompareSlot),
    Remote(remote::RemoteSlot),
    Quiet,
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
    /// Tree or list, columns, the map of sizes.
    pub(crate) exploring: Exploring,
    /// The layer in the panel.
    pub(crate) panel: Panel,
    /// Findings by rule.
    pub(crate) findings: Load<Vec<FindingGroup>>,
    /// The Findings view.
    pub(crate) mending: Mending,
    /// Tie groups.
    pub(crate) ties: Load<TieReport>,
    /// The Convert view.
    pub(crate) convert: Convert,
    /// The Preview view.
    pub(crate) lab: LabState,
    /// The Compare view.
    pub(crate) compare: CompareState,
    /// The job that runs.
    pub(crate) job: Option<Job>,
    /// Which engine works.
    pub(crate) engine: EngineState,
    /// What the last verification did.
    pub(crate) verified: Option<Shared<VerifySummary>>,
    /// Checkpoints at an address.
    pub(crate) remote: Remote,
    /// What is kept on this device, and what the page says of itself.
    pub(crate) home: AtHome,
    /// Message at the top.
    pub(crate) notice: Option<Notice>,
    /// Theme chosen.
    pub(crate) theme: Theme,
    /// Whether the system is dark.
    pub(crate) system_dark: bool,
    /// Whether the list of keys is open.
    pub(crate) keys_open: bool,
    revival: Revival,
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
                self.follow(&route, now_ms, &mut commands);
                // Layer and filters are not in the address of other views; they wait for the way back.
                if self.route.findings != route.findings && route.view == View::Findings {
                    self.findings.outdate();
                }
                self.route = self.route.navigated(*route);
            }
            Action::Select(layer) => self.select(layer, &mut commands),
            Action::SelectRow(index) => self.select_row(index, &mut commands),
            Action::Explore(action) => self.explore(action, &mut commands),
            Action::Look(action) => self.look(action),
            Action::SetFilter(filter) => {
                let route = Route { view: View::Layers, filter, ..self.route.clone() };
                let replace = self.route.view == View::Layers;
                self.go(route, replace, &mut commands);
            }
            Action::ShowRule(rule) => {
                let filter = Filter { rule: Some(rule), ..Filter::default() };
                let route = Route { view: View::Layers, layer: None, filter, ..self.route.clone() };
                self.go(route, false, &mut commands);
            }
            Action::ListWindow { first, count } => self.list.set_window(first, count),
            Action::Move(rows) if self.route.view == View::Layers => {
                self.move_cursor(rows, &mut commands);
            }
            Action::CursorAt(row) => self.list.cursor = Some(row),
            Action::Enter if self.route.view == View::Layers => {
                if let Some(index) = self.list.cursor {
                    self.select_row(index, &mut commands);
                }
            }
            Action::Escape => {
                if self.keys_open {
                    self.keys_open = false;
                } else if self.route.view == View::Layers && self.route.layer.is_some() {
                    self.select(None, &mut commands);
                } else if self.route.view == View::Compare && self.route.pair.is_some() {
                    self.act_in_compare(compare::Compare::Pick(None), now_ms, &mut commands);
                } else {
                    self.notice = None;
                }
            }
            Action::Search => {
                if self.overview().is_some() {
                    self.go(Route { view: View::Layers, ..self.route.clone() }, false, &mut commands);
                    commands.push(Command::FocusSearch);
                }
            }
            Action::Keys(open) => self.keys_open = open,
            Action::Retry => {
                self.list.failed = None;
                self.exploring.sizes.outdate();
                self.panel.detail.outdate();
                self.panel.values.outdate();
                self.panel.looking.retry();
                self.findings.outdate();
                self.ties.outdate();
                self.convert.plan.outdate();
                self.mending.plan.outdate();
                self.lab.retry();
                self.compare.retry();
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
                if self.convert.form != *form {
                    self.convert.form = *form;
                    self.convert.plan.outdate_patiently();
                }
            }
            Action::MorePlanRows { packed } => self.ask_plan_rows(packed, &mut commands),
            Action::MoreResultRows => self.ask_result_rows(&mut commands),
            Action::Converting(action) => self.converting(action, now_ms, &mut commands),
            Action::Save(file) => commands.push(Command::Save(file)),
            Action::SaveAll => commands.push(Command::SaveAll),
            Action::SaveFailed(text) => {
                self.notice = Some(Notice { title: "Not saved".into(), text, is_error: true });
            }
            Action::DropOutput => self.forget_result(&mut commands),
            Action::SaveReport(form) => {
                self.send(Slot::Report, Request::Report(form), &mut commands);
            }
            Action::Lab(action) => self.act_in_lab(action, now_ms, &mut commands),
            Action::Compare(action) => self.act_in_compare(action, now_ms, &mut commands),
            Action::Mend(mend) => self.mend(mend, now_ms, &mut commands),
            Action::Home(home) => self.at_home(home, &mut commands),
            Action::Visit(visit) => self.visit(visit, now_ms, &mut commands),
            Action::Answer { id, result } => {
                if let Some(job) = self.job.as_ref().filter(|job| job.id == id) {
                    self.keep_time(job.kind, job.lasted(now_ms));
                }
                let slot = self.waiting.remove(&id);
                self.revival.answered(slot.is_some());
                if let Some(slot) = slot {
                    self.settle(id, slot, *result, &mut commands);
                }
            }
            Action::Told(Event::Ready | Event::Lives { .. }) | Action::Move(_) | Action::Enter => {}
            Action::Told(Event::Judged(overview)) => self.take_verdict(*overview),
            Action::Told(Event::Traffic(traffic)) => self.remote.traffic = traffic,
            Action::Told(Event::Engine(status)) => self.engine.status = Some(status),
            Action::Told(Event::Progress { job, progress }) => {
                if let Some(running) = self.job.as_mut().filter(|running| running.id == job) {
                    running.advance(progress, now_ms);
                }
            }
            Action::Told(Event::Failed(text)) | Action::WorkerFailed(text) => {
                self.worker_failed(&text, &mut commands);
            }
        }
        self.ask_missing(&mut commands);
        commands
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

    /// Forgets everything that belongs to the checkpoint.
    fn forget(&mut self, commands: &mut Vec<Command>) {
        self.forget_result(commands);
        self.list = LayerList::default();
        self.exploring = Exploring { columns: self.exploring.columns.clone(), ..Exploring::default() };
        self.panel = Panel::default();
        self.findings = Load::default();
        self.ties = Load::default();
        self.mending = Mending::default();
        self.convert = Convert::default();
        self.lab = LabState::default();
        self.compare = CompareState::default();
        self.verified = None;
        self.notice = None;
        self.remote.forget();
        self.route.address = None;
    }

    fn forget_result(&mut self, commands: &mut Vec<Command>) {
        (self.convert.failed, self.mending.failed) = (None, None);
        self.compare.forget_result();
        // The browser keeps the files of one result.
        let repaired = self.mending.result.take().is_some();
        if self.convert.result.take().is_some() || repaired {
            self.send(Slot::Quiet, Request::DropOutput, commands);
            commands.push(Command::ForgetOutput);
        }
    }

    /// What was learnt from headers is of before: ask for it again when it is looked at.
    fn outdate(&mut self) {
        self.list.outdate();
        self.panel.detail.outdate();
        self.findings.outdate();
        self.ties.outdate();
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
        commands.push(Command::Send { id, request: Box::new(request) });
        id
    }
}

#[cfg(test)]
mod tests;
