//! What a conversion would write: totals before and after, files, what stands against it, and each layer with its
//! reason and what else it could become.

use crate::components::{LayerName, OptionsOf, Words};
use crate::services::{dom, download};
use crate::state::convert::{Growing, PlanShown};
use crate::state::converting::Converting;
use crate::state::form::Form;
use crate::state::{Action, text};
use quantscope_session::api::{PlanLayer, PlanRefusal};
use yew::{Callback, Event, Html, Properties, component, html};

/// Properties of [`PlanSection`].
#[derive(Properties, PartialEq)]
pub(crate) struct PlanSectionProps {
    /// The plan.
    pub(crate) plan: PlanShown,
    /// The form it is of.
    pub(crate) form: Form,
    /// What can be written: ids and titles.
    pub(crate) writable: Vec<(String, String)>,
    /// The layer whose scheme is being chosen.
    pub(crate) choosing: Option<String>,
    /// Whether a job runs.
    pub(crate) busy: bool,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

impl PlanSectionProps {
    /// Gives a layer a scheme of its own, or, with an empty one, what the recipe says.
    fn giving(&self, layer: &str) -> impl Fn(&str) + 'static {
        let (dispatch, form, layer) = (self.dispatch.clone(), self.form.clone(), layer.to_owned());
        move |scheme| dispatch.emit(Action::SetForm(Box::new(form.giving(&layer, scheme))))
    }
}

