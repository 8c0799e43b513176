//! Schemes side by side on one layer: figures, where the errors are, what becomes of the values.

use crate::components::{ErrorPicture, LayerName, Overlay, SchemeTag, Words, common_range};
use crate::state::load::Shared;
use crate::state::text;
use quantscope_session::api::{LayerTrial, SchemeTrial};
use yew::{Html, Properties, classes, component, html};

/// Properties of [`TrialSection`].
#[derive(Properties, PartialEq)]
pub(crate) struct TrialSectionProps {
    /// What was tried.
    pub(crate) trial: Shared<LayerTrial>,
    /// Whether another answer is on its way.
    pub(crate) stale: bool,
    /// Whether the page is dark.
    pub(crate) dark: bool,
}

/// The cards.
#[component]
pub(crate) fn TrialSection(props: &TrialSectionProps) -> Html {
    let trial = &*props.trial;
    let range = common_range(trial.schemes.iter().map(|scheme| &scheme.map));
    // What loses nothing has no ratio, and nothing is better.
    let noise = |scheme: &SchemeTrial| scheme.sqnr_db.unwrap_or(f64::INFINITY);
    let tried = trial.schemes.iter().filter(|scheme| scheme.refused.is_none());
    let best = tried.map(noise).fold(f64::NEG_INFINITY, f64::max);
    let shape = text::shape(&trial.shape);
    html! {
        <div class={classes!("lab-trial", props.stale.then_some("is-stale"))} data-testid="lab-trial" data-layer={trial.name.clone()}>
            <h2><LayerName name={trial.name.clone()} /><span>{ format!("{} {shape}, {} as stored, {} bits per weight", trial.kind, trial.from, text::bits(trial.bits_before)) }</span></h2>
            if trial.decoded {
                <p class="hint">{ "This layer is quantized. Its decoded values are the measure; what was lost before is not counted." }</p>
            }
            if trial.values_read < trial.values_total {
                <p class="hint" data-testid="lab-sample">{ format!("Sample: {} of {} weights, bands of rows spread evenly. Scales come from the sample.", text::count(trial.values_read), text::count(trial.values_total)) }</p>
            }
            if !trial.shares_with.is_empty() {
                <p class="faint lab-shares">{ "Largest magnitude shared with " }<code>{ trial.shares_with.join(", ") }</code></p>
            }
            <div class="lab-cards">
                { for trial.schemes.iter().map(|scheme| card(scheme, trial, range, best, props.dark)) }
            </div>
            <p class="faint lab-legend">{ format!("Error map: rows of the weight down, columns across; stronger is larger, {} to {} root mean square, one scale for all. Histogram: bars are decoded values, the line is the original; counts as logarithms.", text::number(f64::from(range.0)), text::number(f64::from(range.1))) }</p>
        </div>
    }
}

fn card(scheme: &SchemeTrial, trial: &LayerTrial, range: (f32, f32), best: f64, dark: bool) -> Html {
    let head = html! { <h3><SchemeTag scheme={scheme.scheme.clone()} family={scheme.family.clone()} /></h3> };
    if let Some(reason) = &scheme.refused {
        return html! {
            <article class="lab-card is-refused" data-testid="lab-card" data-scheme={scheme.scheme.clone()}>
                { head }<p><Words text={format!("Not possible: it {reason}.")} /></p>
            </article>
        };
    }
    let sqnr = scheme.sqnr_db.map_or_else(|| "nothing lost".into(), |db| format!("{db:.2} dB"));
    let is_best = scheme.sqnr_db.unwrap_or(f64::INFINITY) >= best;
    let fact = |word: &'static str, value: String, exact: String| {
        html! { <><dt>{ word }</dt><dd class="n" title={exact}>{ value }</dd></> }
    };
    let words = format!(
        "Errors of {} over the weight: {} rows by {} columns of cells",
        scheme.scheme, scheme.map.rows, scheme.map.cols
    );
    html! {
        <article class="lab-card" data-testid="lab-card" data-scheme={scheme.scheme.clone()}>
            { head }
            <p class="lab-sqnr" title="signal to quantization noise"><b data-testid="lab-sqnr" title={scheme.sqnr_db.map(|db| db.to_string())}>{ sqnr }</b>
                if is_best { <span class="is-sound">{ "least loss" }</span> }</p>
            <dl>
                { fact("bits per weight", text::bits(scheme.bits_per_weight), scheme.bits_per_weight.to_string()) }
                { fact("size", text::size(scheme.bytes), text::exact_size(scheme.bytes)) }
                { fact("largest error", text::number(scheme.max_abs), scheme.max_abs.to_string()) }
                { fact("mean error", text::number(scheme.mean_abs), scheme.mean_abs.to_string()) }
                { fact("saturated", share(scheme.saturated, trial.values_read), text::count(scheme.saturated)) }
                { fact("become zero", share(scheme.zeroed, trial.values_read), text::count(scheme.zeroed)) }
            </dl>
            <ErrorPicture map={scheme.map.clone()} {range} family={scheme.family.clone()} {words} {dark} />
            <Overlay before={trial.bins.clone()} after={scheme.bins.clone()} extreme={trial.extreme} family={scheme.family.clone()} />
        </article>
    }
}

/// A share with two decimals; not rounded down to nothing.
#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn share(part: u64, whole: u64) -> String {
    let percent = part as f64 / whole.max(1) as f64 * 100.0;
    match part {
        0 => "0 %".into(),
        _ if percent < 0.01 => "<0.01 %".into(),
        _ => format!("{percent:.2} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn what_is_there_is_not_rounded_away() {
        assert_eq!(share(0, 10), "0 %");
        assert_eq!(share(1, 1_000_000), "<0.01 %");
        assert_eq!(share(334, 10_000), "3.34 %");
        assert_eq!(share(0, 0), "0 %");
    }
}
