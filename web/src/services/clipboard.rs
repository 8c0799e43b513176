//! Puts text into the clipboard.

use wasm_bindgen_futures::JsFuture;

/// Copies a text. Answers whether the browser let us.
pub(crate) async fn copy(text: &str) -> bool {
    let Some(window) = web_sys::window() else { return false };
    if !window.is_secure_context() {
        // There is no clipboard then, whatever its type says.
        return false;
    }
    JsFuture::from(window.navigator().clipboard().write_text(text)).await.is_ok()
}
