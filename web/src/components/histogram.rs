//! Decoded values of a layer as a histogram, with axis, legend and words.

use crate::state::text;
use quantscope_session::api::Histogram;
use yew::{AttrValue, Html, Properties, classes, component, html, use_state_eq};

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 92.0;
const FLOOR: f64 = 74.0;

/// Properties of [`HistogramPicture`].
#[derive(Properties, PartialEq)]
pub(crate) struct HistogramPictureProps {
    /// The counts.
    pub(crate) histogram: Histogram,
    /// Family of the scheme, for the colour.
    pub(crate) family: AttrValue,
}

/// The picture. Counts are drawn as logarithms unless the user wants them as they are: the tails are what one looks
/// for.
#[component]
#[expect(clippy::cast_precision_loss, reason = "pixels")]
pub(crate) fn HistogramPicture(props: &HistogramPictureProps) -> Html {
    let Histogram { low, high, bins, zeros, not_finite, mean, std } = &props.histogram;
    let linear = use_state_eq(|| false);
    let is_linear = *linear;
    let length = move |count: u64| if is_linear { count as f64 } else { (1.0 + count as f64).ln() };
    let most = bins.iter().copied().max().unwrap_or(0);
    let scale = (FLOOR - 4.0) / length(most).max(f64::MIN_POSITIVE);
    let step = WIDTH / bins.len().max(1) as f64;
    let bars = bins.iter().enumerate().filter(|(_, count)| **count > 0).map(|(index, count)| {
        let height = length(*count) * scale;
        let (from, to) = (edge(*low, *high, index, bins.len()), edge(*low, *high, index + 1, bins.len()));
        html! {
            <rect class={format!("fill-{}", props.family)} x={format!("{:.2}", index as f64 * step)} y={format!("{:.2}", FLOOR - height)}
                width={format!("{:.2}", (step - 1.0).max(step * 0.7))} height={format!("{height:.2}")}>
                <title>{ format!("{} to {}: {}", text::number(from), text::number(to), text::count(*count)) }</title>
            </rect>
        }
    });
    let ticks = (0..=4).map(|tick| {
        let x = WIDTH * f64::from(tick) / 4.0;
        let anchor = match tick {
            0 => "start",
            4 => "end",
            _ => "middle",
        };
        html! {
            <>
                <line class="axis" x1={format!("{x:.1}")} x2={format!("{x:.1}")} y1="74" y2="78" />
                <text x={format!("{x:.1}")} y="89" text-anchor={anchor}>{ text::number(low + (high - low) * f64::from(tick) / 4.0) }</text>
            </>
        }
    });
    let words = format!(
        "Decoded values from {} to {}, mean {}, standard deviation {}, {} zeros, {} not finite",
        text::number(*low),
        text::number(*high),
        text::number(*mean),
        text::number(*std),
        text::count(*zeros),
        text::count(*not_finite)
    );
    html! {
        <figure class="picture">
            <svg viewBox={format!("0 0 {WIDTH} {HEIGHT}")} role="img" aria-label={words}>
                <line class="axis" x1="0" x2="360" y1="74.5" y2="74.5" />
                { for bars }
                { for ticks }
            </svg>
            <figcaption>
                <span title={mean.to_string()}>{ "mean " }<b>{ text::number(*mean) }</b></span>
                <span title={std.to_string()}>{ "std " }<b>{ text::number(*std) }</b></span>
                <span title="exactly zero"><b>{ text::count(*zeros) }</b>{ " zeros" }</span>
                if *not_finite > 0 {
                    <span class="is-error"><b>{ text::count(*not_finite) }</b>{ " NaN or infinite" }</span>
                }
                <span class="choice" role="group" aria-label="How counts are drawn">
                    { for [(false, "log"), (true, "linear")].map(|(to, word)| {
                        let linear = linear.clone();
                        html! { <button class={classes!("toggle", (is_linear == to).then_some("on"))} aria-pressed={(is_linear == to).to_string()} onclick={move |_| linear.set(to)}>{ word }</button> }
                    }) }
                </span>
            </figcaption>
        </figure>
    }
}

#[expect(clippy::cast_precision_loss, reason = "some hundred bins")]
fn edge(low: f64, high: f64, index: usize, bins: usize) -> f64 {
    low + (high - low) * index as f64 / bins.max(1) as f64
}
