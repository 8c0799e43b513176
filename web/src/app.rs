//! Joins state and services: actions go in, commands are carried out, the frame is drawn.

use crate::components::{RowFeed, SEARCH_ID};
use crate::pages::{Frame, SecondPicks};
use crate::protocol::{CompareRequest, FromWorker, RecipeReply, RecipeRequest, Reply, Request, RequestId};
use crate::services::files::{self, PickedFile};
use crate::services::worker_link::{Incoming, WorkerLink};
use crate::services::{address, clock, columns, dom, download, home, theme};
use crate::state::compare::Compare;
use crate::state::converting::Converting;
use crate::state::load::Shared;
use crate::state::picked::checkpoint_of;
use crate::state::remote::Visit;
use crate::state::{Action, Command, State};
use gloo_events::EventListener;
use std::collections::BTreeMap;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::Blob;
use yew::platform::spawn_local;
use yew::{Callback, Component, Context, DragEvent, Event, Html, html};

/// Mounts the page on the document.
pub fn start_page() {
    console_error_panic_hook::set_once();
    theme::apply(theme::stored());
    yew::Renderer::<App>::new().render();
}

/// What reaches the application.
enum Msg {
    /// The user or the state's own doing.
    Act(Action),
    /// Files were picked or dropped.
    Files(Result<Vec<PickedFile>, String>),
    /// A calibration file was picked.
    Calibration(Option<PickedFile>),
    /// A recipe file was picked.
    Recipe(Option<PickedFile>),
    /// Files were picked or dropped as a second checkpoint.
    Second(Result<Vec<PickedFile>, String>),
    /// A file of rename rules was picked.
    Rules(Option<PickedFile>),
    /// A folder to convert into was picked.
    Folder(JsValue),
    /// What was open when the worker broke shall be opened again.
    Again,
    /// A worker said something; which one, as they were started.
    Incoming(u32, Incoming),
}

/// The application: the state, and the handles that are no plain data.
struct App {
    state: State,
    worker: Option<WorkerLink>,
    /// Workers that were started. What one says that is gone is of no interest.
    started: u32,
    /// Files that go with the next `Open` or `Calibration`, or the folder that goes with the next `Convert`.
    held: Vec<JsValue>,
    /// What was opened last, if it was files of the user's.
    opened: Option<Opened>,
    /// Blobs of the last result, by file name.
    output: BTreeMap<String, Blob>,
    /// What the page calls. Made once: a component whose properties stay the same is not drawn again.
    handlers: Handlers,
    _listeners: [Option<EventListener>; 2],
}

/// Files that were opened: the worker that read them may break, the files are the user's.
#[derive(Clone)]
struct Opened {
    name: String,
    paths: Vec<String>,
    files: Vec<JsValue>,
}

/// The ways from the page back to the application.
#[derive(Clone)]
struct Handlers {
    dispatch: Callback<Action>,
    on_pick: Callback<Event>,
    on_drop: Callback<DragEvent>,
    on_calibration: Callback<Event>,
    on_recipe: Callback<Event>,
    on_again: Callback<()>,
    second: SecondPicks,
    /// Rows of the layer list that come while it is shown.
    feed: RowFeed,
}

impl Handlers {
    fn new(ctx: &Context<App>) -> Self {
        let link = ctx.link();
        Self {
            dispatch: link.callback(Msg::Act),
            on_pick: link.callback_future(|event: Event| {
                let files = files::from_input(&event);
                async move { Msg::Files(Ok(files.await)) }
            }),
            on_drop: link.callback_future(|event: DragEvent| {
                event.prevent_default();
                let files = files::from_drop(&event);
                async move { Msg::Files(files.await) }
            }),
            on_calibration: link.callback(|event: Event| Msg::Calibration(files::one_from_input(&event))),
            on_recipe: link.callback(|event: Event| Msg::Recipe(files::one_from_input(&event))),
            on_again: link.callback(|()| Msg::Again),
            second: SecondPicks {
                on_pick: link.callback_future(|event: Event| {
                    let files = files::from_input(&event);
                    async move { Msg::Second(Ok(files.await)) }
                }),
                on_drop: link.callback_future(|event: DragEvent| {
                    event.prevent_default();
                    // The page beneath would open it in place of what is open.
                    event.stop_propagation();
                    let files = files::from_drop(&event);
                    async move { Msg::Second(files.await) }
                }),
                on_rules: link.callback(|event: Event| Msg::Rules(files::one_from_input(&event))),
            },
            feed: RowFeed::default(),
        }
    }
}

impl Component for App {
    type Message = Msg;
    type Properties = ();

