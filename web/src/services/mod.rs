//! The browser's side of the page: the only modules, with hooks, that touch its interfaces.

pub(crate) mod address;
pub(crate) mod clipboard;
pub(crate) mod clock;
#[cfg(test)]
mod colours;
pub(crate) mod columns;
pub(crate) mod dom;
pub(crate) mod download;
pub(crate) mod error_paint;
pub(crate) mod files;
pub(crate) mod heat;
pub(crate) mod home;
pub(crate) mod nodes;
pub(crate) mod theme;
pub(crate) mod worker_link;

/// What went wrong, in the browser's words.
pub(crate) fn reason(error: &wasm_bindgen::JsValue) -> String {
    js_sys::Reflect::get(error, &"message".into())
        .ok()
        .and_then(|message| message.as_string())
        .or_else(|| error.as_string())
        .unwrap_or_else(|| format!("{error:?}"))
}
