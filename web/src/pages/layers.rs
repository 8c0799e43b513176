//! The layer list with its filters, and the panel of one layer.

use crate::components::{Choice, ErrorBox, LayerPanel, LayerTable, RowFeed};
use crate::services::dom;
use crate::state::columns::Column;
use crate::state::exploring::Explore;
use crate::state::load::Shared;
use crate::state::route::{Filter, severity_of, severity_word};
use crate::state::{Action, State, text};
use yew::{Callback, Event, Html, Properties, classes, component, html};

/// Properties of [`LayersPage`].
#[derive(Properties, PartialEq)]
pub(crate) struct LayersPageProps {
    /// The page's state.
    pub(crate) state: Shared<State>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
    /// Rows of the list that come later.
    pub(crate) feed: RowFeed,
}

/// The screen.
#[component]
pub(crate) fn LayersPage(props: &LayersPageProps) -> Html {
    let LayersPageProps { state, dispatch, feed } = props;
    let on_filter = dispatch.reform(Action::SetFilter);
    html! {
        <main class={classes!("layers", state.route.layer.is_some().then_some("with-panel"))}>
            <h1 class="read-out">{ "Layers" }</h1>
            <div class="layers-list">
                { tools(state, &on_filter, dispatch) }
                if let Some(error) = &state.list.failed {
                    <ErrorBox title="The list could not be read" error={error.clone()} on_retry={dispatch.reform(|_| Action::Retry)} />
                }
                if let Some(rows) = &state.list.shown {
                    <LayerTable rows={rows.clone()} filter={state.route.filter.clone()} flat={state.route.flat} columns={state.exploring.columns.clone()} cursor={state.list.cursor} selected={state.route.layer.clone()}
                        dispatch={dispatch.clone()} feed={feed.clone()} />
                    if rows.total == 0 {
                        <p class="empty" role="status">{ "No layer matches. Clear the search or a filter." }</p>
                    }
                } else {
                    <p class="waits" role="status">{ "Reading" }</p>
                }
            </div>
            if state.route.layer.is_some() {
                <LayerPanel held={!state.remote.may_read(state.route.layer.as_deref().unwrap_or_default())} panel={state.panel.clone()} dark={state.is_dark()} dispatch={dispatch.clone()} />
            }
        </main>
    }
}

