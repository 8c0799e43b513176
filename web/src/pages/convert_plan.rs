//! What a conversion would write: totals before and after, files, and each layer with its reason.

use crate::components::{LayerName, Words};
use crate::services::{dom, download};
use crate::state::convert::{Form, Growing, PlanShown};
use crate::state::converting::Converting;
use crate::state::{Action, text};
use quantscope_session::api::PlanLayer;
use yew::{Callback, Event, Html, Properties, component, html};

/// Properties of [`PlanSection`].
#[derive(Properties, PartialEq)]
pub(crate) struct PlanSectionProps {
    /// The plan.
    pub(crate) plan: PlanShown,
    /// The form it is of.
    pub(crate) form: Form,
    /// Whether a job runs.
    pub(crate) busy: bool,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// The plan.
#[component]
pub(crate) fn PlanSection(props: &PlanSectionProps) -> Html {
    let (plan, dispatch) = (&*props.plan.summary, &props.dispatch);
    let nothing = plan.packed_count == 0;
    let files: Vec<String> =
        plan.files.iter().map(|(file, bytes)| format!("{file} ({})", text::size(*bytes))).collect();
    html! {
        <section class="plan" aria-label="Plan">
            <div class="sizes">
                <div><span>{ "Size" }</span><b title={text::exact_size(plan.bytes_before)}>{ text::size(plan.bytes_before) }</b>
                    <i aria-hidden="true">{ "→" }</i><b title={text::exact_size(plan.bytes_after)}>{ text::size(plan.bytes_after) }</b>
                    <em>{ text::percent(plan.bytes_after, plan.bytes_before) }</em></div>
                <div><span>{ "Bits per weight" }</span><b>{ text::bits(plan.bits_before) }</b><i aria-hidden="true">{ "→" }</i><b>{ text::bits(plan.bits_after) }</b></div>
                <div><span>{ "Layers packed" }</span><b data-testid="plan-packed-count">{ text::count(plan.packed_count) }</b><em>{ format!("{} kept", text::count(plan.kept_count)) }</em></div>
                { run_buttons(props, nothing) }
            </div>
            { for plan.warnings.iter().map(|warning| html! { <p class="notice is-warning"><span aria-hidden="true">{ "! " }</span><Words text={warning.clone()} /></p> }) }
            if nothing {
                <p class="empty">{ "No layer is packed: none is plain, or all are kept. The reasons are below." }</p>
            } else {
                <p class="plan-files">{ "Writes " }<code>{ files.join(", ") }</code>
                    if !plan.other_files.is_empty() { <>{ " and " }<code>{ plan.other_files.join(", ") }</code></> }
                </p>
                <h2>{ "Packed" }<span>{ "untick a layer to keep it" }</span></h2>
                { packed_table(props) }
                { more(&props.plan.packed, true, dispatch) }
            }
            if plan.kept_count > 0 {
                <h2>{ "Kept" }</h2>
                { kept_table(props) }
                { more(&props.plan.kept, false, dispatch) }
            }
        </section>
    }
}

/// Where a browser can write into a folder, that is the shorter way: nothing is written twice.
fn run_buttons(props: &PlanSectionProps, nothing: bool) -> Html {
    let (dispatch, disabled) = (&props.dispatch, props.busy || nothing);
    let here = dispatch.reform(|_| Action::Converting(Converting::Run));
    if !download::has_folders() {
        return html! { <div class="runs"><button class="primary" data-testid="plan-run" {disabled} onclick={here}>{ "Convert" }</button></div> };
    }
    let into = dispatch.reform(|_| Action::Converting(Converting::PickFolder));
    html! {
        <div class="runs">
            <button data-testid="plan-run" {disabled} onclick={here} title="The files wait in this tab until they are saved">{ "Convert here" }</button>
            <button class="primary" data-testid="plan-run-into" {disabled} onclick={into}>{ "Convert into a folder" }</button>
        </div>
    }
}

fn more(rows: &Growing<PlanLayer>, packed: bool, dispatch: &Callback<Action>) -> Html {
    let left = rows.total.saturating_sub(rows.len());
    if left == 0 {
        return Html::default();
    }
    html! { <button class="quiet" disabled={rows.asked} onclick={dispatch.reform(move |_| Action::MorePlanRows { packed })}>{ format!("Show more ({} left)", text::count(left)) }</button> }
}

/// A tick that decides whether a layer is packed.
fn tick(props: &PlanSectionProps, layer: &PlanLayer, packed: bool) -> Html {
    let (dispatch, form, name) = (props.dispatch.clone(), props.form.clone(), layer.name.clone());
    let onchange = move |event: Event| {
        let mut form = form.clone();
        if dom::is_checked(&event) {
            form.keep.remove(&name);
        } else {
            form.keep.insert(name.clone());
        }
        dispatch.emit(Action::SetForm(form));
    };
    html! { <input type="checkbox" checked={packed} aria-label={format!("Pack {}", layer.name)} data-testid="plan-tick" data-name={layer.name.clone()} {onchange} /> }
}

fn packed_table(props: &PlanSectionProps) -> Html {
    let rows = props.plan.packed.rows.iter().map(|layer| {
        html! {
            <tr key={layer.name.clone()} data-testid="plan-packed" data-name={layer.name.clone()}>
                <td class="c-tick">{ tick(props, layer, true) }</td>
                <td class="c-plan-name"><LayerName name={layer.name.clone()} />
                    if !layer.reason.is_empty() { <small>{ &layer.reason }</small> }
                </td>
                <td class="c-wide"><code>{ format!("{} → {}", layer.from, layer.to) }</code></td>
                <td class="c-wide"><code>{ text::shape(&layer.shape) }</code></td>
                <td class="n" title={text::exact_size(layer.bytes_before)}>{ text::size(layer.bytes_before) }</td>
                <td class="n" title={text::exact_size(layer.bytes_after)}>{ text::size(layer.bytes_after) }</td>
            </tr>
        }
    });
    html! {
        <table class="facts plan-table"><thead><tr><th class="c-tick"><span class="read-out">{ "Pack" }</span></th><th>{ "Layer" }</th><th class="c-wide">{ "Scheme" }</th><th class="c-wide">{ "Shape" }</th><th class="n">{ "Before" }</th><th class="n">{ "After" }</th></tr></thead>
        <tbody>{ for rows }</tbody></table>
    }
}

fn kept_table(props: &PlanSectionProps) -> Html {
    let rows = props.plan.kept.rows.iter().map(|layer| {
        let by_hand = props.form.keep.contains(&layer.name);
        html! {
            <tr key={layer.name.clone()} data-testid="plan-kept" data-name={layer.name.clone()}>
                <td class="c-tick">if by_hand { { tick(props, layer, false) } }</td>
                <td class="c-plan-name"><LayerName name={layer.name.clone()} /></td>
                <td class="c-reason"><Words text={layer.reason.clone()} /></td>
                <td class="n" title={text::exact_size(layer.bytes_after)}>{ text::size(layer.bytes_after) }</td>
            </tr>
        }
    });
    html! {
        <table class="facts plan-table"><thead><tr><th class="c-tick"><span class="read-out">{ "Pack" }</span></th><th>{ "Layer" }</th><th>{ "Reason" }</th><th class="n">{ "Size" }</th></tr></thead>
        <tbody>{ for rows }</tbody></table>
    }
}
