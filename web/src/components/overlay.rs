//! Two histograms over each other: the values as they were, and as a scheme leaves them.

use crate::state::text;
use yew::{AttrValue, Html, Properties, component, html};

const WIDTH: f64 = 366.0;
const FLOOR: f64 = 70.0;

/// Properties of [`Overlay`].
#[derive(Properties, PartialEq)]
pub(crate) struct OverlayProps {
    /// Counts of the values as they were.
    pub(crate) before: Vec<u64>,
    /// Counts of what they become.
    pub(crate) after: Vec<u64>,
    /// The ends of the axis: minus and plus this.
    pub(crate) extreme: f64,
    /// Family of the scheme, for the colour.
    pub(crate) family: AttrValue,
}

/// The picture: bars are what is left, the line is what was. Counts are drawn as logarithms.
#[component]
#[expect(clippy::cast_precision_loss, reason = "pixels")]
pub(crate) fn Overlay(props: &OverlayProps) -> Html {
    let most = props.before.iter().chain(&props.after).copied().max().unwrap_or(0);
    let scale = (FLOOR - 4.0) / (1.0 + most as f64).ln().max(f64::MIN_POSITIVE);
    let height = |count: u64| (1.0 + count as f64).ln() * scale;
    let step = WIDTH / props.before.len().max(1) as f64;
    let mut line = format!("M0 {FLOOR}");
    for (index, &count) in props.before.iter().enumerate() {
        let (left, right) = (index as f64 * step, (index + 1) as f64 * step);
        let top = FLOOR - height(count);
        line.push_str(&format!("L{left:.1} {top:.1}L{right:.1} {top:.1}"));
    }
    line.push_str(&format!("L{WIDTH} {FLOOR}"));
    let bars = props.after.iter().enumerate().filter(|(_, count)| **count > 0).map(|(index, &count)| {
        html! { <rect x={format!("{:.1}", index as f64 * step)} y={format!("{:.1}", FLOOR - height(count))}
            width={format!("{:.1}", step * 0.9)} height={format!("{:.1}", height(count))} class={format!("fill-{}", props.family)} /> }
    });
    let empty = props.before.iter().zip(&props.after).filter(|(before, after)| **before > 0 && **after == 0);
    let words = format!(
        "Histogram of the decoded values over the original ones, from {} to {}; {} steps that had values have none left",
        text::number(-props.extreme),
        text::number(props.extreme),
        empty.count()
    );
    html! {
        <svg class="overlay" viewBox={format!("0 0 {WIDTH} 86")} role="img" aria-label={words}>
            { for bars }
            <path class="before" d={line} />
            <text x="0" y="83">{ text::number(-props.extreme) }</text>
            <text x="183" y="83" text-anchor="middle">{ "0" }</text>
            <text x={WIDTH.to_string()} y="83" text-anchor="end">{ text::number(props.extreme) }</text>
        </svg>
    }
}
