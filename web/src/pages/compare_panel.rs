//! One difference: its causes in words, its figures, and where the values differ.

use crate::components::{ErrorBox, ErrorPicture, Words, common_range};
use crate::protocol::DifferenceRow;
use crate::state::compare::{Compare, CompareState};
use crate::state::{Action, causes, text};
use quantscope_session::api::Picture;
use yew::{Callback, Html, Properties, component, html};

/// Properties of [`DifferencePanel`].
#[derive(Properties, PartialEq)]
pub(crate) struct DifferencePanelProps {
    /// The view's part of the state.
    pub(crate) compare: CompareState,
    /// The difference.
    pub(crate) pair: String,
    /// Whether the page is dark.
    pub(crate) dark: bool,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// The panel; a sheet where the screen is narrow.
#[component]
pub(crate) fn DifferencePanel(props: &DifferencePanelProps) -> Html {
    let DifferencePanelProps { compare, pair, dispatch, .. } = props;
    let body = match (&compare.row.failed, compare.row.value.as_deref()) {
        (Some(error), _) => html! {
            <ErrorBox title="This difference could not be read" error={error.clone()} on_retry={dispatch.reform(|_| Action::Retry)} />
        },
        (None, Some(Some(row))) => row_view(row, props),
        (None, Some(None)) => html! { <p class="empty">{ "Nothing of this name differs." }</p> },
        (None, None) => html! { <p class="waits" role="status">{ "Reading" }</p> },
    };
    html! {
        <aside class="panel" data-testid="difference-panel" aria-label={format!("Difference {pair}")}>
            <button class="panel-close square" aria-label="Close the difference" onclick={dispatch.reform(|_| Action::Compare(Compare::Pick(None)))}>{ "×" }</button>
            <h2>{ pair }</h2>
            { body }
        </aside>
    }
}

fn row_view(row: &DifferenceRow, props: &DifferencePanelProps) -> Html {
    let difference = &row.difference;
    let (class, words) = match difference.explained {
        true => ("is-sound", "✓ explained"),
        false => ("is-error", "✕ no cause explains all of it"),
    };
    let is_renamed = difference.a != difference.b;
    let named = |name: &Option<String>| match name {
        _ if !is_renamed => String::new(),
        Some(name) => name.clone(),
        None => "not there".into(),
    };
    let scheme = match (difference.from.as_str(), difference.to.as_str()) {
        (from, to) if from == to => from.to_owned(),
        ("", one) | (one, "") => one.to_owned(),
        (from, to) => format!("{from} → {to}"),
    };
    let shape = if difference.shape.is_empty() { String::new() } else { text::shape(&difference.shape) };
    let facts = [
        ("first", named(&difference.a)),
        ("second", named(&difference.b)),
        ("scheme", scheme),
        ("shape", shape),
    ];
    let facts = facts.iter().filter(|(_, fact)| !fact.is_empty());
    let figures = [("largest difference", difference.max_abs), ("mean difference", difference.mean_abs)];
    // Layers of the open checkpoint can be looked at.
    let open = if props.compare.swapped { &difference.b } else { &difference.a };
    let layer = open.clone().filter(|_| !difference.from.is_empty() || !difference.to.is_empty());
    html! {
        <>
            <p class={class} data-testid="difference-state">{ words }</p>
            <dl class="panel-facts">
                { for facts.map(|(word, fact)| html! { <><dt>{ *word }</dt><dd>{ fact }</dd></> }) }
                if let Some(db) = difference.sqnr_db { <dt>{ "SQNR" }</dt><dd data-testid="difference-sqnr" title={db.to_string()}>{ format!("{db:.2} dB") }</dd> }
                { for figures.into_iter().filter_map(|(word, figure)| figure.map(|figure| html! { <><dt>{ word }</dt><dd title={figure.to_string()}>{ text::number(figure) }</dd></> })) }
            </dl>
            <ul class="causes">{ for difference.causes.iter().map(|cause| html! { <li><b>{ cause }</b>{ causes::words(cause) }</li> }) }</ul>
            if !difference.note.is_empty() { <p class="difference-note"><Words text={difference.note.clone()} /></p> }
            { picture_view(row, props) }
            if let Some(layer) = layer {
                <p class="next-ways"><button data-testid="difference-layer" onclick={props.dispatch.reform(move |_| Action::Select(Some(layer.clone())))}>{ "Show the layer" }</button></p>
            }
        </>
    }
}

fn picture_view(row: &DifferenceRow, props: &DifferencePanelProps) -> Html {
    let compare = &props.compare;
    if !compare.has_picture() {
        return Html::default();
    }
    let body = match (&compare.picture.failed, compare.picture.value.as_deref()) {
        (Some(error), _) => html! {
            <ErrorBox title="No picture" error={error.clone()} on_retry={props.dispatch.reform(|_| Action::Retry)} />
        },
        (None, Some(picture)) => drawn(picture, row, props.dark),
        (None, None) if !compare.may_draw() => html! {
            <p><button data-testid="difference-draw" onclick={props.dispatch.reform(|_| Action::Compare(Compare::Draw))}>{ "Fetch the layer and draw" }</button></p>
        },
        (None, None) => html! { <p class="waits" role="status">{ "Reading" }</p> },
    };
    html! { <section><h3>{ "Where the values differ" }</h3>{ body }</section> }
}

fn drawn(picture: &Picture, row: &DifferenceRow, dark: bool) -> Html {
    let range = common_range([&picture.map].into_iter());
    let [rows, cols] = picture.size;
    let (low, high) = (text::number(f64::from(range.0)), text::number(f64::from(range.1)));
    let words = format!(
        "Differences over {} rows by {} columns, in {} by {} cells, root mean square from {low} to {high}",
        text::count(rows),
        text::count(cols),
        picture.map.rows,
        picture.map.cols
    );
    html! {
        <figure class="picture" data-testid="difference-picture" data-rows={picture.map.rows.to_string()} data-cols={picture.map.cols.to_string()}>
            <ErrorPicture map={picture.map.clone()} {range} family={if row.to_family.is_empty() { "plain".to_owned() } else { row.to_family.clone() }} {words} {dark} />
            <figcaption>{ format!("Rows down, columns across. Stronger is larger: {low} to {high} root mean square, by logarithms; empty where nothing differs.") }</figcaption>
        </figure>
    }
}
