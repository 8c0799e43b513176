//! A conversion that was broken off in the folder picked: go on with it, begin anew, or leave it.

use crate::services::dom;
use crate::state::Action;
use crate::state::converting::Converting;
use yew::{AttrValue, Callback, Html, Properties, component, html, use_effect_with};

/// The section by which it is brought into view.
const ID: &str = "stopped";

/// Properties of [`StoppedSection`].
#[derive(Properties, PartialEq)]
pub(crate) struct StoppedSectionProps {
    /// What stands in the folder.
    pub(crate) stopped: AttrValue,
    /// Whether nothing can begin now: a job runs, or the plan is on its way.
    pub(crate) busy: bool,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// The question.
#[component]
pub(crate) fn StoppedSection(props: &StoppedSectionProps) -> Html {
    // The button that asked for the run may stand a screen further down.
    use_effect_with((), |()| dom::focus(ID));
    let act = |action: Converting| props.dispatch.reform(move |_| Action::Converting(action.clone()));
    html! {
        <section id={ID} tabindex="-1" class="notice is-warning" role="alert" aria-label="Broken off" data-testid="convert-stopped">
            <p><b><span aria-hidden="true">{ "! " }</span>{ "A conversion was broken off there" }</b></p>
            <p class="notice-text">{ &props.stopped }</p>
            <div class="runs">
                <button class="primary" data-testid="stopped-continue" disabled={props.busy} onclick={act(Converting::Continue(true))}>{ "Continue" }</button>
                <button data-testid="stopped-anew" disabled={props.busy} onclick={act(Converting::Continue(false))} title="Removes what it has left under temporary names">{ "Begin anew" }</button>
                <button class="quiet" data-testid="stopped-leave" onclick={act(Converting::LeaveStopped)}>{ "Not now" }</button>
            </div>
        </section>
    }
}