    fn create(ctx: &Context<Self>) -> Self {
        let act = ctx.link().callback(Msg::Act);
        let on_address = act.clone();
        let listeners = [
            address::watch(move |route| on_address.emit(Action::Navigated(Box::new(route)))),
            theme::watch_system(move |dark| act.emit(Action::SystemDark(dark))),
        ];
        let mut state = State::new(address::route(), theme::stored(), theme::system_is_dark());
        state.exploring.columns = columns::stored();
        state.remote.connects = address::connects();
        state.home.recents = home::recents();
        state.home.is_first_visit = home::is_first_visit();
        home::keep(ctx.link().callback(|told| Msg::Act(Action::Home(told))));
        let mut app = Self {
            state,
            worker: None,
            started: 0,
            held: Vec::new(),
            opened: None,
            output: BTreeMap::new(),
            handlers: Handlers::new(ctx),
            _listeners: listeners,
        };
        app.start_worker(ctx);
        if app.worker.is_some() {
            app.act(ctx, Action::SetEngine(address::engine_choice().unwrap_or_else(home::engine)));
            app.act(ctx, Action::Visit(Visit::Begin));
        }
        app
    }

    fn update(&mut self, ctx: &Context<Self>, msg: Msg) -> bool {
        // Which rows are in sight decides what is asked for; the list itself has drawn them.
        let mut redraws = !matches!(msg, Msg::Act(Action::ListWindow { .. }));
        match msg {
            Msg::Act(action) => self.act(ctx, action),
            Msg::Files(Ok(picked)) => {
                let (name, paths) = self.hold(&picked);
                self.act(ctx, Action::OpenFiles { name, paths });
            }
            Msg::Second(Ok(picked)) => {
                let (name, paths) = self.hold(&picked);
                self.act(ctx, Action::Compare(Compare::Open { name, paths }));
                self.held.clear();
            }
            Msg::Files(Err(reason)) | Msg::Second(Err(reason)) => self.act(ctx, Action::PickFailed(reason)),
            Msg::Rules(picked) => {
                if let Some(file) = picked {
                    self.held = vec![file.file.into()];
                    self.act(ctx, Action::Compare(Compare::Rules(Some(file.path))));
                    self.held.clear();
                }
            }
            Msg::Calibration(picked) => {
                if let Some(file) = picked {
                    self.held = vec![file.file.into()];
                    self.act(ctx, Action::Converting(Converting::SetCalibration(Some(file.path))));
                }
            }
            Msg::Recipe(picked) => {
                self.held = picked.into_iter().map(|file| file.file.into()).collect();
                self.act(ctx, Action::Converting(Converting::LoadRecipe));
            }
            Msg::Folder(folder) => {
                self.held = vec![folder];
                self.act(ctx, Action::Converting(Converting::RunInto));
                self.held.clear();
            }
            Msg::Again => {
                if let Some(Opened { name, paths, files }) = self.opened.clone() {
                    self.held = files;
                    self.act(ctx, Action::OpenFiles { name, paths });
                }
            }
            Msg::Incoming(worker, _) if worker != self.started => return false,
            Msg::Incoming(_, Incoming::Failed(reason)) => self.act(ctx, Action::WorkerFailed(reason)),
            Msg::Incoming(_, Incoming::Message(message, attached)) => match *message {
                FromWorker::Event(event) => self.act(ctx, Action::Told(event)),
                FromWorker::Reply { id, result } => {
                    if let Ok(reply) = &*result {
                        self.take_blobs(reply, attached);
                    }
                    let before = self.state.list.grown;
                    self.act(ctx, Action::Answer { id, result });
                    if let Some(rows) =
                        self.state.list.shown.as_ref().filter(|_| self.state.list.grown != before)
                    {
                        redraws = !self.handlers.feed.give(rows);
                    }
                }
            },
        }
        redraws
    }

    fn view(&self, _: &Context<Self>) -> Html {
        let Handlers { dispatch, on_pick, on_drop, on_calibration, on_recipe, on_again, second, feed } =
            self.handlers.clone();
        let on_again = Some(on_again).filter(|_| self.state.has_lost() && self.opened.is_some());
        html! { <Frame state={Shared::new(self.state.clone())} {dispatch} {second} {feed} {on_pick} {on_drop} {on_calibration} {on_recipe} {on_again} /> }
    }
}

impl App {
    /// Starts a worker; one that runs is ended.
    fn start_worker(&mut self, ctx: &Context<Self>) {
        self.started = self.started.wrapping_add(1);
        let (link, number) = (ctx.link().clone(), self.started);
        // The one before is gone before the next begins.
        self.worker = None;
        self.held.clear();
        match WorkerLink::start(move |incoming| link.send_message(Msg::Incoming(number, incoming))) {
            Ok(worker) => self.worker = Some(worker),
            Err(reason) => {
                let failed = Action::WorkerFailed(format!("It could not be started: {reason}"));
                ctx.link().send_message(Msg::Act(failed));
            }
        }
    }

