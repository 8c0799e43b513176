//! Compare: this checkpoint beside another, every difference with its cause.

use super::compare_found::FoundSection;
use super::compare_panel::DifferencePanel;
use crate::components::{ErrorBox, SchemeTag};
use crate::services::dom;
use crate::state::compare::Compare;
use crate::state::load::Shared;
use crate::state::{Action, State, text};
use quantscope_session::api::Overview;
use yew::{Callback, DragEvent, Event, Html, InputEvent, Properties, SubmitEvent, classes, component, html};

/// Properties of [`ComparePage`].
#[derive(Properties, PartialEq)]
pub(crate) struct ComparePageProps {
    /// The page's state.
    pub(crate) state: Shared<State>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
    /// What the user picks or drops here.
    pub(crate) picks: SecondPicks,
}

/// What the services take from the browser for this view.
#[derive(Clone, PartialEq)]
pub(crate) struct SecondPicks {
    /// Files or a folder were picked as the second checkpoint.
    pub(crate) on_pick: Callback<Event>,
    /// They were dropped.
    pub(crate) on_drop: Callback<DragEvent>,
    /// A file of rename rules was picked.
    pub(crate) on_rules: Callback<Event>,
}

/// The screen.
#[component]
pub(crate) fn ComparePage(props: &ComparePageProps) -> Html {
    let ComparePageProps { state, dispatch, picks } = props;
    let compare = &state.compare;
    let Some(open) = state.overview() else { return Html::default() };
    let has_panel = compare.found.is_some() && state.route.pair.is_some();
    html! {
        <main class={classes!("compare", has_panel.then_some("with-panel"))} ondrop={picks.on_drop.clone()}>
            <div class="compare-list">
                <div class="compare-head">
                    <div class="page-head"><h1>{ "Compare" }</h1><p>{ "What differs between two checkpoints, and what explains it." }</p></div>
                    if let Some((title, error)) = &compare.failed {
                        <ErrorBox title={*title} error={error.clone()} />
                    }
                    if let Some(second) = &compare.second {
                        { sides(open, second, props) }
                        { tools(open, second, props) }
                    } else {
                        { empty(open, props) }
                    }
                </div>
                if compare.found.is_some() {
                    <FoundSection compare={compare.clone()} query={state.route.compare.clone()} pair={state.route.pair.clone()} dispatch={dispatch.clone()} />
                }
            </div>
            if has_panel {
                <DifferencePanel compare={compare.clone()} pair={state.route.pair.clone().unwrap_or_default()} dark={state.is_dark()} dispatch={dispatch.clone()} />
            }
        </main>
    }
}

/// Both checkpoints, the first at the left.
fn sides(open: &Overview, second: &Overview, props: &ComparePageProps) -> Html {
    let compare = &props.state.compare;
    let is_busy = props.state.job.is_some();
    let (a, b) = if compare.swapped { (second, open) } else { (open, second) };
    html! {
        <div class="sides" data-testid="compare-sides" data-swapped={compare.swapped.to_string()}>
            { side("First", "such as the source", a, compare.swapped) }
            <button class="square" data-testid="compare-swap" disabled={is_busy} title="Swap: the other one is the first" aria-label="Swap first and second"
                onclick={props.dispatch.reform(|_| Action::Compare(Compare::Swap))}><span aria-hidden="true">{ "⇄" }</span></button>
            { side("Second", "such as the export", b, !compare.swapped) }
        </div>
    }
}

fn side(word: &'static str, such_as: &'static str, overview: &Overview, is_chosen: bool) -> Html {
    let facts = format!(
        "{}, {} bits per weight, {}",
        text::size(overview.bytes),
        text::bits(overview.bits_per_weight),
        text::counted(overview.layer_count, "layer")
    );
    let here = if is_chosen { "" } else { " · open here" };
    html! {
        <section class="side" aria-label={word}>
            <p class="faint">{ format!("{word}, {such_as}{here}") }</p>
            <p class="side-name" title={overview.name.clone()}>{ &overview.name }</p>
            <p title={text::exact_size(overview.bytes)}>{ facts }</p>
            <p class="side-schemes">{ for overview.schemes.iter().take(4).map(|share| html! { <SchemeTag scheme={share.scheme.clone()} family={share.family.clone()} /> }) }</p>
        </section>
    }
}

