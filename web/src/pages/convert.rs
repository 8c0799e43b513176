//! Converting: recipe at the left, what it would write at the right, then the run and its result.

use super::convert_plan::PlanSection;
use super::convert_result::ResultSection;
use crate::components::ErrorBox;
use crate::services::dom;
use crate::state::convert::Form;
use crate::state::converting::Converting;
use crate::state::load::Shared;
use crate::state::{Action, State, text};
use yew::{Callback, Event, Html, InputEvent, Properties, component, html};

const DTYPES: [(&str, &str); 4] = [("", "as stored"), ("bf16", "bf16"), ("f16", "f16"), ("f32", "f32")];

/// Properties of [`ConvertPage`].
#[derive(Properties, PartialEq)]
pub(crate) struct ConvertPageProps {
    /// The page's state.
    pub(crate) state: Shared<State>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
    /// A calibration file was picked.
    pub(crate) on_calibration: Callback<Event>,
}

/// The screen.
#[component]
pub(crate) fn ConvertPage(props: &ConvertPageProps) -> Html {
    let ConvertPageProps { state, dispatch, .. } = props;
    let convert = &state.convert;
    let told = convert.shown.as_ref().map(|plan| plan.summary.warnings.clone()).unwrap_or_default();
    html! {
        <main class="page convert">
            <div class="page-head"><h1>{ "Convert" }</h1><p>{ "The plan below is what will be written, byte for byte as the reference exporter does; nothing has been read for it yet." }</p></div>
            if let Some(error) = &convert.failed {
                <ErrorBox title="Not converted" error={error.clone()} />
            }
            if let Some(result) = &convert.result {
                <ResultSection result={result.clone()} told={told} dispatch={dispatch.clone()} />
            }
            <div class="convert-sides">
                { form_view(props) }
                <div class="convert-plan">
                    if let Some(error) = &convert.plan.failed {
                        <ErrorBox title="No plan" error={error.clone()} />
                    } else if let Some(plan) = &convert.shown {
                        <PlanSection plan={plan.clone()} form={convert.form.clone()} busy={state.job.is_some() || !state.plan_is_fresh()} dispatch={dispatch.clone()} />
                    } else {
                        <p class="waits" role="status">{ "Planning" }</p>
                    }
                </div>
            </div>
        </main>
    }
}

fn form_view(props: &ConvertPageProps) -> Html {
    let (dispatch, form) = (&props.dispatch, &props.state.convert.form);
    let set = |change: fn(&mut Form, String)| {
        let (dispatch, form) = (dispatch.clone(), form.clone());
        move |value: String| {
            let mut form = form.clone();
            change(&mut form, value);
            dispatch.emit(Action::SetForm(form));
        }
    };
    let (scheme, dtype, exclude) = (
        set(|form, value| form.scheme = value),
        set(|form, value| form.dtype = value),
        set(|form, value| form.exclude = value),
    );
    let on_zero = {
        let (dispatch, form) = (dispatch.clone(), form.clone());
        move |event: Event| {
            let zero_tensors_as_reference = dom::is_checked(&event);
            dispatch.emit(Action::SetForm(Form { zero_tensors_as_reference, ..form.clone() }));
        }
    };
    let option = |(value, word): (&'static str, &'static str), chosen: &str| {
        html! { <option {value} selected={chosen == value}>{ word }</option> }
    };
    let writable = props.state.overview().map(|o| o.writable.as_slice()).unwrap_or_default().iter();
    let calibration = form.calibration.as_ref().map(|given| match given.entries {
        Some(entries) => format!(
            "{}: {}",
            given.file,
            if entries == 1 { "1 entry".into() } else { format!("{} entries", text::count(entries)) }
        ),
        None => format!("{}: reading", given.file),
    });
    html! {
        <form class="recipe" onsubmit={|event: yew::SubmitEvent| event.prevent_default()}>
            <label class="field"><span>{ "Scheme" }</span>
                <select data-testid="convert-scheme" onchange={move |event: Event| scheme(dom::value_of(&event))}>
                    { for writable.map(|(id, title)| html! { <option value={id.clone()} selected={*id == form.scheme} title={title.clone()}>{ id }</option> }) }
                </select>
            </label>
            <label class="field"><span>{ "Keep as they are" }</span>
                <input type="text" data-testid="convert-exclude" placeholder="*conv_in*, *head*" spellcheck="false" autocomplete="off"
                    value={form.exclude.clone()} oninput={move |event: InputEvent| exclude(dom::value_of(&event))} />
                <small>{ "Globs of module names, with commas between. Single layers: untick them in the plan." }</small>
            </label>
            <label class="field"><span>{ "Cast weights first" }</span>
                <select data-testid="convert-dtype" onchange={move |event: Event| dtype(dom::value_of(&event))}>
                    { for DTYPES.map(|choice| option(choice, &form.dtype)) }
                </select>
            </label>
            <div class="field"><span id="calibration-label">{ "Calibration" }</span>
                <div class="file-choice">
                    <label class="button"><input class="read-out" type="file" accept=".json,application/json" aria-labelledby="calibration-label" data-testid="convert-calibration"
                        onchange={props.on_calibration.clone()} />{ "Choose a JSON file" }</label>
                    if let Some(calibration) = calibration {
                        <span data-testid="calibration-state">{ calibration }</span>
                        <button class="quiet" type="button" onclick={dispatch.reform(|_| Action::Converting(Converting::SetCalibration(None)))}>{ "Remove" }</button>
                    }
                </div>
                <small>{ "Largest activations by module, for " }<code>{ "input_scale" }</code>{ ": " }<code>{ "{\"conv.input_quantizer\": {\"amax\": 0.1}}" }</code></small>
            </div>
            <label class="tick"><input type="checkbox" checked={form.zero_tensors_as_reference} onchange={on_zero} data-testid="convert-zero" />
                <span>{ "Write all-zero tensors as the reference does (their scales are NaN)" }</span></label>
        </form>
    }
}
