//! Counts as bars, with the same as a table.

use crate::state::text;
use yew::{AttrValue, Html, Properties, component, html};

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 78.0;
const FLOOR: f64 = 64.0;

/// Properties of [`Bars`].
#[derive(Properties, PartialEq)]
pub(crate) struct BarsProps {
    /// What is counted.
    pub(crate) of: AttrValue,
    /// A word and a count for each bar.
    pub(crate) counts: Vec<(String, u64)>,
    /// Family of the scheme, for the colour.
    pub(crate) family: AttrValue,
}

/// The picture and its table.
#[component]
#[expect(clippy::cast_precision_loss, reason = "pixels")]
pub(crate) fn Bars(props: &BarsProps) -> Html {
    let counts = &props.counts;
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let total = counts.iter().map(|(_, count)| *count).fold(0, u64::saturating_add);
    let step = WIDTH / counts.len().max(1) as f64;
    // About 5.4 units a character at this size: words that would touch are left to the table.
    let longest = counts.iter().map(|(word, _)| word.chars().count()).max().unwrap_or(0);
    let every = ((longest as f64 * 5.4 + 3.0) / step).ceil().max(1.0);
    let bars = counts.iter().enumerate().map(|(index, (word, count))| {
        let height = if most == 0 { 0.0 } else { (FLOOR - 4.0) * *count as f64 / most as f64 };
        let x = index as f64 * step;
        html! {
            <g>
                <title>{ format!("{word}: {} ({})", text::count(*count), text::percent(*count, total)) }</title>
                <rect class={format!("fill-{}", props.family)} x={format!("{:.2}", x + 1.0)} y={format!("{:.2}", FLOOR - height)} width={format!("{:.2}", step - 2.0)} height={format!("{height:.2}")} />
                if index as f64 % every == 0.0 { <text x={format!("{:.2}", x + step / 2.0)} y="75" text-anchor="middle">{ word }</text> }
            </g>
        }
    });
    let row = |(word, count): &(String, u64)| {
        html! { <tr><td><code>{ word }</code></td><td class="n">{ text::count(*count) }</td><td class="n">{ text::percent(*count, total) }</td></tr> }
    };
    html! {
        <figure class="picture">
            <svg viewBox={format!("0 0 {WIDTH} {HEIGHT}")} role="img" aria-label={format!("{}; the table below has the counts", props.of)}>
                <line class="axis" x1="0" x2="360" y1="64.5" y2="64.5" />
                { for bars }
            </svg>
            <details class="as-table">
                <summary>{ "Counts" }</summary>
                <table class="facts"><thead><tr><th>{ "Code" }</th><th class="n">{ "Count" }</th><th class="n">{ "Share" }</th></tr></thead><tbody>{ for counts.iter().map(row) }</tbody></table>
            </details>
        </figure>
    }
}
