//! The summary band: verdict, size, weights, bits per weight, schemes; always there while something is open.

use super::ShareBar;
use crate::state::Action;
use crate::state::load::Shared;
use crate::state::text;
use quantscope_session::api::Overview;
use yew::{Callback, Html, Properties, classes, component, html};

/// Properties of [`Band`].
#[derive(Properties, PartialEq)]
pub(crate) struct BandProps {
    /// The checkpoint.
    pub(crate) overview: Shared<Overview>,
    /// Whether a job runs.
    pub(crate) busy: bool,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// The icon of a verdict.
pub(crate) fn verdict_icon(state: &str) -> &'static str {
    match state {
        "broken" => "✕",
        "warnings" => "!",
        "sound" => "✓",
        _ => "·",
    }
}

/// Whether the verdict is there.
pub(crate) fn is_judged(overview: &Overview) -> bool {
    overview.verdict.state != "reading"
}

/// The band.
#[component]
pub(crate) fn Band(props: &BandProps) -> Html {
    let overview = &*props.overview;
    let files = text::counted(overview.shards.len() as u64, "file");
    let keys = overview.schemes.iter().map(|share| {
        html! {
            <li title={text::exact_size(share.bytes)}>
                <i class={classes!("swatch", format!("family-{}", share.family))} aria-hidden="true" />
                { format!("{} {} · {}", share.scheme, text::counted(share.layers, "layer"), text::size(share.bytes)) }
            </li>
        }
    });
    let (verify, title) = match &overview.verified_by {
        Some(engine) => ("Verify again", format!("Every byte that a rule needs was read on {engine}")),
        None => (
            "Verify bytes",
            "Read every scale and code, and compare tensors that may be identical".to_owned(),
        ),
    };
    html! {
        <section class="band" aria-label="Summary">
            <span class={classes!("verdict", format!("verdict-{}", overview.verdict.state))} data-testid={if is_judged(overview) { "band-verdict" } else { "band-reading" }}>
                <span aria-hidden="true">{ verdict_icon(&overview.verdict.state) }</span>
                { &overview.verdict.title }
            </span>
            <span class="fact" data-testid="band-size" title={text::exact_size(overview.bytes)}><b>{ text::size(overview.bytes) }</b>{ format!(" in {files}") }</span>
            <span class="fact optional" title={text::count(overview.parameters)}><b>{ text::short_count(overview.parameters) }</b>{ " weights" }</span>
            <span class="fact"><b>{ text::bits(overview.bits_per_weight) }</b>{ " bits per weight" }</span>
            <div class="mix">
                <ShareBar schemes={overview.schemes.clone()} label="Stored bytes by scheme" />
                <ul class="mix-keys">{ for keys }</ul>
            </div>
            <button class="verify" data-testid="verify-button" disabled={props.busy} onclick={props.dispatch.reform(|_| Action::Verify)} {title}>{ verify }</button>
        </section>
    }
}