fn tools(state: &State, on_filter: &Callback<Filter>, dispatch: &Callback<Action>) -> Html {
    let filter = &state.route.filter;
    let rows = state.list.shown.as_ref();
    let count = rows.map_or_else(String::new, |rows| {
        if rows.matching == rows.all {
            text::counted(rows.all, "layer")
        } else {
            format!("{} of {}", text::count(rows.matching), text::counted(rows.all, "layer"))
        }
    });
    let choose = |set: fn(&mut Filter, Option<String>)| {
        let (on_filter, filter) = (on_filter.clone(), filter.clone());
        Callback::from(move |event: Event| {
            let value = dom::value_of(&event);
            let mut filter = filter.clone();
            set(&mut filter, Some(value).filter(|value| !value.is_empty()));
            on_filter.emit(filter);
        })
    };
    let kinds = rows.map(|rows| rows.kinds.as_slice()).unwrap_or_default();
    let schemes = rows.map(|rows| rows.schemes.as_slice()).unwrap_or_default();
    let emit = |changed: Filter| {
        let on_filter = on_filter.clone();
        move |_| on_filter.emit(changed.clone())
    };
    html! {
        <div class="tools" role="search">
            <span class="choice" role="group" aria-label="How layers are listed">
                { for [(false, "Tree", "list-tree"), (true, "Flat", "list-flat")].map(|(flat, word, id)| html! {
                    <button class={classes!("toggle", (state.route.flat == flat).then_some("on"))} aria-pressed={(state.route.flat == flat).to_string()} data-testid={id}
                        onclick={dispatch.reform(move |_| Action::Explore(Explore::Flat(flat)))}>{ word }</button>
                }) }
            </span>
            { select("all kinds", "filter-kind", kinds, filter.kind.as_deref(), choose(|filter, kind| filter.kind = kind)) }
            { select("all schemes", "filter-scheme", schemes, filter.scheme.as_deref(), choose(|filter, scheme| filter.scheme = scheme)) }
            { select_of("any size", "filter-size", &SIZES, &filter.at_least_bytes.to_string(), choose(|filter, least| filter.at_least_bytes = least.and_then(|least| least.parse().ok()).unwrap_or(0))) }
            { select_of("any severity", "filter-severity", &FOUND, filter.severity.map_or("", severity_word), choose(|filter, word| filter.severity = word.as_deref().and_then(severity_of))) }
            <button class={classes!("toggle", filter.with_findings.then_some("on"))} aria-pressed={filter.with_findings.to_string()} data-testid="filter-findings"
                onclick={emit(Filter { with_findings: !filter.with_findings, ..filter.clone() })}>{ "With findings" }</button>
            if let Some(rule) = &filter.rule {
                <button class="toggle on" data-testid="filter-rule" aria-label={format!("Only {rule}; take this filter away")}
                    onclick={emit(Filter { rule: None, ..filter.clone() })}>{ format!("{rule} ×") }</button>
            }
            if filter.narrows() {
                <button class="quiet" onclick={emit(Filter { sort: filter.sort.clone(), ..Filter::default() })}>{ "Clear" }</button>
            }
            <span class="grow" />
            { columns(state, dispatch) }
            <span class="tools-count" role="status" data-testid="layer-count">{ count }</span>
        </div>
    }
}

/// Sizes to filter by, in bytes.
const SIZES: [(&str, &str); 4] = [
    ("1048576", "1 MiB or more"),
    ("16777216", "16 MiB or more"),
    ("268435456", "256 MiB or more"),
    ("1073741824", "1 GiB or more"),
];

/// Severities to filter by.
const FOUND: [(&str, &str); 3] = [("error", "errors"), ("warning", "warnings"), ("info", "notes")];

/// The menu of columns.
fn columns(state: &State, dispatch: &Callback<Action>) -> Html {
    html! {
        <details class="menu" data-testid="columns">
            <summary class="button">{ "Columns" }</summary>
            <div class="menu-list" role="group" aria-label="Columns in sight">
                { for Column::ALL.map(|column| html! {
                    <label><input type="checkbox" data-testid={format!("column-{}", column.slug())} checked={state.exploring.columns.has(column)}
                        onchange={dispatch.reform(move |_: Event| Action::Explore(Explore::Column(column)))} />{ column.label() }</label>
                }) }
            </div>
        </details>
    }
}

/// A choice of fixed values with words of their own.
fn select_of(
    every: &'static str,
    id: &'static str,
    choices: &[(&'static str, &'static str)],
    chosen: &str,
    onchange: Callback<Event>,
) -> Html {
    html! {
        <Choice {id} chosen={chosen.to_owned()} {onchange} label={format!("Show {every}, or a part")}>
            <option value="" selected={!choices.iter().any(|(value, _)| *value == chosen)}>{ every }</option>
            { for choices.iter().map(|&(value, word)| html! { <option {value} selected={value == chosen}>{ word }</option> }) }
        </Choice>
    }
}

fn select(
    every: &'static str,
    id: &'static str,
    choices: &[String],
    chosen: Option<&str>,
    onchange: Callback<Event>,
) -> Html {
    html! {
        <Choice {id} chosen={chosen.unwrap_or_default().to_owned()} {onchange} label={format!("Show {every}, or one of them")}>
            <option value="" selected={chosen.is_none()}>{ every }</option>
            { for choices.iter().map(|choice| html! { <option value={choice.clone()} selected={chosen == Some(choice.as_str())}>{ choice }</option> }) }
        </Choice>
    }
}
