//! A choice among a few, which shows what is chosen. The attribute of an option tells that only until the user has
//! changed the choice by hand; a recipe that is loaded afterwards, or a way back, would not be shown.

use web_sys::HtmlSelectElement;
use yew::{AttrValue, Callback, Event, Html, Properties, component, html, use_effect, use_node_ref};

/// Properties of [`Choice`].
#[derive(Properties, PartialEq)]
pub(crate) struct ChoiceProps {
    /// How tests find it.
    pub(crate) id: AttrValue,
    /// What a screen reader says, where no label stands beside it.
    #[prop_or_default]
    pub(crate) label: Option<AttrValue>,
    /// The kind of layer that it is about.
    #[prop_or_default]
    pub(crate) kind: Option<AttrValue>,
    /// The value that is chosen; the first option if there is no such one.
    pub(crate) chosen: AttrValue,
    /// The user chose.
    pub(crate) onchange: Callback<Event>,
    /// Its options.
    pub(crate) children: Html,
}

/// The choice.
#[component]
pub(crate) fn Choice(props: &ChoiceProps) -> Html {
    let select = use_node_ref();
    let (shown, chosen) = (select.clone(), props.chosen.clone());
    use_effect(move || {
        if let Some(select) = shown.cast::<HtmlSelectElement>() {
            show(&select, &chosen);
        }
    });
    html! {
        <select ref={select} data-testid={props.id.clone()} data-kind={props.kind.clone()} aria-label={props.label.clone()} onchange={props.onchange.clone()}>
            { props.children.clone() }
        </select>
    }
}

fn show(select: &HtmlSelectElement, chosen: &str) {
    if select.value() != chosen {
        select.set_value(chosen);
    }
    if select.selected_index() < 0 {
        select.set_selected_index(0);
    }
}
