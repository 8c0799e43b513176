//! The layer list with its filters, and the panel of one layer.

use crate::components::{ErrorBox, LayerPanel, LayerTable};
use crate::services::dom;
use crate::state::load::Shared;
use crate::state::route::Filter;
use crate::state::{Action, State, text};
use yew::{Callback, Event, Html, Properties, classes, component, html};

/// Properties of [`LayersPage`].
#[derive(Properties, PartialEq)]
pub(crate) struct LayersPageProps {
    /// The page's state.
    pub(crate) state: Shared<State>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// The screen.
#[component]
pub(crate) fn LayersPage(props: &LayersPageProps) -> Html {
    let LayersPageProps { state, dispatch } = props;
    let on_filter = dispatch.reform(Action::SetFilter);
    html! {
        <main class={classes!("layers", state.route.layer.is_some().then_some("with-panel"))}>
            <div class="layers-list">
                { tools(state, &on_filter) }
                if let Some(error) = &state.list.failed {
                    <ErrorBox title="The list could not be read" error={error.clone()} on_retry={dispatch.reform(|_| Action::Retry)} />
                }
                if let Some(rows) = &state.list.shown {
                    <LayerTable rows={rows.clone()} filter={state.route.filter.clone()} cursor={state.list.cursor} selected={state.route.layer.clone()}
                        on_window={dispatch.reform(|(first, count)| Action::ListWindow { first, count })}
                        on_row={dispatch.reform(Action::SelectRow)} on_focus={dispatch.reform(Action::CursorAt)} {on_filter} />
                    if rows.total == 0 {
                        <p class="empty" role="status">{ "No layer matches. Clear the search or a filter." }</p>
                    }
                } else {
                    <p class="waits" role="status">{ "Reading" }</p>
                }
            </div>
            if state.route.layer.is_some() {
                <LayerPanel panel={state.panel.clone()} dark={state.is_dark()} dispatch={dispatch.clone()} />
            }
        </main>
    }
}

fn tools(state: &State, on_filter: &Callback<Filter>) -> Html {
    let filter = &state.route.filter;
    let rows = state.list.shown.as_ref();
    let count = rows.map_or_else(String::new, |rows| {
        if rows.total == rows.all {
            text::counted(rows.all, "layer")
        } else {
            format!("{} of {}", text::count(rows.total), text::counted(rows.all, "layer"))
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
            { select("all kinds", "filter-kind", kinds, filter.kind.as_deref(), choose(|filter, kind| filter.kind = kind)) }
            { select("all schemes", "filter-scheme", schemes, filter.scheme.as_deref(), choose(|filter, scheme| filter.scheme = scheme)) }
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
            <span class="tools-count" role="status" data-testid="layer-count">{ count }</span>
        </div>
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
        <select data-testid={id} {onchange} aria-label={format!("Show {every}, or one of them")}>
            <option value="" selected={chosen.is_none()}>{ every }</option>
            { for choices.iter().map(|choice| html! { <option value={choice.clone()} selected={chosen == Some(choice.as_str())}>{ choice }</option> }) }
        </select>
    }
}
