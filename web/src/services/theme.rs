//! Light and dark: what the user chose, what the system says, and the attribute that the style sheets read.

use crate::state::Theme;
use gloo_events::EventListener;
use web_sys::{MediaQueryList, Window};

const KEY: &str = "quantscope.theme";

fn query(window: &Window) -> Option<MediaQueryList> {
    window.match_media("(prefers-color-scheme: dark)").ok()?
}

/// Whether the system is dark.
pub(crate) fn system_is_dark() -> bool {
    web_sys::window().and_then(|window| query(&window)).is_some_and(|query| query.matches())
}

/// Tells when the system changes.
pub(crate) fn watch_system(on_change: impl Fn(bool) + 'static) -> Option<EventListener> {
    let query = query(&web_sys::window()?)?;
    Some(EventListener::new(&query, "change", move |_| on_change(system_is_dark())))
}

/// What was chosen last time.
pub(crate) fn stored() -> Theme {
    let stored = web_sys::window()
        .and_then(|window| window.local_storage().ok()?)
        .and_then(|storage| storage.get_item(KEY).ok()?);
    match stored.as_deref() {
        Some("light") => Theme::Light,
        Some("dark") => Theme::Dark,
        _ => Theme::System,
    }
}

/// Applies a theme, and remembers it where the browser lets us.
pub(crate) fn apply(theme: Theme) {
    let Some(window) = web_sys::window() else { return };
    let word = match theme {
        Theme::System => None,
        Theme::Light => Some("light"),
        Theme::Dark => Some("dark"),
    };
    if let Some(root) = window.document().and_then(|document| document.document_element()) {
        let _ = match word {
            Some(word) => root.set_attribute("data-theme", word),
            None => root.remove_attribute("data-theme"),
        };
    }
    if let Ok(Some(storage)) = window.local_storage() {
        let _ = match word {
            Some(word) => storage.set_item(KEY, word),
            None => storage.remove_item(KEY),
        };
    }
}
