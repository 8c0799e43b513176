//! The top line: what is open, search, engine, theme.

use crate::protocol::remote::Traffic;
use crate::services::dom;
use crate::state::home::Home;
use crate::state::load::Shared;
use crate::state::route::{Filter, Route, View};
use crate::state::{Action, EngineState, Theme, text};
use quantscope_session::api::{EngineChoice, Overview};
use yew::{Callback, Event, Html, InputEvent, Properties, classes, component, html};

/// Properties of [`Header`].
#[derive(Properties, PartialEq)]
pub(crate) struct HeaderProps {
    /// The checkpoint, if one is open.
    pub(crate) overview: Option<Shared<Overview>>,
    /// Where the user is.
    pub(crate) route: Route,
    /// Which engine works.
    pub(crate) engine: EngineState,
    /// Theme chosen.
    pub(crate) theme: Theme,
    /// What went over the network, if the checkpoint is at an address.
    pub(crate) traffic: Option<Traffic>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// The element that [`Action::Search`] puts the keyboard into.
pub(crate) const SEARCH_ID: &str = "layer-search";

/// The top line.
#[component]
pub(crate) fn Header(props: &HeaderProps) -> Html {
    let dispatch = &props.dispatch;
    let on_search = {
        let (dispatch, filter) = (dispatch.clone(), props.route.filter.clone());
        Callback::from(move |event: InputEvent| {
            dispatch.emit(Action::SetFilter(Filter { text: dom::value_of(&event), ..filter.clone() }));
        })
    };
    let (next, theme_word) = match props.theme {
        Theme::System => (Theme::Light, "as the system"),
        Theme::Light => (Theme::Dark, "light"),
        Theme::Dark => (Theme::System, "dark"),
    };
    let theme_icon = match props.theme {
        Theme::System => "◐",
        Theme::Light => "○",
        Theme::Dark => "●",
    };
    html! {
        <header class="top">
            <b class="brand">{ "quantscope" }</b>
            if let Some(overview) = &props.overview {
                <span class="open-name" title={overview.name.clone()}>{ &overview.name }</span>
                { bytes_read(overview, props.traffic) }
                <button class="quiet" data-testid="close-checkpoint" aria-label="Open another" onclick={dispatch.reform(|_| Action::Close)}><span aria-hidden="true" class="narrow-only">{ "Open" }</span><span class="wide-only">{ "Open another" }</span></button>
                <span class="grow" />
                <label class={classes!("search", (props.route.view == View::Layers).then_some("in-view"))}>
                    <span aria-hidden="true">{ "⌕" }</span>
                    <input id={SEARCH_ID} data-testid="layer-search" type="search" placeholder="Search layers, or a glob" autocomplete="off"
                        spellcheck="false" aria-label="Search layers" value={props.route.filter.text.clone()} oninput={on_search} />
                    <kbd aria-hidden="true">{ "/" }</kbd>
                </label>
            } else {
                <span class="grow" />
            }
            <EnginePill engine={props.engine.clone()} dispatch={dispatch.clone()} />
            <button class="square" data-testid="help-toggle" title="Keys, settings, about" aria-label="Keys, settings, about"
                onclick={dispatch.reform(|_| Action::Keys(true))}><span aria-hidden="true">{ "?" }</span></button>
            <button class="square" data-testid="theme-toggle" title={format!("Theme: {theme_word}")} aria-label={format!("Theme: {theme_word}. Change")}
                onclick={dispatch.reform(move |_| Action::SetTheme(next))}><span aria-hidden="true">{ theme_icon }</span></button>
        </header>
    }
}

/// How much of the checkpoint was read to open it, or came over the network.
fn bytes_read(overview: &Overview, traffic: Option<Traffic>) -> Html {
    match traffic {
        None => html! {
            <span class="bytes-read" data-testid="bytes-read" data-bytes={overview.bytes_read.to_string()}
                title={format!("{} of {}", text::exact_size(overview.bytes_read), text::exact_size(overview.bytes))}>
                { format!("Read {} of {}", text::size(overview.bytes_read), text::size(overview.bytes)) }
            </span>
        },
        Some(Traffic { requests, bytes }) => html! {
            <span class="bytes-read fetched" data-testid="traffic" data-bytes={bytes.to_string()} data-requests={requests.to_string()}
                title={format!("{} in {}, of {}", text::exact_size(bytes), text::counted(requests, "request"), text::exact_size(overview.bytes))}>
                { format!("Fetched {} of {}", text::size(bytes), text::size(overview.bytes)) }
            </span>
        },
    }
}

#[derive(Properties, PartialEq)]
struct EnginePillProps {
    engine: EngineState,
    dispatch: Callback<Action>,
}

/// Which engine works, and the choice.
#[component]
fn EnginePill(props: &EnginePillProps) -> Html {
    let (label, note, gpu) = match &props.engine.status {
        Some(status) => (status.label.clone(), status.note.clone(), status.gpu),
        None => ("…".into(), "looking for an adapter".into(), false),
    };
    let on_change = props.dispatch.reform(|event: Event| {
        Action::Home(Home::Engine(match dom::value_of(&event).as_str() {
            "cpu" => EngineChoice::Cpu,
            "gpu" => EngineChoice::Gpu,
            _ => EngineChoice::Auto,
        }))
    });
    let whole = if note.is_empty() { label.clone() } else { format!("{label} · {note}") };
    html! {
        <span class="engine">
            <span class="engine-pill" data-testid="engine-pill" title={whole} role="status" aria-label="Engine">
                <i class={classes!("dot", gpu.then_some("is-gpu"))} aria-hidden="true" />
                <b>{ label }</b>
                if !note.is_empty() { <span class="engine-note">{ format!(" · {note}") }</span> }
            </span>
            <select data-testid="engine-select" aria-label="Which engine jobs use" onchange={on_change}>
                { for [(EngineChoice::Auto, "auto", "auto"), (EngineChoice::Cpu, "cpu", "CPU"), (EngineChoice::Gpu, "gpu", "WebGPU")].map(|(choice, value, word)| html! {
                    <option {value} selected={props.engine.choice == choice}>{ word }</option>
                }) }
            </select>
        </span>
    }
}
