//! The page about itself: the keys, what is remembered on this device, the report for a bug, the first steps.

use crate::services::dom;
use crate::state::home::Home;
use crate::state::load::Shared;
use crate::state::{Action, State};
use yew::{Callback, Html, MouseEvent, Properties, component, html, use_effect_with};

const KEYS: [(&str, &str); 9] = [
    ("/ or Ctrl K", "search layers"),
    ("j or ↓", "next layer"),
    ("k or ↑", "previous layer"),
    ("→", "open the module, or go into it"),
    ("←", "close the module, or go out of it"),
    ("Enter", "open the layer"),
    ("Esc", "close the layer, a message, or this"),
    ("Tab", "next part of the page"),
    ("?", "this sheet"),
];

/// The button that has the focus when the sheet opens.
const CLOSE_ID: &str = "help-close";

/// Properties of [`HelpSheet`].
#[derive(Properties, PartialEq)]
pub(crate) struct HelpSheetProps {
    /// The page's state.
    pub(crate) state: Shared<State>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// The sheet, over the page. The page behind it can be used meanwhile.
#[component]
pub(crate) fn HelpSheet(props: &HelpSheetProps) -> Html {
    let HelpSheetProps { state, dispatch } = props;
    let home = dispatch.reform(Action::Home);
    use_effect_with((), |()| {
        let before = dom::focused();
        dom::focus(CLOSE_ID);
        move || dom::give_back(before)
    });
    let kept = if state.home.is_kept {
        "This page works without a network."
    } else {
        "This page is not kept for use without a network."
    };
    html! {
        <div class="sheet" role="dialog" aria-labelledby="help-title" data-testid="help-sheet">
            <div class="sheet-head">
                <h2 id="help-title">{ "Keys, settings, about" }</h2>
                <button id={CLOSE_ID} class="square" aria-label="Close" onclick={dispatch.reform(|_| Action::Keys(false))}>{ "×" }</button>
            </div>
            <h3>{ "Keys" }</h3>
            <dl>{ for KEYS.map(|(key, word)| html! { <><dt><kbd>{ key }</kbd></dt><dd>{ word }</dd></> }) }</dl>
            <h3>{ "On this device" }</h3>
            <p>{ "Theme, engine, the last recipes and that the first steps were read are remembered here; nothing of a checkpoint is. " }{ kept }</p>
            <button data-testid="forget" onclick={home.reform(|_| Home::Forget)}>{ "Forget what is remembered" }</button>
            <h3>{ "Report for a bug" }</h3>
            <p>{ "Versions, sizes, times and memory. No names, no paths, no values." }</p>
            <button data-testid="copy-report" onclick={home.reform(|_| Home::Report)}>{ "Copy the report" }</button>
            if let Some(report) = &state.home.report {
                <details><summary>{ "What was copied" }</summary><pre class="report" data-testid="report" tabindex="0">{ report }</pre></details>
            }
            <p class="faint">{ format!("Quantscope {}", env!("CARGO_PKG_VERSION")) }</p>
        </div>
    }
}

/// Properties of [`Guide`].
#[derive(Properties, PartialEq)]
pub(crate) struct GuideProps {
    /// It was read.
    pub(crate) on_close: Callback<MouseEvent>,
}

/// The first steps, for somebody who is here for the first time. Nothing waits for them.
#[component]
pub(crate) fn Guide(props: &GuideProps) -> Html {
    html! {
        <section class="guide" aria-label="First steps" data-testid="guide">
            <ol>
                <li><b>{ "Open." }</b>{ " Only headers are read, so any size opens at once." }</li>
                <li><b>{ "Look." }</b>{ " Overview says what it is; Findings says what is wrong, and offers repairs." }</li>
                <li><b>{ "Verify." }</b>{ " Every scale and code is read and checked." }</li>
                <li><b>{ "Convert." }</b>{ " The plan is shown before a byte is written." }</li>
            </ol>
            <button class="quiet" data-testid="guide-close" onclick={props.on_close.clone()}>{ "Do not show this again" }</button>
        </section>
    }
}

/// Properties of [`UpdateBox`].
#[derive(Properties, PartialEq)]
pub(crate) struct UpdateBoxProps {
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// A newer version waits; it is never changed to unasked, since what is open would close.
#[component]
pub(crate) fn UpdateBox(props: &UpdateBoxProps) -> Html {
    html! {
        <div class="update" role="status" data-testid="update">
            <span>{ "A newer version is ready. What is open closes when you change to it." }</span>
            <button data-testid="update-now" onclick={props.dispatch.reform(|_| Action::Home(Home::Update))}>{ "Change now" }</button>
        </div>
    }
}
