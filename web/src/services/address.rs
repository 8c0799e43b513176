//! The address bar: fragment, history, and the query that tests choose engine and workers by.

use crate::state::route::Route;
use gloo_events::EventListener;
use quantscope_session::api::EngineChoice;
use wasm_bindgen::JsValue;

/// The mark of the page that may connect to other places.
const CONNECTS: &str = "meta[name=\"quantscope-connects\"]";

/// Where the address says the user is.
pub(crate) fn route() -> Route {
    let fragment = web_sys::window().and_then(|window| window.location().hash().ok());
    Route::parse(&fragment.unwrap_or_default())
}

/// Writes the fragment.
pub(crate) fn set(fragment: &str, replace: bool) {
    let Some(history) = web_sys::window().and_then(|window| window.history().ok()) else { return };
    // A browser that limits how often addresses change loses an entry of the history, nothing else.
    let _ = if replace {
        history.replace_state_with_url(&JsValue::NULL, "", Some(fragment))
    } else {
        history.push_state_with_url(&JsValue::NULL, "", Some(fragment))
    };
}

/// Tells when the user goes back, forward, or edits the fragment.
pub(crate) fn watch(on_change: impl Fn(Route) + 'static) -> Option<EventListener> {
    let window = web_sys::window()?;
    Some(EventListener::new(&window, "popstate", move |_| on_change(route())))
}

/// What the address asks for under a key.
fn asked(key: &str) -> Option<String> {
    let query = web_sys::window()?.location().search().ok()?;
    let mut pairs = query.trim_start_matches('?').split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == key).map(|(_, value)| value.to_owned())
}

/// How many compute workers `?workers=N` asks for.
pub(crate) fn workers() -> Option<u32> {
    asked("workers")?.parse().ok()
}

/// Whether this is the page that may connect to other places. The build marks it, beside its policy.
pub(crate) fn connects() -> bool {
    let document = web_sys::window().and_then(|window| window.document());
    let mark = document.and_then(|document| document.query_selector(CONNECTS).ok().flatten());
    mark.is_some()
}

/// The engine that `?engine=cpu` or `?engine=gpu` asks for, for this visit alone.
pub(crate) fn engine_choice() -> Option<EngineChoice> {
    match asked("engine").as_deref() {
        Some("cpu") => Some(EngineChoice::Cpu),
        Some("gpu") => Some(EngineChoice::Gpu),
        Some("auto") => Some(EngineChoice::Auto),
        _ => None,
    }
}
