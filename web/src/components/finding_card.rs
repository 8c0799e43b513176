//! One finding: what is wrong, expected and found, what to do.

use super::{Words, severity_class};
use quantscope_session::api::Finding;
use yew::{Callback, Html, Properties, classes, component, html};

/// Properties of [`FindingCard`].
#[derive(Properties, PartialEq)]
pub(crate) struct FindingCardProps {
    /// The finding.
    pub(crate) finding: Finding,
    /// Goes to a layer; without it there is no button.
    #[prop_or_default]
    pub(crate) on_layer: Option<Callback<String>>,
    /// Shows all layers that the rule touches; without it there is no button.
    #[prop_or_default]
    pub(crate) on_rule: Option<Callback<String>>,
}

/// A card.
#[component]
pub(crate) fn FindingCard(props: &FindingCardProps) -> Html {
    let finding = &props.finding;
    let layer = finding.layers.first().cloned().zip(props.on_layer.clone());
    let rule = props.on_rule.clone().map(|on_rule| (finding.rule.clone(), on_rule));
    html! {
        <div class={classes!("finding", severity_class(finding.severity))} data-rule={finding.rule.clone()}>
            <p class="finding-subject">
                <b>{ &finding.rule }</b>{ " " }<code>{ &finding.subject }</code>
                if let Some(file) = finding.file.as_ref().filter(|file| **file != finding.subject) {
                    <span class="finding-file">{ format!(" in {file}") }</span>
                }
            </p>
            <p><Words text={finding.message.clone()} /></p>
            if finding.expected.is_some() || finding.found.is_some() {
                <dl class="expected">
                    if let Some(expected) = &finding.expected { <dt>{ "expected" }</dt><dd><code>{ expected }</code></dd> }
                    if let Some(found) = &finding.found { <dt>{ "found" }</dt><dd><code>{ found }</code></dd> }
                </dl>
            }
            if !finding.fix.is_empty() {
                <p class="fix"><b>{ "Fix " }</b><Words text={finding.fix.to_string()} /></p>
            }
            if let Some((name, on_layer)) = layer {
                <button onclick={move |_| on_layer.emit(name.clone())}>{ "Open the layer" }</button>
            }
            if let Some((rule, on_rule)) = rule {
                <button onclick={move |_| on_rule.emit(rule.clone())}>{ "Show all such layers" }</button>
            }
        </div>
    }
}
