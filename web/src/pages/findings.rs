//! What is wrong, by rule: what, why it matters, where, what to do.

use super::findings_tools::{save_view, tools_view};
use super::repair::RepairSection;
use crate::components::{ErrorBox, FindingCard, SeverityMark, Words, severity_class};
use crate::state::load::Shared;
use crate::state::mending::Mend;
use crate::state::{Action, State, text};
use quantscope_session::api::FindingGroup;
use yew::{Callback, Html, Properties, classes, component, html};

/// Findings of a rule that are shown before the rest is folded out.
const FIRST: usize = 3;

/// Properties of [`FindingsPage`].
#[derive(Properties, PartialEq)]
pub(crate) struct FindingsPageProps {
    /// The page's state.
    pub(crate) state: Shared<State>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// The screen.
#[component]
pub(crate) fn FindingsPage(props: &FindingsPageProps) -> Html {
    let FindingsPageProps { state, dispatch } = props;
    let Some(overview) = state.overview() else { return Html::default() };
    let body = match (&state.findings.failed, state.findings.value.as_deref().map(Vec::as_slice)) {
        (Some(error), _) => html! {
            <ErrorBox title="The findings could not be read" error={error.clone()} on_retry={dispatch.reform(|_| Action::Retry)} />
        },
        (None, None) => html! { <p class="waits" role="status">{ "Reading" }</p> },
        (None, Some([])) if state.route.findings.narrows() => html! {
            <p class="empty" data-testid="no-findings">{ "No finding matches. Clear the filter." }</p>
        },
        (None, Some([])) => html! {
            <p class="empty" data-testid="no-findings">{ "No findings: nothing is wrong, as far as was checked." }</p>
        },
        (None, Some(groups)) => html! { <>{ for groups.iter().map(|group| group_view(group, dispatch)) }</> },
    };
    html! {
        <main class="page findings">
            <div class="page-head">
                <h1>{ "Findings" }</h1>
                <p>{ format!("{}, {}, {}", text::counted(overview.errors, "error"), text::counted(overview.warnings, "warning"), text::counted(overview.infos, "note")) }</p>
            </div>
            if overview.verified_by.is_none() {
                <p class="hint">{ "From headers and configs. Scales and codes have not been read: Verify bytes checks them." }</p>
            }
            { tools_view(state, dispatch) }
            <RepairSection mending={state.mending.clone()} busy={state.job.is_some()} verified={overview.verified_by.is_some()} dispatch={dispatch.clone()} />
            { body }
            { save_view(dispatch) }
        </main>
    }
}

fn group_view(group: &FindingGroup, dispatch: &Callback<Action>) -> Html {
    let rule = group.rule.clone();
    let (first, rest) = group.findings.split_at(group.findings.len().min(FIRST));
    let on_layer = dispatch.reform(|name| Action::Select(Some(name)));
    let card = |finding: &quantscope_session::api::Finding| {
        html! { <FindingCard finding={finding.clone()} on_layer={on_layer.clone()} /> }
    };
    let mend = group.rule.clone();
    let mendable = group.findings.iter().any(|finding| finding.repairable);
    let has_layers = group.findings.iter().any(|finding| !finding.layers.is_empty());
    let unseen = group.count.saturating_sub(group.findings.len() as u64);
    html! {
        <section class={classes!("group", severity_class(group.severity))} data-testid="finding-group" data-rule={group.rule.clone()}>
            <h2>
                <SeverityMark severity={group.severity} word=true />
                <code>{ &group.rule }</code>
                { &group.title }
                if let Some(target) = &group.target { <span class="tag">{ target }</span> }
                <span class="group-count">{ text::counted(group.count, "finding") }</span>
                if mendable {
                    <button class="quiet" data-testid="repair-rule" onclick={dispatch.reform(move |_| Action::Mend(Mend::Plan(vec![mend.clone()])))}>{ "Repair" }</button>
                }
                if has_layers {
                    <button class="quiet" data-testid="show-layers" onclick={dispatch.reform(move |_| Action::ShowRule(rule.clone()))}>{ "Show in the layer list" }</button>
                }
            </h2>
            <p class="why"><Words text={group.why.clone()} /></p>
            { for first.iter().map(card) }
            if !rest.is_empty() {
                <details class="more">
                    <summary>{ format!("{} more", text::count(rest.len() as u64)) }</summary>
                    { for rest.iter().map(card) }
                    if unseen > 0 {
                        <p class="faint">{ format!("{} more of this kind: see the layers.", text::count(unseen)) }</p>
                    }
                </details>
            }
        </section>
    }
}
