//! A module path that is cut in the middle where room is short: its end tells layers apart.

use crate::state::text;
use yew::{AttrValue, Html, Properties, component, html};

/// Characters at the end that are never cut.
const TAIL: usize = 22;

/// Properties of [`LayerName`].
#[derive(Properties, PartialEq)]
pub(crate) struct LayerNameProps {
    /// Module path.
    pub(crate) name: AttrValue,
    /// What the tooltip says, if not the name.
    #[prop_or_default]
    pub(crate) title: Option<AttrValue>,
}

/// A name; the whole of it is in the tooltip.
#[component]
pub(crate) fn LayerName(props: &LayerNameProps) -> Html {
    layer_name(&props.name, props.title.as_ref().unwrap_or(&props.name))
}

/// The same without a component of its own, for rows of which hundreds are drawn.
pub(crate) fn layer_name(name: &str, title: &str) -> Html {
    let (head, tail) = text::split_for_cut(name, TAIL);
    let title = title.to_owned();
    html! {
        <span class="layer-name" {title}><span class="layer-name-head">{ head }</span><span class="layer-name-tail">{ tail }</span></span>
    }
}