/// Compare, rename rules, another second.
fn tools(open: &Overview, second: &Overview, props: &ComparePageProps) -> Html {
    let ComparePageProps { state, dispatch, picks } = props;
    let is_busy = state.job.is_some();
    let is_found = state.compare.found.is_some();
    let reads = text::size(open.bytes.saturating_add(second.bytes));
    html! {
        <div class="compare-tools">
            <button class={if is_found { "" } else { "primary" }} data-testid="compare-run" disabled={is_busy} onclick={dispatch.reform(|_| Action::Compare(Compare::Run))}>
                { if is_found { "Compare again" } else { "Compare" } }</button>
            if !is_found { <span class="faint">{ format!("reads up to {reads}; nothing is written") }</span> }
            <span class="grow" />
            if let Some(file) = &state.compare.rules {
                <button class="toggle on" data-testid="compare-rules-off" disabled={is_busy} aria-label={format!("Rename rules of {file}; take them away")}
                    onclick={dispatch.reform(|_| Action::Compare(Compare::Rules(None)))}>{ format!("{file} ×") }</button>
            } else {
                <label class="button" title="JSON with splits and renames, as convert --rename takes it"><input class="read-out" type="file" accept=".json" disabled={is_busy} data-testid="compare-rules"
                    onchange={picks.on_rules.clone()} />{ "Rename rules…" }</label>
            }
            <label class="button"><input class="read-out" type="file" multiple=true webkitdirectory=true disabled={is_busy} data-testid="second-folder" onchange={picks.on_pick.clone()} />{ "Choose another" }</label>
            <button class="quiet" data-testid="compare-drop" disabled={is_busy} onclick={dispatch.reform(|_| Action::Compare(Compare::Drop))}>{ "Take away" }</button>
            if state.compare.is_remote {
                <span class="faint" data-testid="second-traffic">{ format!("Fetched {} in {}", text::size(state.remote.traffic.bytes), text::counted(state.remote.traffic.requests, "request")) }</span>
            }
        </div>
    }
}

/// No second yet: what to choose, and what will come of it.
fn empty(open: &Overview, props: &ComparePageProps) -> Html {
    let ComparePageProps { state, dispatch, picks } = props;
    let is_busy = state.job.is_some();
    let sample = SAMPLES.iter().find(|(name, ..)| *name == open.name);
    html! {
        <>
            <div class="drop second-drop" data-testid="second-drop">
                <p class="drop-title" role="status">{ if is_busy { "Reading" } else { "Drop the other checkpoint here" } }</p>
                <p class="drop-hint">{ "The source that this one was made of, an export of it, or another version." }</p>
                <div class="drop-ways">
                    <label class="button primary"><input class="read-out" type="file" multiple=true webkitdirectory=true disabled={is_busy} data-testid="second-folder" onchange={picks.on_pick.clone()} />{ "Choose a folder" }</label>
                    <label class="button"><input class="read-out" type="file" multiple=true disabled={is_busy} data-testid="second-files" onchange={picks.on_pick.clone()} />{ "Choose files" }</label>
                    if let Some(&(_, word, folder, name)) = sample {
                        <button data-testid="second-sample" disabled={is_busy} onclick={dispatch.reform(move |_| Action::Compare(Compare::OpenSample { folder, name }))}>{ word }</button>
                    }
                </div>
                if state.remote.connects { { address(props) } }
            </div>
            <ul class="compare-says">
                <li><b>{ "Matched by name" }</b>{ "Layers under the same name belong together, and those that a conversion renames, splits or stacks. Your own rename rules go first." }</li>
                <li><b>{ "Measured on values" }</b>{ "Both sides are decoded: signal to noise, the largest and the mean difference of each layer, and a picture of where they are." }</li>
                <li><b>{ "Each claimed by a cause" }</b>{ "Quantized, cast, padded, tied, renamed and so on. What no cause explains is counted at the top and listed first." }</li>
            </ul>
        </>
    }
}

/// Samples that go with an open one: its name, the word on the button, folder and name of the second.
const SAMPLES: [(&str, &str, &str, &str); 2] = [
    ("A sound NVFP4 export", "The BF16 sample it was made of", "convert", "A BF16 VAE to convert"),
    ("A BF16 VAE to convert", "Its NVFP4 export", "sound", "A sound NVFP4 export"),
];

fn address(props: &ComparePageProps) -> Html {
    let on_submit = props.dispatch.reform(|event: SubmitEvent| {
        event.prevent_default();
        Action::Compare(Compare::OpenAddress)
    });
    let on_address =
        props.dispatch.reform(|event: InputEvent| Action::Compare(Compare::Address(dom::value_of(&event))));
    html! {
        <form class="address-line" onsubmit={on_submit}>
            <input data-testid="second-address" type="text" inputmode="url" autocomplete="off" spellcheck="false" autocapitalize="off" aria-label="Address of the other checkpoint"
                placeholder="or hf://organization/repository, https://…" value={props.state.compare.address.clone()} oninput={on_address} />
            <button data-testid="second-address-open" disabled={props.state.job.is_some()}>{ "Open" }</button>
        </form>
    }
}
