//! Converting: recipe at the left, what it would write at the right, then the run and its result.

use super::convert_plan::PlanSection;
use super::convert_recipe::RecipeForm;
use super::convert_result::ResultSection;
use super::convert_stopped::StoppedSection;
use crate::components::{ErrorBox, LayerName, OptionsOf};
use crate::services::dom;
use crate::state::converting::Converting;
use crate::state::home::Home;
use crate::state::load::Shared;
use crate::state::{Action, State};
use yew::{AttrValue, Callback, Event, Html, Properties, component, html};

/// Properties of [`ConvertPage`].
#[derive(Properties, PartialEq)]
pub(crate) struct ConvertPageProps {
    /// The page's state.
    pub(crate) state: Shared<State>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
    /// A calibration file was picked.
    pub(crate) on_calibration: Callback<Event>,
    /// A recipe file was picked.
    pub(crate) on_recipe: Callback<Event>,
}

/// The screen.
#[component]
pub(crate) fn ConvertPage(props: &ConvertPageProps) -> Html {
    let ConvertPageProps { state, dispatch, .. } = props;
    let convert = &state.convert;
    let told = convert.shown.as_ref().map(|plan| plan.summary.warnings.clone()).unwrap_or_default();
    let writable = state.overview().map(|overview| overview.writable.clone()).unwrap_or_default();
    html! {
        <main class="page convert">
            <div class="page-head"><h1>{ "Convert" }</h1><p>{ "The plan below is what will be written, byte for byte as the reference exporter does; nothing has been read for it yet." }</p></div>
            if let Some(error) = &convert.failed {
                <ErrorBox title="Not converted" error={error.clone()} />
            }
            if let Some(stopped) = &convert.stopped {
                <StoppedSection stopped={stopped.clone()} busy={state.job.is_some() || !state.plan_is_fresh()} dispatch={dispatch.clone()} />
            }
            if let Some(result) = &convert.result {
                <ResultSection result={result.clone()} told={told} dispatch={dispatch.clone()} />
            }
            <div class="convert-sides">
                <div>
                    { recents_view(props) }
                    <RecipeForm form={convert.form.clone()} writable={writable.clone()} dispatch={dispatch.clone()}
                        fault={convert.plan.failed.as_ref().map(|error| AttrValue::from(error.message.clone()))}
                        on_calibration={props.on_calibration.clone()} on_recipe={props.on_recipe.clone()} />
                </div>
                <div class="convert-plan">
                    { picked_view(props) }
                    if let Some(error) = &convert.plan.failed {
                        <ErrorBox title="No plan" error={error.clone()} />
                    } else if let Some(plan) = &convert.shown {
                        <PlanSection plan={plan.clone()} form={convert.form.clone()} {writable} choosing={convert.choosing.clone()}
                            busy={state.job.is_some() || !state.plan_is_fresh()} dispatch={dispatch.clone()} />
                    } else {
                        <p class="waits" role="status">{ "Planning" }</p>
                    }
                </div>
            </div>
        </main>
    }
}

/// The layer that the user came with, and what becomes of it.
fn picked_view(props: &ConvertPageProps) -> Html {
    let convert = &props.state.convert;
    let (Some(name), Some(overview)) = (convert.picked.clone(), props.state.overview()) else {
        return Html::default();
    };
    let chosen = convert.form.by_layer.get(&name).cloned().unwrap_or_default();
    let others = if convert.form.scheme.is_empty() {
        "The others stay as they are."
    } else {
        "The recipe says the rest."
    };
    let onchange = {
        let (form, name) = (convert.form.clone(), name.clone());
        props
            .dispatch
            .reform(move |event: Event| Action::SetForm(Box::new(form.giving(&name, &dom::value_of(&event)))))
    };
    html! {
        <div class="hint picked" role="group" aria-label="The layer you came with" data-testid="convert-picked" data-name={name.clone()}>
            <LayerName name={name.clone()} />
            <label>{ "becomes " }<select data-testid="picked-becomes" autofocus=true aria-label={format!("What {name} becomes")} {onchange}>
                <option value="" selected={chosen.is_empty()}>{ "as the recipe says" }</option>
                <option value="keep" selected={chosen == "keep"}>{ "keep" }</option>
                <OptionsOf writable={overview.writable.clone()} {chosen} />
            </select></label>
            <span class="faint">{ others }</span>
            <button class="quiet" data-testid="picked-done" onclick={props.dispatch.reform(|_| Action::Converting(Converting::LayerDone))}>{ "Done" }</button>
        </div>
    }
}

/// Recipes that were run lately, to begin from.
fn recents_view(props: &ConvertPageProps) -> Html {
    let recents = &props.state.home.recents;
    if recents.is_empty() {
        return Html::default();
    }
    let dispatch = props.dispatch.clone();
    let on_change = move |event: Event| {
        if let Ok(place) = dom::value_of(&event).parse() {
            dispatch.emit(Action::Home(Home::Recent(place)));
        }
    };
    html! {
        <label class="field recents"><span>{ "Begin from a recipe of before" }</span>
            <select data-testid="convert-recent" onchange={on_change}>
                <option value="" selected=true>{ "as below" }</option>
                { for recents.iter().enumerate().map(|(place, recent)| html! { <option value={place.to_string()}>{ recent.words() }</option> }) }
            </select>
        </label>
    }
}
