//! What is stored twice: groups, which side would stay, the evidence, and the bytes saved.

use crate::components::{ErrorBox, LayerName};
use crate::state::load::Shared;
use crate::state::{Action, State, text};
use quantscope_session::api::{TieReport, TieView};
use yew::{Callback, Html, Properties, component, html};

/// Properties of [`TiesPage`].
#[derive(Properties, PartialEq)]
pub(crate) struct TiesPageProps {
    /// The page's state.
    pub(crate) state: Shared<State>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// The screen.
#[component]
pub(crate) fn TiesPage(props: &TiesPageProps) -> Html {
    let TiesPageProps { state, dispatch } = props;
    let body = match (&state.ties.failed, state.ties.value.as_deref()) {
        (Some(error), _) => html! {
            <ErrorBox title="The ties could not be read" error={error.clone()} on_retry={dispatch.reform(|_| Action::Retry)} />
        },
        (None, None) => html! { <p class="waits" role="status">{ "Reading" }</p> },
        (None, Some(report)) => report_view(report, state.job.is_some(), dispatch),
    };
    html! { <main class="page ties"><div class="page-head"><h1>{ "Ties" }</h1></div>{ body }</main> }
}

fn report_view(report: &TieReport, busy: bool, dispatch: &Callback<Action>) -> Html {
    let unseen = report.group_count.saturating_sub(report.groups.len() as u64);
    html! {
        <>
            if !report.bytes_compared {
                <div class="hint">
                    <p>{ "Only ties that a config declares are known: the bytes have not been compared yet." }</p>
                    <button disabled={busy} data-testid="ties-verify" onclick={dispatch.reform(|_| Action::Verify)}>{ "Compare the bytes" }</button>
                </div>
            }
            if report.groups.is_empty() {
                <p class="empty">{ if report.bytes_compared { "No two tensors are the same." } else { "No tie is declared." } }</p>
            } else {
                <p class="total" data-testid="ties-total"><b title={text::exact_size(report.bytes_saved)}>{ text::size(report.bytes_saved) }</b>
                    { format!(" are stored more than once, in {}", text::counted(report.group_count, "group")) }</p>
                { for report.groups.iter().map(group_view) }
                if unseen > 0 {
                    <p class="faint">{ format!("{} smaller groups are not listed.", text::count(unseen)) }</p>
                }
            }
        </>
    }
}

fn group_view(tie: &TieView) -> Html {
    let (evidence, class) = match tie.evidence.as_str() {
        "both" => ("declared, and the bytes are equal", "is-sound"),
        "identical" => ("the bytes are equal", "is-sound"),
        "declared" => ("declared by a config", ""),
        other => (other, ""),
    };
    let scale = match tie.input_scale.as_str() {
        "differs" => Some(("input scales differ: they cannot be merged as they are", "is-warning")),
        "equal" => Some(("input scales are equal", "is-sound")),
        _ => None,
    };
    html! {
        <section class="tie" data-testid="tie-group" data-name={tie.canonical.clone()}>
            <h2><LayerName name={tie.canonical.clone()} /><span class="n" title={text::exact_size(tie.bytes_saved)}>{ text::size(tie.bytes_saved) }</span></h2>
            <ul class="aliases">{ for tie.aliases.iter().map(|alias| html! { <li><span class="faint">{ "same as " }</span><LayerName name={alias.clone()} /></li> }) }</ul>
            <p class="evidence"><span {class}>{ evidence }</span>
                if let Some((word, class)) = scale { <span {class}>{ word }</span> }
            </p>
        </section>
    }
}
