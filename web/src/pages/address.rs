//! Opening an address: the form on arrival, and the question before anything but headers is fetched.

use crate::protocol::remote::Secret;
use crate::services::dom;
use crate::state::job::JobKind;
use crate::state::remote::{Held, Visit};
use crate::state::{Action, text};
use yew::{AttrValue, Callback, Html, InputEvent, Properties, SubmitEvent, component, html};

/// Properties of [`AddressForm`].
#[derive(Properties, PartialEq)]
pub(crate) struct AddressFormProps {
    /// Whether something is being opened.
    pub(crate) busy: bool,
    /// What stands in the field.
    pub(crate) address: AttrValue,
    /// The token.
    pub(crate) token: Secret,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// The form.
#[component]
pub(crate) fn AddressForm(props: &AddressFormProps) -> Html {
    let visit = props.dispatch.reform(Action::Visit);
    let on_submit = {
        let visit = visit.clone();
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            visit.emit(Visit::Open);
        })
    };
    let on_address = visit.reform(|event: InputEvent| Visit::Address(dom::value_of(&event)));
    let on_token = visit.reform(|event: InputEvent| Visit::Token(Secret(dom::value_of(&event))));
    html! {
        <form class="address" onsubmit={on_submit}>
            <label for="address">{ "Or open an address" }</label>
            <div class="address-line">
                <input id="address" data-testid="address" type="text" inputmode="url" autocomplete="off" spellcheck="false" autocapitalize="off"
                    placeholder="hf://organization/repository or https://…" value={props.address.clone()} oninput={on_address}
                    aria-describedby="address-words" />
                <button class="primary" data-testid="address-open" disabled={props.busy}>{ "Open" }</button>
            </div>
            <p id="address-words" class="address-words">
                { "A .safetensors file, an index, a folder ending with /, or a repository of the hub. Only headers, the index and the configs are fetched; the bytes are counted." }
            </p>
            <details>
                <summary>{ "It needs a token" }</summary>
                <label for="token">{ "Token of huggingface.co" }</label>
                <input id="token" data-testid="token" type="password" autocomplete="off" spellcheck="false" value={props.token.0.clone()} oninput={on_token} />
                <p class="address-words">{ "Sent to huggingface.co alone, and forgotten when this tab closes." }</p>
            </details>
        </form>
    }
}

/// Properties of [`HeldBox`].
#[derive(Properties, PartialEq)]
pub(crate) struct HeldBoxProps {
    /// What waits.
    pub(crate) held: Held,
    /// Where bytes would come from.
    pub(crate) host: AttrValue,
    /// Bytes of the whole checkpoint.
    pub(crate) bytes: u64,
    /// Bytes of its scales, if they can be checked alone.
    pub(crate) scale_bytes: Option<u64>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// Asks before tensors are fetched.
#[component]
pub(crate) fn HeldBox(props: &HeldBoxProps) -> Html {
    let visit = props.dispatch.reform(Action::Visit);
    let what = match props.held.kind {
        JobKind::Verify | JobKind::Scales => "Verifying reads every scale and code",
        JobKind::Repair => "Repairing reads every scale and copies every tensor",
        JobKind::Compare => "Comparing reads every tensor of both",
        JobKind::Sweep => "Trying schemes reads the weights, of large layers a sample",
        JobKind::Open | JobKind::Convert => "Converting reads every tensor",
    };
    html! {
        <div class="notice is-warning held" role="alertdialog" aria-label="Fetch tensors" data-testid="held">
            <p>{ format!("{what}: up to {} from {}.", text::size(props.bytes), props.host) }</p>
            <button class="primary" data-testid="held-allow" onclick={visit.reform(|_| Visit::Allow)}>{ "Fetch and go on" }</button>
            if let Some(bytes) = props.scale_bytes {
                <button data-testid="held-scales" onclick={visit.reform(|_| Visit::Scales)}>{ format!("The scales alone: {}", text::size(bytes)) }</button>
            }
            <button data-testid="held-refuse" onclick={visit.reform(|_| Visit::Refuse)}>{ "Not now" }</button>
        </div>
    }
}
