//! What each scheme takes of the whole, as a bar.

use quantscope_session::api::SchemeShare;
use yew::{AttrValue, Html, Properties, component, html};

/// Properties of [`ShareBar`].
#[derive(Properties, PartialEq)]
pub(crate) struct ShareBarProps {
    /// Schemes, the largest first.
    pub(crate) schemes: Vec<SchemeShare>,
    /// What the bar says, in words.
    pub(crate) label: AttrValue,
}

/// A bar whose parts are in proportion to stored bytes.
#[component]
#[expect(clippy::cast_precision_loss, reason = "a bar of some hundred pixels")]
pub(crate) fn ShareBar(props: &ShareBarProps) -> Html {
    let total: u64 = props.schemes.iter().map(|share| share.bytes).sum();
    let mut at = 0.0;
    let parts = props.schemes.iter().map(|share| {
        let width = share.bytes as f64 / total.max(1) as f64 * 1000.0;
        let x = at;
        at += width;
        html! { <rect class={format!("fill-{}", share.family)} x={format!("{x:.2}")} y="0" width={format!("{:.2}", (width - 1.5).max(0.6))} height="10" /> }
    });
    html! {
        <svg class="share-bar" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label={props.label.clone()}>
            { for parts }
        </svg>
    }
}
