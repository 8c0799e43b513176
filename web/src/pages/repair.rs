//! Repair: what would change, as a diff; what stays and why; then the files.

use crate::components::{ErrorBox, Words};
use crate::protocol::{RepairDigest, ResultSummary};
use crate::state::mending::{Mend, Mending};
use crate::state::{Action, text};
use quantscope_session::Arrange as _;
use quantscope_session::api::Change;
use yew::{Callback, Html, Properties, component, html};

/// Changes of a group that are shown before the rest is folded out.
const FIRST: usize = 5;
/// Longest value that is shown whole.
const LONGEST: usize = 240;
/// Characters that are shown of what comes before a difference.
const BEFORE_CHANGE: usize = 40;

/// Properties of [`RepairSection`].
#[derive(Properties, PartialEq)]
pub(crate) struct RepairSectionProps {
    /// The view's part of the state.
    pub(crate) mending: Mending,
    /// Whether a job runs.
    pub(crate) busy: bool,
    /// Whether the bytes were read.
    pub(crate) verified: bool,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// The section.
#[component]
pub(crate) fn RepairSection(props: &RepairSectionProps) -> Html {
    let RepairSectionProps { mending, dispatch, .. } = props;
    html! {
        <>
            if let Some(error) = &mending.failed {
                <ErrorBox title="Not repaired" error={error.clone()} />
            }
            if let Some(result) = &mending.result {
                { result_view(result, dispatch) }
            }
            if mending.rules.is_none() {
                <p class="finding-tools">
                    <button data-testid="repair-plan" onclick={dispatch.reform(|_| Action::Mend(Mend::Plan(Vec::new())))}>{ "Plan a repair" }</button>
                    <span class="faint">{ "Names, shapes of scales, index, configs, headers. Tensor bytes stay." }</span>
                </p>
            } else if let Some(error) = &mending.plan.failed {
                <ErrorBox title="No repair" error={error.clone()} />
                { close_view(dispatch) }
            } else if let Some(plan) = &mending.plan.value {
                { plan_view(plan, props) }
            } else {
                <p class="waits" role="status">{ "Planning" }</p>
            }
        </>
    }
}

fn close_view(dispatch: &Callback<Action>) -> Html {
    html! { <button class="quiet" data-testid="repair-close" onclick={dispatch.reform(|_| Action::Mend(Mend::ClosePlan))}>{ "Close" }</button> }
}

fn plan_view(plan: &RepairDigest, props: &RepairSectionProps) -> Html {
    let dispatch = &props.dispatch;
    let mut sorted: Vec<&Change> = plan.changes.iter().collect();
    sorted.arrange_by(|a, b| a.rule.cmp(&b.rule).then_with(|| a.what.cmp(&b.what)));
    let groups = sorted.chunk_by(|a, b| a.rule == b.rule && a.what == b.what).map(group_view);
    let unseen = plan.change_count.saturating_sub(plan.changes.len() as u64);
    let of = if plan.rules.is_empty() { "all that can be mended".to_owned() } else { plan.rules.join(", ") };
    html! {
        <section class="repair" aria-label="Repair" data-testid="repair">
            <h2>{ "Repair" }<span>{ format!("{of}: {} would mend {}", text::counted(plan.change_count, "change"), text::counted(plan.mended, "finding")) }</span></h2>
            if !props.verified {
                <p class="hint">{ "The bytes have not been read: what only they show is not in this plan." }</p>
            }
            { for groups }
            if unseen > 0 { <p class="faint">{ format!("{} more changes.", text::count(unseen)) }</p> }
            if plan.unmended_count > 0 {
                <details class="more">
                    <summary>{ format!("{} stay", text::counted(plan.unmended_count, "finding")) }</summary>
                    <ul class="stays">{ for plan.unmended.iter().map(|left| html! {
                        <li><b>{ &left.rule }</b>{ " " }<code>{ &left.subject }</code>{ ": " }<Words text={left.reason.clone()} /></li>
                    }) }</ul>
                </details>
            }
            <p class="finding-tools">
                <button class="primary" data-testid="repair-run" disabled={props.busy || plan.change_count == 0} onclick={dispatch.reform(|_| Action::Mend(Mend::Run))}>{ "Write the repaired copy" }</button>
                { close_view(dispatch) }
                <span class="faint">{ format!("{} of tensors before, {} after", text::size(plan.bytes_before), text::size(plan.bytes_after)) }</span>
            </p>
        </section>
    }
}

fn group_view(group: &[&Change]) -> Html {
    let Some(first) = group.first() else { return Html::default() };
    let (shown, folded) = group.split_at(group.len().min(FIRST));
    html! {
        <div class="diff" data-testid="repair-change" data-rule={first.rule.clone()}>
            <p><b>{ &first.rule }</b>{ format!(" {}, {}", first.what, text::counted(group.len() as u64, "time")) }</p>
            { for shown.iter().map(|change| change_view(change)) }
            if !folded.is_empty() {
                <details class="more"><summary>{ format!("{} more", text::count(folded.len() as u64)) }</summary>
                    { for folded.iter().map(|change| change_view(change)) }</details>
            }
        </div>
    }
}

/// Before and after, each on its line. What is not there has none.
fn change_view(change: &Change) -> Html {
    let skipped = alike(&change.before, &change.after);
    let named = |value: &str| {
        let shown = excerpt(value, skipped);
        if shown.contains(&change.subject) { shown } else { format!("{}: {shown}", change.subject) }
    };
    html! {
        <div class="change">
            if change.before != "absent" { <del title={change.before.clone()}>{ named(&change.before) }</del> }
            if change.after != "absent" { <ins title={change.after.clone()}>{ named(&change.after) }</ins> }
        </div>
    }
}

/// Characters that both begin with and that need not be shown: none where what differs is in sight anyway.
fn alike(before: &str, after: &str) -> usize {
    let same = before.chars().zip(after.chars()).take_while(|(a, b)| a == b).count();
    if same + BEFORE_CHANGE > LONGEST / 2 { same.saturating_sub(BEFORE_CHANGE) } else { 0 }
}

/// The value from a character on, cut at its longest.
fn excerpt(value: &str, from: usize) -> String {
    let mut rest = value.chars().skip(from);
    let mut shown: String = if from > 0 { "…".to_owned() } else { String::new() };
    shown.extend(rest.by_ref().take(LONGEST));
    if rest.next().is_some() {
        shown.push('…');
    }
    shown
}

fn result_view(result: &ResultSummary, dispatch: &Callback<Action>) -> Html {
    let files = result.files.iter().map(|(file, bytes)| {
        let name = file.clone();
        html! {
            <tr>
                <td><code>{ file }</code></td>
                <td class="n" title={text::exact_size(*bytes)}>{ text::size(*bytes) }</td>
                <td class="c-save"><button data-testid="save-file" data-file={file.clone()} onclick={dispatch.reform(move |_| Action::Save(name.clone()))}>{ "Save" }</button></td>
            </tr>
        }
    });
    html! {
        <section class="result" data-testid="repair-result" aria-label="Repaired">
            <h2><span class="is-sound" aria-hidden="true">{ "✓ " }</span>{ "Repaired" }
                <span>{ format!("{} with the bytes of the source, {} made anew", text::counted(result.copied, "tensor"), text::count(result.packed)) }</span></h2>
            <p>{ "Read back and equal to the plan. The files wait in this tab until they are saved." }</p>
            <table class="facts"><tbody>{ for files }</tbody></table>
            <p class="next-ways">
                <button class="primary" data-testid="save-all" onclick={dispatch.reform(|_| Action::SaveAll)}>{ "Save all" }</button>
                <button data-testid="drop-output" onclick={dispatch.reform(|_| Action::DropOutput)}>{ "Discard" }</button>
            </p>
        </section>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_in_sight() {
        let common = "\"layer\",".repeat(60);
        let (before, after) = (format!("[{common}\"a\"]"), format!("[{common}\"b\",\"a\"]"));
        let from = alike(&before, &after);
        assert!(excerpt(&before, from).ends_with("\"a\"]"));
        assert!(excerpt(&after, from).ends_with("\"b\",\"a\"]"));
        assert!(excerpt(&after, from).starts_with('…'));
    }

    #[test]
    fn short_values_stay_whole() {
        assert_eq!(excerpt("[\"a\"]", alike("[\"a\"]", "[\"b\"]")), "[\"a\"]");
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(excerpt(&long, alike(&long, "absent")).chars().count(), LONGEST + 1);
        assert!(excerpt(&long, 0).ends_with('…'));
    }
}
