//! What a layer's bytes show: histogram, heat map, codes, largest values, any block.

use super::{Bars, BlockView, ErrorBox, HeatMap, HistogramPicture};
use crate::state::area::Area;
use crate::state::load::{Load, Shared};
use crate::state::looking::Look;
use crate::state::remote::Visit;
use crate::state::text;
use crate::state::{Action, Panel};
use quantscope_session::api::{Block, HeatTile, LayerValues, Outlier};
use yew::{Callback, Html, Properties, component, html, use_memo};

/// Properties of [`ValuesView`].
#[derive(Properties, PartialEq)]
pub(crate) struct ValuesViewProps {
    /// The layer.
    pub(crate) panel: Panel,
    /// Whether the page is dark.
    pub(crate) dark: bool,
    /// Whether values are at an address, and wait for the user's word.
    pub(crate) held: bool,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// The sections that come from bytes.
#[component]
pub(crate) fn ValuesView(props: &ValuesViewProps) -> Html {
    let loaded = &props.panel.values;
    let first = use_memo(loaded.value.clone(), |values| {
        Shared::new(values.as_ref().and_then(|values| values.block.clone()))
    });
    let on_retry = props.dispatch.reform(|_| Action::Retry);
    let values = match (&loaded.failed, &loaded.value) {
        (Some(error), _) => {
            return html! { <ErrorBox title="The values could not be read" error={error.clone()} {on_retry} /> };
        }
        (None, None) if props.held => {
            let on_fetch = props.dispatch.reform(|_| Action::Visit(Visit::Values));
            let detail = props.panel.detail.value.as_deref().and_then(Option::as_ref);
            let bytes = detail.map_or(0, |detail| detail.row.bytes);
            return html! {
                <p class="hint">{ format!("Values are not fetched yet: up to {}.", text::size(bytes)) }
                    <button data-testid="fetch-values" onclick={on_fetch}>{ "Fetch values" }</button></p>
            };
        }
        (None, None) => return html! { <p class="waits" role="status">{ "Decoding values" }</p> },
        (None, Some(values)) => values,
    };
    if values.values_read == 0 {
        return Html::default();
    }
    let detail = props.panel.detail.value.as_deref().and_then(Option::as_ref);
    let family = detail.map(|detail| detail.row.family.clone()).unwrap_or_default();
    let on_look = props.dispatch.reform(Action::Look);
    let sample = if values.values_read < values.values_total {
        format!("{} of {}", text::short_count(values.values_read), text::short_count(values.values_total))
    } else {
        format!("all {}, decoded", text::short_count(values.values_total))
    };
    let exact = format!("{} of {} values", text::count(values.values_read), text::count(values.values_total));
    html! {
        <>
            <section data-testid="values">
                <h3>{ "Values" }<span title={exact}>{ sample.clone() }</span></h3>
                <HistogramPicture histogram={values.histogram.clone()} family={family.clone()} />
            </section>
            { heat_section(props, values, &family, &on_look, &on_retry) }
            if let Some(census) = &values.census {
                <section data-testid="census">
                    <h3>{ &census.of }<span title={text::count(census.largest)}>{ format!("{} at the largest", text::percent(census.largest, census.total)) }</span></h3>
                    <Bars of={census.of.clone()} counts={census.counts.clone()} {family} />
                </section>
            }
            if !values.outliers.is_empty() {
                <section data-testid="outliers">
                    <h3>{ "Largest values" }<span>{ format!("of {sample}") }</span></h3>
                    { outliers(&values.outliers, &on_look, all_of(&props.panel.looking.heat)) }
                </section>
            }
            { block_section(&props.panel.looking.block, (*first).clone(), &on_look, &on_retry) }
        </>
    }
}

fn heat_section(
    props: &ValuesViewProps,
    values: &LayerValues,
    family: &str,
    on_look: &Callback<Look>,
    on_retry: &Callback<yew::MouseEvent>,
) -> Html {
    let looking = &props.panel.looking;
    let picture = match (&looking.heat.failed, &looking.heat.value) {
        (Some(error), _) => {
            html! { <ErrorBox title="The picture could not be read" error={error.clone()} on_retry={on_retry.clone()} /> }
        }
        (None, None) => html! { <p class="waits" role="status">{ "Reading" }</p> },
        (None, Some(tile)) => html! {
            <HeatMap tile={tile.clone()} area={looking.area} scales={looking.scales} has_scales={values.has_scales}
                family={family.to_owned()} dark={props.dark} on_look={on_look.clone()} />
        },
    };
    html! { <section><h3>{ "Heat map" }<span>{ if looking.heat.asked().is_some() { "reading" } else { "" } }</span></h3>{ picture }</section> }
}

/// Rows and columns of the matrix that is drawn, as far as they are known.
fn all_of(heat: &Load<Option<HeatTile>>) -> Option<(u64, u64)> {
    let tile = heat.value.as_deref()?.as_ref().filter(|tile| !tile.scales)?;
    Some((tile.all_rows, tile.all_cols))
}

fn outliers(outliers: &[Outlier], on_look: &Callback<Look>, all: Option<(u64, u64)>) -> Html {
    let rows = outliers.iter().map(|outlier| {
        let (on_look, row, col) = (on_look.clone(), outlier.row, outlier.col);
        let go = move |_| {
            if let Some(all) = all {
                on_look.emit(Look::Area(Area::around((row, col), all)));
            }
            on_look.emit(Look::Block { row, col });
        };
        let value = if outlier.value.is_nan() { "NaN".to_owned() } else { text::number(f64::from(outlier.value)) };
        html! {
            <tr><td><button class="quiet" onclick={go}><code>{ text::shape(&outlier.at) }</code></button></td><td class="n" title={outlier.value.to_string()}>{ value }</td></tr>
        }
    });
    html! {
        <table class="facts outliers"><thead><tr><th>{ "Place" }</th><th class="n">{ "Value" }</th></tr></thead><tbody>{ for rows }</tbody></table>
    }
}

fn block_section(
    asked: &Load<Option<Block>>,
    first: Shared<Option<Block>>,
    on_look: &Callback<Look>,
    on_retry: &Callback<yew::MouseEvent>,
) -> Html {
    if let Some(error) = &asked.failed {
        return html! { <ErrorBox title="The block could not be read" error={error.clone()} on_retry={on_retry.clone()} /> };
    }
    let block = asked.value.clone().unwrap_or(first);
    let Some(shown) = &*block else { return Html::default() };
    let title = if (shown.row, shown.col) == (0, 0) { "First block" } else { "Block" };
    html! {
        <section>
            <h3>{ title }<span>{ "stored and decoded" }</span></h3>
            <BlockView {block} on_look={on_look.clone()} />
        </section>
    }
}
