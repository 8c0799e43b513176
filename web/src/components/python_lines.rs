//! Lines of Python that load a layer, to be copied.

use crate::services::clipboard;
use yew::platform::spawn_local;
use yew::{Html, Properties, classes, component, html, use_state_eq};

/// Properties of [`PythonLines`].
#[derive(Properties, PartialEq)]
pub(crate) struct PythonLinesProps {
    /// What they use, and the lines.
    pub(crate) lines: Vec<(String, String)>,
}

/// The lines with a button.
#[component]
pub(crate) fn PythonLines(props: &PythonLinesProps) -> Html {
    let chosen = use_state_eq(|| 0_usize);
    let said = use_state_eq(|| "");
    let Some((_, lines)) = props.lines.get(*chosen).or_else(|| props.lines.first()) else {
        return Html::default();
    };
    let onclick = {
        let (said, lines) = (said.clone(), lines.clone());
        move |_| {
            let (said, lines) = (said.clone(), lines.clone());
            spawn_local(async move {
                said.set(if clipboard::copy(&lines).await {
                    "Copied"
                } else {
                    "Select the lines and copy them"
                });
            });
        }
    };
    html! {
        <details class="python" data-testid="python">
            <summary>{ "Load it in Python" }</summary>
            <div class="heat-tools">
                <span class="choice" role="group" aria-label="What the lines use">
                    { for props.lines.iter().enumerate().map(|(index, (with, _))| {
                        let (chosen, said) = (chosen.clone(), said.clone());
                        html! { <button class={classes!("toggle", (*chosen == index).then_some("on"))} aria-pressed={(*chosen == index).to_string()}
                            onclick={move |_| { chosen.set(index); said.set(""); }}>{ with }</button> }
                    }) }
                </span>
                <span class="grow" />
                <span class="faint" role="status">{ *said }</span>
                <button data-testid="python-copy" {onclick}>{ "Copy" }</button>
            </div>
            <pre tabindex="0" aria-label="Python" data-testid="python-lines">{ lines }</pre>
        </details>
    }
}
