//! Where the bytes are: a rectangle for each of the largest layers, in its scheme's colour.

use crate::state::load::Shared;
use crate::state::text;
use crate::state::treemap::squarify;
use quantscope_session::api::LayerRow;
use yew::{Callback, Html, Properties, component, html};

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 220.0;

/// Properties of [`SizeMap`].
#[derive(Properties, PartialEq)]
pub(crate) struct SizeMapProps {
    /// The largest layers, the largest first.
    pub(crate) rows: Shared<Vec<LayerRow>>,
    /// Number of all layers.
    pub(crate) layer_count: u64,
    /// Bytes of all layers.
    pub(crate) bytes: u64,
    /// Goes to a layer.
    pub(crate) on_layer: Callback<String>,
}

/// The picture.
#[component]
#[expect(clippy::cast_precision_loss, reason = "pixels")]
pub(crate) fn SizeMap(props: &SizeMapProps) -> Html {
    let rows: Vec<&LayerRow> = props.rows.iter().filter(|row| row.bytes > 0).collect();
    let shown: u64 = rows.iter().map(|row| row.bytes).sum();
    let others = props.layer_count.saturating_sub(props.rows.len() as u64);
    let rest = if others > 0 { props.bytes.saturating_sub(shown) } else { 0 };
    // The others, together, take their place in the order by size.
    let place = rows.iter().position(|row| row.bytes < rest).unwrap_or(rows.len());
    let mut weights: Vec<f64> = rows.iter().map(|row| row.bytes as f64).collect();
    if rest > 0 {
        weights.insert(place, rest as f64);
    }
    let rects = squarify(&weights, WIDTH, HEIGHT);
    let mut rows = rows.into_iter();
    let cells = rects.iter().enumerate().map(|(index, rect)| {
        let row = if rest > 0 && index == place { None } else { rows.next() };
        let (class, title) = match row {
            Some(row) => (
                format!("cell fill-{}", row.family),
                format!("{} · {} · {} · {}", row.name, row.scheme, text::shape(&row.shape), text::size(row.bytes)),
            ),
            None => ("cell cell-rest".to_owned(), format!("{} smaller layers · {}", text::count(others), text::size(rest))),
        };
        let name = row.map_or_else(|| format!("{others} others"), |row| row.name.clone());
        let label = if rect.height > 18.0 { label_that_fits(&name, rect.width) } else { None };
        let onclick = row.map(|row| {
            let (on_layer, name) = (props.on_layer.clone(), row.name.clone());
            Callback::from(move |_| on_layer.emit(name.clone()))
        });
        html! {
            <g class={if onclick.is_some() { "reach" } else { "" }} {onclick}>
                <title>{ title }</title>
                <rect {class} x={format!("{:.1}", rect.x)} y={format!("{:.1}", rect.y)} width={format!("{:.1}", (rect.width - 1.5).max(0.5))} height={format!("{:.1}", (rect.height - 1.5).max(0.5))} rx="2" />
                if let Some(label) = label {
                    <text class={row.map(|row| format!("on-{}", row.family))} x={format!("{:.1}", rect.x + 6.0)} y={format!("{:.1}", rect.y + 15.0)}>{ label }</text>
                }
            </g>
        }
    });
    html! {
        <svg class="size-map" viewBox={format!("0 0 {WIDTH} {HEIGHT}")} preserveAspectRatio="none" role="img"
            aria-label={format!("Stored bytes of the {} largest layers; the layer list sorted by size says the same in words", props.rows.len())}>
            { for cells }
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
