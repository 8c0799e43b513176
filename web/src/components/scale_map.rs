//! Block scales of a layer as a picture: rows of the weight down, blocks across.

use crate::services::paint;
use crate::state::text;
use quantscope_session::api::ScaleMap;
use web_sys::HtmlCanvasElement;
use yew::{AttrValue, Html, Properties, classes, component, html, use_effect_with, use_node_ref};

/// Properties of [`ScalePicture`].
#[derive(Properties, PartialEq)]
pub(crate) struct ScalePictureProps {
    /// The scales.
    pub(crate) map: ScaleMap,
    /// Family of the scheme, for the colour.
    pub(crate) family: AttrValue,
    /// Whether the page is dark: the picture is drawn anew when that changes.
    pub(crate) dark: bool,
}

/// The picture with its legend.
#[component]
pub(crate) fn ScalePicture(props: &ScalePictureProps) -> Html {
    let canvas = use_node_ref();
    // Cells hold NaN, which equals nothing; the drawing depends on what identifies the map instead.
    let first_cells: Vec<u32> = props.map.cells.iter().map(|cell| cell.to_bits()).collect();
    let map = props.map.clone();
    use_effect_with((canvas.clone(), first_cells, props.dark), move |(canvas, _, _)| {
        if let Some(Err(error)) =
            canvas.cast::<HtmlCanvasElement>().map(|canvas| paint::scale_map(&canvas, &map))
        {
            web_sys::console::warn_1(&error);
        }
    });
    let ScaleMap { tensor_rows, tensor_cols, low, high, dtype, .. } = &props.map;
    let (low, high) = (power(*low), power(*high));
    let words = format!("Block scales, {tensor_rows} rows by {tensor_cols} blocks, from {low} to {high}");
    let family = format!("ink-{}", props.family);
    html! {
        <figure class="picture">
            <canvas ref={canvas} class={classes!("scales", family.clone())} role="img" aria-label={words} />
            <figcaption class="spread"><span>{ format!("{} rows × {} blocks", text::count(*tensor_rows), text::count(*tensor_cols)) }</span><span>{ dtype }</span></figcaption>
            <figcaption>
                <span>{ low }</span>
                <svg class={classes!("ramp", family)} viewBox="0 0 16 1" preserveAspectRatio="none" aria-hidden="true">
                    { for (0..16).map(|step| html! { <rect x={step.to_string()} y="0" width="1.05" height="1" fill="currentColor"
                        fill-opacity={format!("{:.2}", 0.10 + 0.90 * f64::from(step) / 15.0)} /> }) }
                </svg>
                <span>{ high }</span>
                <span class="faint">{ "blank: zero or NaN" }</span>
            </figcaption>
        </figure>
    }
}

/// A logarithm to base 2 as the number it stands for.
fn power(log2: f32) -> String {
    if log2.is_finite() { text::number(f64::from(log2).exp2()) } else { "none".into() }
}
