//! The list of keys.

use yew::{Callback, Html, MouseEvent, Properties, component, html};

const KEYS: [(&str, &str); 8] = [
    ("/ or Ctrl K", "search layers"),
    ("j or ↓", "next layer"),
    ("k or ↑", "previous layer"),
    ("→", "open the module, or go into it"),
    ("←", "close the module, or go out of it"),
    ("Enter", "open the layer"),
    ("Esc", "close the layer, or a message"),
    ("?", "this list"),
];

/// Properties of [`KeysHelp`].
#[derive(Properties, PartialEq)]
pub(crate) struct KeysHelpProps {
    /// Close it.
    pub(crate) on_close: Callback<MouseEvent>,
}

/// The list, over the page.
#[component]
pub(crate) fn KeysHelp(props: &KeysHelpProps) -> Html {
    html! {
        <div class="keys" role="dialog" aria-label="Keys">
            <h2>{ "Keys" }</h2>
            <dl>{ for KEYS.map(|(key, word)| html! { <><dt><kbd>{ key }</kbd></dt><dd>{ word }</dd></> }) }</dl>
            <button onclick={props.on_close.clone()}>{ "Close" }</button>
        </div>
    }
}
