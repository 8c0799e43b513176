//! What can be written, as options of a choice.

use yew::{Html, Properties, component, html};

/// Properties of [`OptionsOf`].
#[derive(Properties, PartialEq)]
pub(crate) struct OptionsOfProps {
    /// Ids and titles.
    pub(crate) writable: Vec<(String, String)>,
    /// The id that is chosen.
    pub(crate) chosen: String,
}

/// An option for each.
#[component]
pub(crate) fn OptionsOf(props: &OptionsOfProps) -> Html {
    let option = |(id, title): &(String, String)| {
        html! { <option value={id.clone()} selected={*id == props.chosen} title={title.clone()}>{ id }</option> }
    };
    html! { <>{ for props.writable.iter().map(option) }</> }
}
