//! Saving: a download for one file, a folder of the user's choice for all where the browser has that.

use super::reason;
use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, HtmlAnchorElement, Url, Window};

/// Hands one file to the browser's downloads.
///
/// # Errors
/// What the browser says.
pub(crate) fn save(name: &str, blob: &Blob) -> Result<(), String> {
    let attempt = || -> Result<(), JsValue> {
        let document = web_sys::window().and_then(|window| window.document()).ok_or("no document")?;
        let url = Url::create_object_url_with_blob(blob)?;
        let link: HtmlAnchorElement = document.create_element("a")?.unchecked_into();
        link.set_href(&url);
        link.set_download(name.rsplit('/').next().unwrap_or(name));
        link.click();
        // The address is not revoked: a download of many gigabytes may still be reading from it. It goes with
        // the page, and holds no bytes of its own.
        Ok(())
    };
    attempt().map_err(|error| format!("{name} could not be saved: {}", reason(&error)))
}

/// Saves all files into a folder that the user picks, or one by one where the browser has no such picker.
///
/// # Errors
/// What the browser says. A picker that the user closed is none.
pub(crate) async fn save_all(files: Vec<(String, Blob)>) -> Result<(), String> {
    let Some(window) = web_sys::window() else { return Ok(()) };
    let Some(picker) = picker(&window) else {
        return files.iter().try_for_each(|(name, blob)| save(name, blob));
    };
    match into_folder(&window, &picker, &files).await {
        Err(error) if name_of(&error).as_deref() == Some("AbortError") => Ok(()),
        result => result.map_err(|error| format!("The files could not all be saved: {}", reason(&error))),
    }
}

/// Whether the browser lets a page write into a folder of the user's.
pub(crate) fn has_folders() -> bool {
    web_sys::window().as_ref().and_then(picker).is_some()
}

/// Lets the user pick a folder to write into; `None` if the user did not.
///
/// # Errors
/// What the browser says.
pub(crate) async fn pick_folder() -> Result<Option<JsValue>, String> {
    let Some((window, picker)) =
        web_sys::window().and_then(|window| Some((window.clone(), picker(&window)?)))
    else {
        return Err("This browser lets no page write into folders. Convert here and save the files.".into());
    };
    match pick(&window, &picker).await {
        Ok(folder) => Ok(Some(folder)),
        Err(error) if name_of(&error).as_deref() == Some("AbortError") => Ok(None),
        Err(error) => Err(format!("The browser gave no folder: {}", reason(&error))),
    }
}

async fn pick(window: &Window, picker: &Function) -> Result<JsValue, JsValue> {
    let mode = options(&[("mode", "readwrite".into())])?;
    JsFuture::from(picker.call1(window, &mode)?.unchecked_into::<Promise>()).await
}

fn picker(window: &Window) -> Option<Function> {
    Reflect::get(window, &"showDirectoryPicker".into()).ok()?.dyn_into().ok()
}

async fn into_folder(window: &Window, picker: &Function, files: &[(String, Blob)]) -> Result<(), JsValue> {
    let folder = pick(window, picker).await?;
    let create = options(&[("create", true.into())])?;
    for (name, blob) in files {
        let name = name.rsplit('/').next().unwrap_or(name);
        let handle = call(&folder, "getFileHandle", &[name.into(), create.clone()]).await?;
        let stream = call(&handle, "createWritable", &[]).await?;
        call(&stream, "write", &[blob.into()]).await?;
        call(&stream, "close", &[]).await?;
    }
    Ok(())
}

/// Calls a method that answers with a promise, and waits. These interfaces are not in every browser, so they
/// are called by name.
async fn call(target: &JsValue, method: &str, arguments: &[JsValue]) -> Result<JsValue, JsValue> {
    let method: Function = Reflect::get(target, &method.into())?.dyn_into()?;
    let promise = Reflect::apply(&method, target, &arguments.iter().collect())?;
    JsFuture::from(promise.unchecked_into::<Promise>()).await
}

fn options(pairs: &[(&str, JsValue)]) -> Result<JsValue, JsValue> {
    let object = Object::new();
    for (key, value) in pairs {
        Reflect::set(&object, &(*key).into(), value)?;
    }
    Ok(object.into())
}

fn name_of(error: &JsValue) -> Option<String> {
    Reflect::get(error, &"name".into()).ok()?.as_string()
}
