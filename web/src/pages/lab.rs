//! Preview: what schemes would make of a layer, what layers lose most, and the recipe that fits a budget.

use super::lab_budget::BudgetSection;
use super::lab_cards::TrialSection;
use crate::components::{ErrorBox, LayerName, SchemeTag};
use crate::services::dom;
use crate::state::lab::{Lab, LabState};
use crate::state::load::Shared;
use crate::state::{Action, State, text};
use yew::{Callback, Html, InputEvent, Properties, classes, component, html};

/// Properties of [`LabPage`].
#[derive(Properties, PartialEq)]
pub(crate) struct LabPageProps {
    /// The page's state.
    pub(crate) state: Shared<State>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// Types that a checkpoint is only dequantized to.
const PLAIN: [&str; 3] = ["bf16", "f16", "f32"];

/// The screen.
#[component]
pub(crate) fn LabPage(props: &LabPageProps) -> Html {
    let LabPageProps { state, dispatch } = props;
    let lab = &state.lab;
    let writable = state.overview().map(|o| o.writable.as_slice()).unwrap_or_default().iter();
    let chips = writable.filter(|(id, _)| !PLAIN.contains(&id.as_str())).map(|(id, title)| {
        let on = lab.schemes.contains(id);
        let chosen = id.clone();
        html! {
            <button class={classes!("toggle", on.then_some("on"))} aria-pressed={on.to_string()} title={title.clone()} data-testid="lab-scheme" data-id={id.clone()}
                onclick={dispatch.reform(move |_| Action::Lab(Lab::Toggle(chosen.clone())))}>{ id }</button>
        }
    });
    html! {
        <main class="page lab">
            <div class="page-head"><h1>{ "Preview" }</h1><p>{ "What quantization would do, with the code that a conversion runs. Nothing is written." }</p></div>
            <div class="lab-schemes" role="group" aria-label="Schemes to try">{ for chips }</div>
            <section class="lab-one" aria-label="One layer">
                { finder(lab, dispatch) }
                if let Some(error) = &lab.trial.failed {
                    <ErrorBox title="Not tried" error={error.clone()} on_retry={dispatch.reform(|_| Action::Retry)} />
                } else if let Some(trial) = &lab.trial.value {
                    <TrialSection trial={trial.clone()} stale={lab.trial.asked().is_some()} dark={state.is_dark()} />
                } else if state.route.layer.is_some() {
                    <p class="waits" role="status">{ if state.job.is_some() { "Waits for the job below" } else { "Trying" } }</p>
                }
            </section>
            <BudgetSection lab={lab.clone()} busy={state.job.is_some()} dispatch={dispatch.clone()} />
        </main>
    }
}

fn finder(lab: &LabState, dispatch: &Callback<Action>) -> Html {
    let on_text = dispatch.reform(|event: InputEvent| Action::Lab(Lab::Find(dom::value_of(&event))));
    let found = lab.found.value.as_deref().map(Vec::as_slice).unwrap_or_default();
    let items = found.iter().map(|layer| {
        let name = layer.name.clone();
        let here = layer.name == lab.layer;
        html! {
            <li key={layer.name.clone()}>
                <button class={classes!("lab-found", here.then_some("here"))} aria-pressed={here.to_string()} data-testid="lab-layer" data-name={layer.name.clone()}
                    onclick={dispatch.reform(move |_| Action::Lab(Lab::Pick(name.clone())))}>
                    <LayerName name={layer.name.clone()} />
                    <SchemeTag scheme={layer.scheme.clone()} family={layer.family.clone()} />
                    <span class="n">{ text::size(layer.bytes) }</span>
                </button>
            </li>
        }
    });
    html! {
        <div class="lab-finder">
            <label class="field"><span>{ "Layer" }</span>
                <input type="search" data-testid="lab-find" placeholder="part of a name, or a glob" spellcheck="false" autocomplete="off"
                    value={lab.text.clone()} oninput={on_text} /></label>
            if let Some(error) = &lab.found.failed {
                <ErrorBox title="Not found" error={error.clone()} />
            }
            <ul aria-label="Layers, the largest first">{ for items }</ul>
            if lab.found.value.is_some() && found.is_empty() {
                <p class="empty" role="status">{ "No layer with a matrix of weights matches." }</p>
            }
        </div>
    }
}
