//! Where the bytes are: a rectangle for each module and scheme, its area in proportion to stored bytes.

use crate::state::load::Shared;
use crate::state::text;
use crate::state::treemap::squarify;
use quantscope_session::api::{Overview, SizeCell};
use yew::{Callback, Html, Properties, component, html};

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 220.0;

/// Properties of [`SizeMap`].
#[derive(Properties, PartialEq)]
pub(crate) struct SizeMapProps {
    /// The checkpoint.
    pub(crate) overview: Shared<Overview>,
    /// Goes to the layers of a cell.
    pub(crate) on_cell: Callback<SizeCell>,
}

/// The picture.
#[component]
#[expect(clippy::cast_precision_loss, reason = "pixels")]
pub(crate) fn SizeMap(props: &SizeMapProps) -> Html {
    let cells: Vec<&SizeCell> = props.overview.size_map.iter().filter(|cell| cell.bytes > 0).collect();
    let weights: Vec<f64> = cells.iter().map(|cell| cell.bytes as f64).collect();
    let rects = squarify(&weights, WIDTH, HEIGHT);
    let drawn = cells.iter().zip(&rects).map(|(&cell, rect)| {
        let label = if rect.height > 18.0 { label_that_fits(&cell.name, rect.width) } else { None };
        let (on_cell, target) = (props.on_cell.clone(), cell.clone());
        let layers = text::counted(cell.layers, "layer");
        html! {
            <g class="reach" onclick={move |_| on_cell.emit(target.clone())}>
                <title>{ format!("{} · {} · {layers} · {}", cell.name, cell.scheme, text::size(cell.bytes)) }</title>
                <rect class={format!("cell fill-{}", cell.family)} x={format!("{:.1}", rect.x)} y={format!("{:.1}", rect.y)}
                    width={format!("{:.1}", (rect.width - 1.5).max(0.5))} height={format!("{:.1}", (rect.height - 1.5).max(0.5))} rx="2" />
                if let Some(label) = label {
                    <text class={format!("on-{}", cell.family)} x={format!("{:.1}", rect.x + 6.0)} y={format!("{:.1}", rect.y + 15.0)}>{ label }</text>
                }
            </g>
        }
    });
    html! {
        <svg class="size-map" viewBox={format!("0 0 {WIDTH} {HEIGHT}")} preserveAspectRatio="none" role="img"
            aria-label={format!("Stored bytes of {} modules; the layer list sorted by size says the same in words", cells.len())}>
            { for drawn }
        </svg>
    }
}

/// As much of the end of a module path as fits; what does not is left to the tooltip.
#[expect(clippy::cast_precision_loss, reason = "pixels")]
fn label_that_fits(name: &str, width: f64) -> Option<String> {
    // About 7 units a character at this size.
    let fits = |label: &str| width > 7.4 * label.chars().count() as f64 + 12.0;
    let starts = std::iter::once(0).chain(name.match_indices('.').map(|(dot, _)| dot + 1));
    starts.filter_map(|start| name.get(start..)).find(|label| fits(label)).map(str::to_owned)
}
