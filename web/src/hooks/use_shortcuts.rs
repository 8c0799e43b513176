//! The keys: `/` and ⌘K search, `j` and `k` move, arrows open and close modules, `Enter` opens, `Esc` closes, `?`
//! shows them.

use crate::services::dom;
use crate::state::Action;
use crate::state::exploring::Explore;
use gloo_events::{EventListener, EventListenerOptions};
use wasm_bindgen::JsCast;
use web_sys::KeyboardEvent;
use yew::{Callback, hook, use_effect_with};

/// Listens to the keys of the whole page. Keys that move belong to the page itself where there is no list.
#[hook]
pub(crate) fn use_shortcuts(dispatch: Callback<Action>, has_list: bool) {
    use_effect_with((dispatch, has_list), |(dispatch, has_list)| {
        let (dispatch, has_list) = (dispatch.clone(), *has_list);
        let document = web_sys::window().and_then(|window| window.document());
        let listener = document.map(|document| {
            let options = EventListenerOptions::enable_prevent_default();
            EventListener::new_with_options(&document, "keydown", options, move |event| {
                if let Some(action) = action_of(event.unchecked_ref(), has_list) {
                    event.prevent_default();
                    dispatch.emit(action);
                }
            })
        });
        move || drop(listener)
    });
}

fn action_of(event: &KeyboardEvent, has_list: bool) -> Option<Action> {
    let key = event.key();
    if (event.ctrl_key() || event.meta_key()) && key.eq_ignore_ascii_case("k") {
        return Some(Action::Search);
    }
    if event.ctrl_key() || event.meta_key() || event.alt_key() || event.is_composing() {
        return None;
    }
    if key == "Escape" {
        return Some(Action::Escape);
    }
    if dom::is_typing(event) || dom::keeps_keys(event) {
        return None;
    }
    match key.as_str() {
        "/" => Some(Action::Search),
        "j" | "ArrowDown" if has_list => Some(Action::Move(1)),
        "k" | "ArrowUp" if has_list => Some(Action::Move(-1)),
        "ArrowRight" if has_list => Some(Action::Explore(Explore::Inward)),
        "ArrowLeft" if has_list => Some(Action::Explore(Explore::Outward)),
        "Enter" if has_list && !dom::is_on_control(event) => Some(Action::Enter),
        "?" => Some(Action::Keys(true)),
        _ => None,
    }
}
