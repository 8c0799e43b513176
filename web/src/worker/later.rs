//! The part of this program that is fetched when it is first wanted: all that reads or writes tensors, knows the GPU or
//! other places. `web/later.txt` names its modules, and the build takes the program apart; see `worker_start.js`.

use super::desk::Answer;
use super::js;
use crate::protocol::Reply;
use futures_util::future::LocalBoxFuture;
use quantscope_session::api::SessionError;
use std::cell::Cell;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    /// Fetches the later part without letting anything else run meanwhile.
    #[wasm_bindgen(js_name = loadLater)]
    fn load_later();
    #[wasm_bindgen(catch, js_name = fetchLater)]
    async fn fetch_later() -> Result<JsValue, JsValue>;
}

/// Called where a function of the later part is wanted that is not here: the build puts the calls in.
#[used]
static LOADER: fn() = load_later;

thread_local! {
    static HERE: Cell<bool> = const { Cell::new(false) };
}

/// Whether the later part is here.
pub(super) fn is_here() -> bool {
    HERE.get()
}

/// Waits until the later part is here.
///
/// # Errors
/// If the browser cannot fetch it, or it is of another version.
pub(super) async fn fetch() -> Result<(), SessionError> {
    if is_here() {
        return Ok(());
    }
    fetch_later().await.map_err(|error| {
        let why = js::reason(&error);
        js::error(
            "program",
            format!(
                "The part of the program that does this could not be loaded ({why}). See that the network is there, \
                 then try again; if a newer version has come out, load the page anew."
            ),
        )
    })?;
    HERE.set(true);
    Ok(())
}

/// Work that is to give a reply without attachments.
// Inlined, or this would be a function of the later part itself.
#[inline(always)]
pub(super) fn work<'a>(
    work: impl Future<Output = Result<Reply, SessionError>> + 'a,
) -> LocalBoxFuture<'a, Answer> {
    Box::pin(async move { Ok((work.await?, Vec::new())) })
}
