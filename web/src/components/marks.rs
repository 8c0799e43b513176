//! Small marks that mean the same everywhere: a scheme's colour, a severity's icon and word.

use quantscope_session::api::Severity;
use yew::{AttrValue, Html, Properties, classes, component, html};

/// Properties of [`SchemeTag`].
#[derive(Properties, PartialEq)]
pub(crate) struct SchemeTagProps {
    /// Scheme id, as it is written.
    pub(crate) scheme: AttrValue,
    /// Family, for the colour.
    pub(crate) family: AttrValue,
}

/// A scheme with its family's colour.
#[component]
pub(crate) fn SchemeTag(props: &SchemeTagProps) -> Html {
    let SchemeTagProps { scheme, family } = props;
    html! {
        <span class="tag"><i class={classes!("swatch", format!("family-{family}"))} aria-hidden="true" />{ scheme }</span>
    }
}

/// Properties of [`SeverityMark`].
#[derive(Properties, PartialEq)]
pub(crate) struct SeverityMarkProps {
    /// How grave.
    pub(crate) severity: Severity,
    /// Whether the word stands beside the icon; it is read out in any case.
    #[prop_or_default]
    pub(crate) word: bool,
}

/// A severity: icon, colour and word.
#[component]
pub(crate) fn SeverityMark(props: &SeverityMarkProps) -> Html {
    let SeverityMarkProps { severity, word: with_word } = *props;
    let (icon, word) = severity_words(severity);
    html! {
        <span class={classes!("severity", severity_class(severity))} title={word}>
            <span aria-hidden="true">{ icon }</span>
            <span class={if with_word { "severity-word" } else { "read-out" }}>{ word }</span>
        </span>
    }
}

/// The icon of a severity, and its word.
pub(super) fn severity_words(severity: Severity) -> (&'static str, &'static str) {
    match severity {
        Severity::Error => ("✕", "error"),
        Severity::Warning => ("!", "warning"),
        Severity::Info => ("i", "note"),
    }
}

/// The class that carries a severity's colours.
pub(crate) fn severity_class(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "is-error",
        Severity::Warning => "is-warning",
        Severity::Info => "is-info",
    }
}
