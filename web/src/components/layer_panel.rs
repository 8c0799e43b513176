//! One layer: findings, tensors and what they mean, and what its bytes show.

use super::{ErrorBox, FindingCard, PythonLines, ValuesView};
use crate::state::converting::Converting;
use crate::state::route::View;
use crate::state::text;
use crate::state::{Action, Panel};
use quantscope_session::api::{LayerDetail, LayerValues, TensorView};
use yew::{Callback, Html, Properties, component, html};

/// Properties of [`LayerPanel`].
#[derive(Properties, PartialEq)]
pub(crate) struct LayerPanelProps {
    /// The layer.
    pub(crate) panel: Panel,
    /// Whether the page is dark.
    pub(crate) dark: bool,
    /// Whether values are at an address, and wait for the user's word.
    pub(crate) held: bool,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// The panel; a sheet where the screen is narrow.
#[component]
pub(crate) fn LayerPanel(props: &LayerPanelProps) -> Html {
    let panel = &props.panel;
    let on_close = props.dispatch.reform(|_| Action::Select(None));
    let body = match (&panel.detail.failed, panel.detail.value.as_deref()) {
        (Some(error), _) => html! {
            <ErrorBox title="This layer could not be read" error={error.clone()} on_retry={props.dispatch.reform(|_| Action::Retry)} />
        },
        (None, Some(Some(detail))) => detail_view(detail, props),
        (None, Some(None)) => {
            html! { <p class="empty">{ "No layer of this name is in the checkpoint." }</p> }
        }
        (None, None) => html! { <p class="waits" role="status">{ "Reading" }</p> },
    };
    html! {
        <aside class="panel" data-testid="layer-panel" aria-label={format!("Layer {}", panel.name)}>
            <button class="panel-close square" aria-label="Close the layer" onclick={on_close}>{ "×" }</button>
            <h2>{ break_at_dots(&panel.name) }</h2>
            { body }
        </aside>
    }
}

fn detail_view(detail: &LayerDetail, props: &LayerPanelProps) -> Html {
    let LayerDetail { row, stored_as, tensors, findings, python } = detail;
    let values = props.panel.values.value.as_deref();
    let on_rule = props.dispatch.reform(Action::ShowRule);
    let facts = [
        ("scheme", row.scheme.clone()),
        ("kind", row.kind.clone()),
        ("shape", text::shape(&row.shape)),
        ("stored", stored_as.clone()),
    ];
    let name = row.name.clone();
    let facts = facts.iter().filter(|(_, fact)| !fact.is_empty());
    html! {
        <>
            <dl class="panel-facts">
                { for facts.map(|(word, fact)| html! { <><dt>{ word }</dt><dd>{ fact }</dd></> }) }
                <dt>{ "bits" }</dt><dd title={row.bits_per_weight.to_string()}>{ format!("{} per weight", text::bits(row.bits_per_weight)) }</dd>
            </dl>
            if row.shape.len() > 1 {
                <p class="panel-ways">
                    <button data-testid="layer-convert" onclick={props.dispatch.reform(move |_| Action::Converting(Converting::Layer(name.clone())))}>{ "Convert this layer…" }</button>
                    <button data-testid="layer-preview" onclick={props.dispatch.reform(|_| Action::Go(View::Preview))}>{ "Try schemes on it" }</button>
                </p>
            }
            { for findings.iter().map(|finding| html! { <FindingCard finding={finding.clone()} on_rule={on_rule.clone()} /> }) }
            <section>
                <h3>{ "Tensors" }<span title={text::exact_size(row.bytes)}>{ text::size(row.bytes) }</span></h3>
                <div class="tensors">{ for tensors.iter().map(|tensor| tensor_view(tensor, values)) }</div>
            </section>
            <ValuesView held={props.held} panel={props.panel.clone()} dark={props.dark} dispatch={props.dispatch.clone()} />
            <PythonLines lines={python.clone()} />
        </>
    }
}

fn tensor_view(tensor: &TensorView, values: Option<&LayerValues>) -> Html {
    let scalar = values.and_then(|values| values.scalars.iter().find(|(leaf, _)| *leaf == tensor.leaf));
    let end = match scalar {
        Some((_, value)) => html! { <b class="n" title={text::exact_size(tensor.bytes)}>{ value }</b> },
        None => {
            html! { <span class="n" title={text::exact_size(tensor.bytes)}>{ text::size(tensor.bytes) }</span> }
        }
    };
    html! {
        <details class="tensor" data-testid="tensor" data-name={tensor.name.clone()}>
            <summary title={tensor.role.clone()}><code>{ &tensor.leaf }</code><span>{ format!("{} {}", tensor.dtype, text::shape(&tensor.shape)) }</span>{ end }</summary>
            <dl>
                <dt>{ "role" }</dt><dd>{ &tensor.role }</dd>
                <dt>{ "name" }</dt><dd><code>{ break_at_dots(&tensor.name) }</code></dd>
                <dt>{ "file" }</dt><dd><code>{ &tensor.file }</code></dd>
                <dt>{ "bytes" }</dt><dd>{ format!("{} to {} ({})", text::count(tensor.begin), text::count(tensor.end), text::exact_size(tensor.bytes)) }</dd>
            </dl>
        </details>
    }
}

/// A path with places where a narrow column may break it.
fn break_at_dots(name: &str) -> Html {
    let parts = name.split_inclusive('.').map(|part| html! { <>{ part }<wbr /></> });
    html! { <>{ for parts }</> }
}
