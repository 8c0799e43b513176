//! Nothing is open yet: drop files, choose them, or open a sample.

use super::address::AddressForm;
use super::help::Guide;
use crate::components::{DropArea, NoticeBox};
use crate::state::home::Home;
use crate::state::load::Shared;
use crate::state::{Action, Phase, State};
use yew::{Callback, Event, Html, Properties, component, html};

/// Samples: test id, folder, name, and what can be seen in them.
const SAMPLES: [(&str, &str, &str, &str); 3] = [
    ("sample-sound", "sound", "A sound NVFP4 export", "a small VAE, its convolutions packed to 4.5 bits"),
    (
        "sample-faults",
        "faults",
        "One with faults",
        "the same, with leaked state, a missing scale, wrong shapes",
    ),
    ("sample-convert", "convert", "A BF16 VAE to convert", "plain weights: see the plan, convert, save"),
];

/// Properties of [`Arrival`].
#[derive(Properties, PartialEq)]
pub(crate) struct ArrivalProps {
    /// The page's state.
    pub(crate) state: Shared<State>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
    /// Files or a folder were picked.
    pub(crate) on_pick: Callback<Event>,
    /// What was lost with a worker shall be opened again; nothing if nothing was.
    pub(crate) on_again: Option<Callback<()>>,
}

/// The screen.
#[component]
pub(crate) fn Arrival(props: &ArrivalProps) -> Html {
    let dispatch = &props.dispatch;
    let opening = match &props.state.phase {
        Phase::Opening { name } => Some(name.clone()),
        Phase::Arrival | Phase::Open(_) => None,
    };
    let (remote, busy) = (&props.state.remote, opening.is_some());
    let samples = SAMPLES.map(|(id, folder, name, word)| {
        html! {
            <li><button class="sample" data-testid={id} disabled={opening.is_some()} onclick={dispatch.reform(move |_| Action::OpenSample { folder, name })}>
                <b>{ name }</b><span>{ word }</span>
            </button></li>
        }
    });
    html! {
        <main class="arrival">
            <div class="arrival-words">
                <h1>{ "What is in this checkpoint, and is it right?" }</h1>
                <p>{ "Quantscope reads safetensors checkpoints with quantized layers (NVFP4, FP8), says what they are and what is wrong with them, and converts plain ones." }</p>
            </div>
            if let Some(notice) = &props.state.notice {
                <NoticeBox notice={notice.clone()} on_close={dispatch.reform(|_| Action::Dismiss)} />
            }
            if let Some(on_again) = props.on_again.as_ref().filter(|_| !busy) {
                <p class="again"><button class="primary" data-testid="open-again" onclick={on_again.reform(|_| ())}>{ "Open it again" }</button></p>
            }
            <DropArea {opening} connects={remote.connects} on_pick={props.on_pick.clone()} />
            if remote.connects {
                <AddressForm {busy} address={remote.address.clone()} token={remote.token.clone()} dispatch={dispatch.clone()} />
            }
            if props.state.home.is_first_visit {
                <Guide on_close={dispatch.reform(|_| Action::Home(Home::GuideRead))} />
            }
            <h2>{ "Or look at a sample" }</h2>
            <ul class="samples">{ for samples }</ul>
        </main>
    }
}
