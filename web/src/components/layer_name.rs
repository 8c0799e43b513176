//! A module path that is cut in the middle where room is short: its end tells layers apart.

use crate::state::text;
use yew::{AttrValue, Html, Properties, component, html};

/// Characters at the end that are never cut.
pub(super) const TAIL: usize = 22;

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
    let (head, tail) = text::split_for_cut(&props.name, TAIL);
    let title = props.title.as_ref().unwrap_or(&props.name);
    html! {
        <span class="layer-name" {title}><span class="layer-name-head">{ head }</span><span class="layer-name-tail">{ tail }</span></span>
    }
}