/// The plan.
#[component]
pub(crate) fn PlanSection(props: &PlanSectionProps) -> Html {
    let (plan, dispatch) = (&*props.plan.summary, &props.dispatch);
    let nothing = plan.packed_count == 0 && plan.files.is_empty();
    let files: Vec<String> =
        plan.files.iter().map(|(file, bytes)| format!("{file} ({})", text::size(*bytes))).collect();
    let lossless =
        (plan.lossless_count > 0).then(|| format!(", {} without loss", text::count(plan.lossless_count)));
    html! {
        <section class="plan" aria-label="Plan">
            <div class="sizes">
                <div><span>{ "Size" }</span><b title={text::exact_size(plan.bytes_before)}>{ text::size(plan.bytes_before) }</b>
                    <i aria-hidden="true">{ "→" }</i><b title={text::exact_size(plan.bytes_after)}>{ text::size(plan.bytes_after) }</b>
                    <em>{ text::percent(plan.bytes_after, plan.bytes_before) }</em></div>
                <div><span>{ "Bits per weight" }</span><b>{ text::bits(plan.bits_before) }</b><i aria-hidden="true">{ "→" }</i><b>{ text::bits(plan.bits_after) }</b></div>
                <div><span>{ "Layers converted" }</span><b data-testid="plan-packed-count">{ text::count(plan.packed_count) }</b><em>{ format!("{} kept{}", text::count(plan.kept_count), lossless.unwrap_or_default()) }</em></div>
                { run_buttons(props, nothing || plan.refused_count > 0) }
            </div>
            { for plan.warnings.iter().map(|warning| html! { <p class="notice is-warning"><span aria-hidden="true">{ "! " }</span><Words text={warning.clone()} /></p> }) }
            if plan.refused_count > 0 { { refusals(props) } }
            if nothing {
                <p class="empty">{ "No layer is converted: none can be, or all are kept. The reasons are below." }</p>
            } else {
                <p class="plan-files">{ "Writes " }<code>{ files.join(", ") }</code>
                    if !plan.other_files.is_empty() { <>{ " and " }<code>{ plan.other_files.join(", ") }</code></> }
                    { room(props) }
                </p>
            }
            if plan.packed_count > 0 {
                <h2>{ "Converted" }<span>{ "untick a layer to keep it, press its scheme to give it another" }</span></h2>
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
fn run_buttons(props: &PlanSectionProps, refused: bool) -> Html {
    let (dispatch, disabled) = (&props.dispatch, props.busy || refused);
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

/// The room that it takes against the room there is.
fn room(props: &PlanSectionProps) -> Html {
    let plan = &*props.plan.summary;
    let here = match plan.free_here {
        Some(free) => {
            format!("{} of the {} that this browser has left", text::size(plan.bytes_here), text::size(free))
        }
        None => text::size(plan.bytes_here),
    };
    let scarce = plan.free_here.is_some_and(|free| free < plan.bytes_here);
    html! {
        <span class="room" data-testid="plan-room">{ format!(". A folder needs {}; converted here it takes {here}", text::size(plan.bytes_to_write)) }
            if scarce { <b class="is-warning">{ ": not enough, convert into a folder" }</b> }{ "." }</span>
    }
}

/// Layers that stand against the conversion, each with what helps.
fn refusals(props: &PlanSectionProps) -> Html {
    let plan = &*props.plan.summary;
    let keep_all = {
        let (dispatch, form, refused) = (props.dispatch.clone(), props.form.clone(), plan.refused.clone());
        move |_| {
            let mut form = form.clone();
            form.by_layer.extend(refused.iter().map(|refusal| (refusal.name.clone(), "keep".to_owned())));
            dispatch.emit(Action::SetForm(Box::new(form)));
        }
    };
    let row = |refusal: &PlanRefusal| {
        let give = props.giving(&refusal.name);
        html! {
            <tr key={refusal.name.clone()} data-testid="plan-refused" data-name={refusal.name.clone()}>
                <td class="c-plan-name"><LayerName name={refusal.name.clone()} /></td>
                <td class="c-reason"><Words text={refusal.reason.clone()} />
                    if !refusal.remedy.is_empty() { <small><Words text={refusal.remedy.clone()} /></small> }</td>
                <td class="c-save"><button aria-label={format!("Keep {}", refusal.name)} onclick={move |_| give("keep")}>{ "Keep it" }</button></td>
            </tr>
        }
    };
    let left = plan.refused_count.saturating_sub(plan.refused.len() as u64);
    html! {
        <div class="notice is-error refusals" role="alert">
            <p><b><span aria-hidden="true">{ "✕ " }</span>{ format!("{} cannot be converted as asked", text::counted(plan.refused_count, "layer")) }</b>{ ": while any is left, nothing is written." }</p>
            <table class="facts plan-table"><tbody>{ for plan.refused.iter().map(row) }</tbody></table>
            <button data-testid="plan-keep-refused" onclick={keep_all}>{ if left > 0 { "Keep these" } else { "Keep them all" } }</button>
            if left > 0 { <span class="faint">{ format!(" {} more after these", text::count(left)) }</span> }
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

/// A tick that decides whether a layer is converted.
fn tick(props: &PlanSectionProps, layer: &PlanLayer, converted: bool) -> Html {
    let give = props.giving(&layer.name);
    let onchange = move |event: Event| give(if dom::is_checked(&event) { "" } else { "keep" });
    html! { <input type="checkbox" checked={converted} aria-label={format!("Convert {}", layer.name)} data-testid="plan-tick" data-name={layer.name.clone()} {onchange} /> }
}

/// What a layer becomes, as a button; and as a choice, once that is pressed.
fn becomes(props: &PlanSectionProps, layer: &PlanLayer) -> Html {
    let by_hand = props.form.by_layer.get(&layer.name);
    if props.choosing.as_ref() == Some(&layer.name) {
        let give = props.giving(&layer.name);
        let close = props.dispatch.reform(|_: ()| Action::Converting(Converting::Choose(None)));
        let leave = close.clone();
        let onchange = move |event: Event| {
            close.emit(());
            give(&dom::value_of(&event));
        };
        let chosen = by_hand.cloned().unwrap_or_default();
        return html! {
            <select class="becomes" autofocus=true aria-label={format!("What {} becomes", layer.name)} data-testid="plan-becomes" {onchange} onblur={move |_| leave.emit(())}>
                <option value="" selected={chosen.is_empty()}>{ "as the recipe says" }</option>
                <option value="keep" selected={chosen == "keep"}>{ "keep" }</option>
                <OptionsOf writable={props.writable.clone()} {chosen} />
            </select>
        };
    }
    let name = layer.name.clone();
    let choose = props.dispatch.reform(move |_| Action::Converting(Converting::Choose(Some(name.clone()))));
    html! {
        <button class="quiet becomes" data-testid="plan-choose" data-name={layer.name.clone()} aria-label={format!("{} becomes {}: choose another scheme", layer.name, layer.to)} onclick={choose}>
            <code>{ if layer.from == layer.to { layer.to.clone() } else { format!("{} → {}", layer.from, layer.to) } }</code>
            if by_hand.is_some() { <span class="by-hand" title="Chosen by hand">{ "•" }</span> }
        </button>
    }
}

fn packed_table(props: &PlanSectionProps) -> Html {
    let rows = props.plan.packed.rows.iter().map(|layer| {
        html! {
            <tr key={layer.name.clone()} data-testid="plan-packed" data-name={layer.name.clone()}>
                <td class="c-tick">{ tick(props, layer, true) }</td>
                <td class="c-plan-name"><LayerName name={layer.name.clone()} />
                    if !layer.reason.is_empty() { <small>{ &layer.reason }</small> }
                    if layer.lossless == Some(true) { <small class="is-sound">{ "without loss" }</small> }
                </td>
                <td class="c-becomes">{ becomes(props, layer) }</td>
                <td class="c-wide"><code>{ text::shape(&layer.shape) }</code></td>
                <td class="n" title={text::exact_size(layer.bytes_before)}>{ text::size(layer.bytes_before) }</td>
                <td class="n" title={text::exact_size(layer.bytes_after)}>{ text::size(layer.bytes_after) }</td>
            </tr>
        }
    });
    html! {
        <table class="facts plan-table"><thead><tr><th class="c-tick"><span class="read-out">{ "Convert" }</span></th><th>{ "Layer" }</th><th class="c-becomes">{ "Scheme" }</th><th class="c-wide">{ "Shape" }</th><th class="n">{ "Before" }</th><th class="n">{ "After" }</th></tr></thead>
        <tbody>{ for rows }</tbody></table>
    }
}

fn kept_table(props: &PlanSectionProps) -> Html {
    let rows = props.plan.kept.rows.iter().map(|layer| {
        let by_hand = props.form.by_layer.get(&layer.name).is_some_and(|scheme| scheme == "keep");
        html! {
            <tr key={layer.name.clone()} data-testid="plan-kept" data-name={layer.name.clone()}>
                <td class="c-tick">if by_hand { { tick(props, layer, false) } }</td>
                <td class="c-plan-name"><LayerName name={layer.name.clone()} /><small><Words text={layer.reason.clone()} /></small></td>
                <td class="c-becomes">{ becomes(props, layer) }</td>
                <td class="n" title={text::exact_size(layer.bytes_after)}>{ text::size(layer.bytes_after) }</td>
            </tr>
        }
    });
    html! {
        <table class="facts plan-table"><thead><tr><th class="c-tick"><span class="read-out">{ "Convert" }</span></th><th>{ "Layer and reason" }</th><th class="c-becomes">{ "Scheme" }</th><th class="n">{ "Size" }</th></tr></thead>
        <tbody>{ for rows }</tbody></table>
    }
}
