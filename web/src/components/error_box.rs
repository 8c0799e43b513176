//! What went wrong, where the user looks: what happened, to what, and the next step.

use super::Words;
use crate::state::Notice;
use quantscope_session::api::SessionError;
use yew::{AttrValue, Callback, Html, MouseEvent, Properties, component, html};

/// Properties of [`ErrorBox`].
#[derive(Properties, PartialEq)]
pub(crate) struct ErrorBoxProps {
    /// What did not work.
    pub(crate) title: AttrValue,
    /// Why.
    pub(crate) error: SessionError,
    /// Tries again, where that can help.
    #[prop_or_default]
    pub(crate) on_retry: Option<Callback<MouseEvent>>,
}

/// An error in its place.
#[component]
pub(crate) fn ErrorBox(props: &ErrorBoxProps) -> Html {
    html! {
        <div class="notice is-error" role="alert" data-testid="error-box">
            <p><b>{ "✕ " }{ &props.title }</b></p>
            <p class="notice-text"><Words text={props.error.message.clone()} /></p>
            if let Some(on_retry) = &props.on_retry {
                <button onclick={on_retry}>{ "Try again" }</button>
            }
        </div>
    }
}

/// Properties of [`NoticeBox`].
#[derive(Properties, PartialEq)]
pub(crate) struct NoticeBoxProps {
    /// What to say.
    pub(crate) notice: Notice,
    /// The user has read it.
    pub(crate) on_close: Callback<MouseEvent>,
}

/// A message at the top of a view: an error, or what a job did.
#[component]
pub(crate) fn NoticeBox(props: &NoticeBoxProps) -> Html {
    let Notice { title, text, is_error } = &props.notice;
    let (class, role, id, icon) = if *is_error {
        ("notice is-error", "alert", "error-box", "✕ ")
    } else {
        ("notice is-done", "status", "notice-box", "✓ ")
    };
    html! {
        <div {class} {role} data-testid={id}>
            <button class="notice-close plain" aria-label="Close this message" onclick={props.on_close.clone()}>{ "×" }</button>
            <p><b><span aria-hidden="true">{ icon }</span>{ title }</b></p>
            <p class="notice-text"><Words text={text.clone()} /></p>
        </div>
    }
}
