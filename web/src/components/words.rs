//! A sentence in which names stand between backticks, as the reports write them.

use yew::{AttrValue, Html, Properties, component, html};

/// Properties of [`Words`].
#[derive(Properties, PartialEq)]
pub(crate) struct WordsProps {
    /// The sentence.
    pub(crate) text: AttrValue,
}

/// The sentence, its names in the type of code.
#[component]
pub(crate) fn Words(props: &WordsProps) -> Html {
    // Every second part stood between backticks; one that was never closed is no name.
    let paired = props.text.matches('`').count() / 2 * 2;
    let parts = props.text.splitn(paired + 1, '`').enumerate().map(|(place, part)| {
        if place % 2 == 1 {
            html! { <code>{ part }</code> }
        } else {
            html! { { part } }
        }
    });
    html! { <>{ for parts }</> }
}
