//! The bar at the bottom while a job runs: what, how far, how fast, how long, on which engine, and Cancel.

use crate::state::job::Job;
use crate::state::text;
use yew::{AttrValue, Callback, Html, MouseEvent, Properties, component, html};

/// Properties of [`JobBar`].
#[derive(Properties, PartialEq)]
pub(crate) struct JobBarProps {
    /// The job.
    pub(crate) job: Job,
    /// Engine it runs on.
    pub(crate) engine: AttrValue,
    /// Stop it.
    pub(crate) on_cancel: Callback<MouseEvent>,
}

/// The bar.
#[component]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are positive and far below 2^64"
)]
pub(crate) fn JobBar(props: &JobBarProps) -> Html {
    let job = &props.job;
    let (done, total) = job.bytes();
    let percent = job.fraction().map(|part| format!("{:.0}", (part * 100.0).floor()));
    let mut facts = Vec::new();
    if let Some(percent) = &percent {
        facts.push(format!("{percent} %"));
    }
    if let Some(rate) = job.rate() {
        facts.push(format!("{}/s", text::size(rate as u64)));
    }
    if let Some(seconds) = job.seconds_left() {
        facts.push(text::time_left(seconds));
    }
    let width = job.fraction().map_or("0".into(), |part| format!("{:.1}", part * 1000.0));
    html! {
        <footer class="job" data-testid="job-bar">
            <span class="job-phase" title={job.item().to_owned()}>{ job.phase() }</span>
            <svg class="job-track" viewBox="0 0 1000 6" preserveAspectRatio="none" role="progressbar" aria-label={job.phase().to_owned()}
                aria-valuemin="0" aria-valuemax="100" aria-valuenow={percent}>
                <rect class="job-fill" x="0" y="0" {width} height="6" />
            </svg>
            <span class="job-facts" title={format!("{} of {}", text::exact_size(done), text::exact_size(total))}>{ facts.join(" · ") }</span>
            <span class="job-item">{ job.item() }</span>
            <span class="job-engine">{ &props.engine }</span>
            <button data-testid="job-cancel" disabled={job.cancelling} onclick={props.on_cancel.clone()}>
                { if job.cancelling { "Stopping" } else { "Cancel" } }
            </button>
        </footer>
    }
}
