//! One layer: findings, tensors, decoded values, block scales, the first block.

use super::{ErrorBox, FindingCard, HistogramPicture, ScalePicture};
use crate::state::text;
use crate::state::{Action, Panel};
use quantscope_session::api::{FirstBlock, LayerDetail, LayerValues, TensorView};
use yew::{Callback, Html, Properties, component, html};

/// Properties of [`LayerPanel`].
#[derive(Properties, PartialEq)]
pub(crate) struct LayerPanelProps {
    /// The layer.
    pub(crate) panel: Panel,
    /// Whether the page is dark.
    pub(crate) dark: bool,
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
    let LayerDetail { row, stored_as, tensors, findings } = detail;
    let values = props.panel.values.value.as_deref();
    let on_rule = props.dispatch.reform(Action::ShowRule);
    let mut facts = vec![row.scheme.clone(), row.kind.clone(), text::shape(&row.shape)];
    facts.retain(|fact| !fact.is_empty());
    html! {
        <>
            <p class="panel-facts">{ facts.join(" · ") }
                if !stored_as.is_empty() { <><br />{ stored_as }</> }
            </p>
            { for findings.iter().map(|finding| html! { <FindingCard finding={finding.clone()} on_rule={on_rule.clone()} /> }) }
            <section>
                <h3>{ "Tensors" }<span title={text::exact_size(row.bytes)}>{ text::size(row.bytes) }</span></h3>
                <div class="tensors">{ for tensors.iter().map(|tensor| tensor_view(tensor, values)) }</div>
            </section>
            { values_view(detail, props) }
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
            <summary><code>{ &tensor.leaf }</code><span>{ format!("{} {}", tensor.dtype, text::shape(&tensor.shape)) }</span>{ end }</summary>
            <dl>
                <dt>{ "role" }</dt><dd>{ &tensor.role }</dd>
                <dt>{ "name" }</dt><dd><code>{ break_at_dots(&tensor.name) }</code></dd>
                <dt>{ "file" }</dt><dd><code>{ &tensor.file }</code></dd>
                <dt>{ "bytes" }</dt><dd>{ format!("{} to {} ({})", text::count(tensor.begin), text::count(tensor.end), text::exact_size(tensor.bytes)) }</dd>
            </dl>
        </details>
    }
}

fn values_view(detail: &LayerDetail, props: &LayerPanelProps) -> Html {
    let family = detail.row.family.clone();
    let values = match (&props.panel.values.failed, props.panel.values.value.as_deref()) {
        (Some(error), _) => {
            let on_retry = props.dispatch.reform(|_| Action::Retry);
            return html! { <ErrorBox title="The values could not be read" error={error.clone()} {on_retry} /> };
        }
        (None, None) => return html! { <p class="waits" role="status">{ "Decoding values" }</p> },
        (None, Some(values)) => values,
    };
    let sample = if values.values_read < values.values_total {
        format!(
            "{} of {}, log count",
            text::short_count(values.values_read),
            text::short_count(values.values_total)
        )
    } else {
        "decoded, log count".to_owned()
    };
    html! {
        <>
            if values.values_read > 0 {
                <section>
                    <h3>{ "Values" }<span>{ sample }</span></h3>
                    <HistogramPicture histogram={values.histogram.clone()} family={family.clone()} />
                </section>
            }
            if let Some(map) = &values.scale_map {
                <section>
                    <h3>{ "Block scales" }<span>{ "log scale" }</span></h3>
                    <ScalePicture map={map.clone()} {family} dark={props.dark} />
                </section>
            }
            if let Some(block) = &values.first_block {
                <section>
                    <h3>{ "First block" }<span>{ format!("scale {}", block.scale) }</span></h3>
                    { block_view(block) }
                </section>
            }
        </>
    }
}

fn block_view(block: &FirstBlock) -> Html {
    let cells = block.codes.iter().zip(&block.values).map(|(code, value)| {
        html! { <div><code>{ format!("{code:x}") }</code><span>{ text::number(f64::from(*value)) }</span></div> }
    });
    html! {
        <div class="block">
            <p><span class="faint">{ "bytes " }</span><code>{ &block.raw_hex }</code></p>
            <div class="block-cells" aria-label="Codes and their values">{ for cells }</div>
        </div>
    }
}

/// A path with places where a narrow column may break it.
fn break_at_dots(name: &str) -> Html {
    let parts = name.split_inclusive('.').map(|part| html! { <>{ part }<wbr /></> });
    html! { <>{ for parts }</> }
}
