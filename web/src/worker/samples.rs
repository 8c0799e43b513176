//! The built-in samples: static files beside the page, fetched as blobs and opened like any others.

use super::{js, scope};
use quantscope_session::api::SessionError;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, Response};

/// Fetches all files of a sample. Its `files.json` lists their names.
///
/// # Errors
/// If one is not there.
pub(super) async fn fetch(folder: &str) -> Result<Vec<(String, Blob)>, SessionError> {
    let listing = get(&format!("samples/{folder}/files.json")).await?;
    let text =
        JsFuture::from(listing.text()).await.ok().and_then(|text| text.as_string()).unwrap_or_default();
    let names: Vec<String> = serde_json::from_str(&text).map_err(|error| {
        js::error("source", format!("samples/{folder}/files.json is no list of file names: {error}"))
    })?;
    let mut files = Vec::with_capacity(names.len());
    for name in names {
        let blob = get(&format!("samples/{folder}/{name}")).await?;
        files.push((name, blob));
    }
    Ok(files)
}

async fn get(path: &str) -> Result<Blob, SessionError> {
    let missing = |reason: String| {
        js::error(
            "source",
            format!(
                "The sample file {path} could not be fetched ({reason}). Reload the page, or drop files of your own."
            ),
        )
    };
    let refused = |error: JsValue| missing(js::reason(&error));
    let response: Response =
        JsFuture::from(scope().fetch_with_str(path)).await.map_err(refused)?.unchecked_into();
    if !response.ok() {
        return Err(missing(format!("the server answered {}", response.status())));
    }
    let blob = JsFuture::from(response.blob().map_err(refused)?).await.map_err(refused)?;
    Ok(blob.unchecked_into())
}
