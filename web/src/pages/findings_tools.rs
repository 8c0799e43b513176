//! Above and below the findings: what is shown of them, for which runtimes the audit is, how they are saved.

use crate::components::Choice;
use crate::services::dom;
use crate::state::mending::{Mend, RUNTIMES};
use crate::state::route::{severity_of, severity_word};
use crate::state::{Action, State};
use quantscope_session::api::{FindingQuery, Severity};
use quantscope_session::render::Form;
use yew::{Callback, Event, Html, InputEvent, classes, html};

const SEVERITIES: [(Severity, &str); 3] =
    [(Severity::Error, "errors"), (Severity::Warning, "warnings"), (Severity::Info, "notes")];

const FORMS: [(Form, &str); 4] =
    [(Form::Html, "HTML"), (Form::Json, "JSON"), (Form::Sarif, "SARIF"), (Form::Markdown, "Markdown")];

/// Filters and runtimes.
pub(super) fn tools_view(state: &State, dispatch: &Callback<Action>) -> Html {
    let query = &state.route.findings;
    let set = |change: fn(&mut FindingQuery, String)| {
        let (dispatch, query) = (dispatch.clone(), query.clone());
        move |value: String| {
            let mut query = query.clone();
            change(&mut query, value);
            dispatch.emit(Action::Mend(Mend::Filter(query)));
        }
    };
    let (severity, target, rule, layer) = (
        set(|query, value| query.severity = severity_of(&value)),
        set(|query, value| query.target = Some(value).filter(|value| !value.is_empty())),
        set(|query, value| query.rule = value),
        set(|query, value| query.layer = value),
    );
    let runtime = |(id, title): &(&'static str, &'static str)| {
        let on = state.mending.targets.contains(id);
        let id = *id;
        html! {
            <button class={classes!("toggle", on.then_some("on"))} aria-pressed={on.to_string()} data-testid="audit-target" data-target={id}
                disabled={state.job.is_some()} onclick={dispatch.reform(move |_| Action::Mend(Mend::Toggle(id)))}>{ title }</button>
        }
    };
    html! {
        <>
            <div class="finding-tools" role="search">
                <Choice label="Severity" id="findings-severity" chosen={query.severity.map(severity_word).unwrap_or_default()} onchange={move |event: Event| severity(dom::value_of(&event))}>
                    <option value="" selected={query.severity.is_none()}>{ "all severities" }</option>
                    { for SEVERITIES.iter().map(|(value, word)| html! { <option value={severity_word(*value)} selected={query.severity == Some(*value)}>{ word }</option> }) }
                </Choice>
                <input type="text" aria-label="Rule: id or words of its title" placeholder="rule" spellcheck="false" autocomplete="off" data-testid="findings-rule"
                    value={query.rule.clone()} oninput={move |event: InputEvent| rule(dom::value_of(&event))} />
                <input type="text" aria-label="Layer: part of a name, or a glob" placeholder="layer, or *.up_proj" spellcheck="false" autocomplete="off" data-testid="findings-layer"
                    value={query.layer.clone()} oninput={move |event: InputEvent| layer(dom::value_of(&event))} />
                if !state.mending.targets.is_empty() {
                    <Choice label="About a runtime" id="findings-target" chosen={query.target.clone().unwrap_or_default()} onchange={move |event: Event| target(dom::value_of(&event))}>
                        <option value="" selected={query.target.is_none()}>{ "any runtime" }</option>
                        { for RUNTIMES.iter().filter(|(id, _)| state.mending.targets.contains(id)).map(|(id, title)| html! {
                            <option value={*id} selected={query.target.as_deref() == Some(*id)}>{ title }</option>
                        }) }
                    </Choice>
                }
                if query.narrows() {
                    <button class="quiet" data-testid="findings-clear" onclick={dispatch.reform(|_| Action::Mend(Mend::Filter(FindingQuery::default())))}>{ "Clear" }</button>
                }
            </div>
            <div class="finding-tools" role="group" aria-label="Also check for a runtime">
                <span>{ "Will it load in" }</span>
                { for RUNTIMES.iter().map(runtime) }
            </div>
        </>
    }
}

/// The report as a file.
pub(super) fn save_view(dispatch: &Callback<Action>) -> Html {
    let button = |(form, word): &(Form, &'static str)| {
        let form = *form;
        html! {
            <button data-testid="save-report" data-form={*word} onclick={dispatch.reform(move |_| Action::SaveReport(form))}>{ word }</button>
        }
    };
    html! {
        <p class="finding-tools save-report"><span>{ "Save the report as" }</span>{ for FORMS.iter().map(button) }</p>
    }
}