    fn act(&mut self, ctx: &Context<Self>, action: Action) {
        let mut addresses = Vec::new();
        for command in self.state.update(action, clock::now_ms()) {
            if matches!(command, Command::SetAddress { .. }) {
                // The browser takes milliseconds over it, in which the worker can do what it is asked.
                addresses.push(command);
            } else {
                self.carry_out(ctx, command);
            }
        }
        for command in addresses {
            self.carry_out(ctx, command);
        }
    }

    /// Keeps files for the request that opens them, and says what they are.
    fn hold(&mut self, picked: &[PickedFile]) -> (String, Vec<String>) {
        let paths: Vec<String> = picked.iter().map(|file| file.path.clone()).collect();
        let checkpoint = checkpoint_of(&paths);
        let files = checkpoint.files.iter().filter_map(|(place, _)| picked.get(*place));
        self.held = files.map(|picked| picked.file.clone().into()).collect();
        (checkpoint.name, checkpoint.files.into_iter().map(|(_, path)| path).collect())
    }

    fn carry_out(&mut self, ctx: &Context<Self>, command: Command) {
        match command {
            Command::Send { id, request } => self.send(ctx, id, *request),
            Command::SetAddress { fragment, replace } => address::set(&fragment, replace),
            Command::SetTheme(chosen) => theme::apply(chosen),
            Command::KeepColumns(text) => columns::keep(&text),
            Command::Save(file) => {
                let saved = match self.output.get(&file) {
                    Some(blob) => download::save(&file, blob),
                    None => Err(format!("{file} is no longer there; convert again.")),
                };
                if let Err(reason) = saved {
                    ctx.link().send_message(Msg::Act(Action::SaveFailed(reason)));
                }
            }
            Command::SaveAll => {
                let files = self.output.iter().map(|(name, blob)| (name.clone(), blob.clone())).collect();
                let failed: Callback<String> =
                    ctx.link().callback(|reason| Msg::Act(Action::SaveFailed(reason)));
                spawn_local(async move {
                    if let Err(reason) = download::save_all(files).await {
                        failed.emit(reason);
                    }
                });
            }
            Command::PickFolder => {
                let link = ctx.link().clone();
                spawn_local(async move {
                    match download::pick_folder().await {
                        Ok(Some(folder)) => link.send_message(Msg::Folder(folder)),
                        Ok(None) => {}
                        Err(reason) => {
                            link.send_message(Msg::Act(Action::Converting(Converting::NoFolder(reason))));
                        }
                    }
                });
            }
            Command::Home(chore) => {
                home::carry_out(chore, ctx.link().callback(|told| Msg::Act(Action::Home(told))));
            }
            Command::ForgetOutput => self.output.clear(),
            Command::StartWorker => self.start_worker(ctx),
            Command::FocusSearch => dom::focus(SEARCH_ID),
        }
    }

    fn send(&mut self, ctx: &Context<Self>, id: RequestId, request: Request) {
        let attached = match request {
            Request::Open { .. }
            | Request::Calibration
            | Request::Convert { .. }
            | Request::Compare(CompareRequest::Open { .. } | CompareRequest::Rename)
            | Request::Recipe(RecipeRequest::Read) => std::mem::take(&mut self.held),
            _ => Vec::new(),
        };
        match &request {
            Request::Open { name, paths } => {
                self.opened =
                    Some(Opened { name: name.clone(), paths: paths.clone(), files: attached.clone() });
            }
            Request::OpenSample { .. } | Request::OpenResult { .. } | Request::Remote(_) => {
                self.opened = None;
            }
            _ => {}
        }
        let sent = self
            .worker
            .as_ref()
            .map_or_else(|| Err("it is not running".into()), |worker| worker.send(id, request, &attached));
        if let Err(reason) = sent {
            ctx.link().send_message(Msg::Act(Action::WorkerFailed(format!(
                "A request could not be sent: {reason}"
            ))));
        }
    }

    fn take_blobs(&mut self, reply: &Reply, attached: Vec<JsValue>) {
        let names: Vec<&String> = match reply {
            Reply::Converted(result) => {
                self.output.clear();
                result.files.iter().map(|(name, _)| name).collect()
            }
            Reply::Repaired(result) => {
                self.output.clear();
                result.files.iter().map(|(name, _)| name).collect()
            }
            Reply::Report { file } | Reply::Recipe(RecipeReply::Written { file }) => vec![file],
            _ => return,
        };
        let blobs = attached.into_iter().filter_map(|blob| blob.dyn_into::<Blob>().ok());
        self.output.extend(names.into_iter().cloned().zip(blobs));
    }
}
