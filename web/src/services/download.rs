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
        link.set_download(&safe_name(name));
        link.click();
        // The address is not revoked: a download of many gigabytes may still be reading from it. It goes with
        // the page, and holds no bytes of its own.
        Ok(())
    };
    attempt().map_err(|error| format!("{name} could not be saved: {}", reason(&error)))
}

/// A name under which any system keeps a file, and which says what it is: the last part of a path, without what has
/// another meaning in paths, changes the direction of text or is not seen. Names that systems keep to themselves are
/// led by an underscore.
fn safe_name(name: &str) -> String {
    const RESERVED: [&str; 4] = ["con", "prn", "aux", "nul"];
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let safe = |c: char| match c {
        '<' | '>' | ':' | '"' | '|' | '?' | '*' => '_',
        c if c.is_control() => '_',
        // Marks of direction and joiners, which hide where a name ends.
        '\u{ad}'
        | '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => '_',
        c => c,
    };
    let name: String = last.chars().map(safe).collect();
    let name = name.trim_matches([' ', '.']);
    let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let numbered = ["com", "lpt"].iter().any(|port| {
        stem.strip_prefix(port)
            .is_some_and(|rest| rest.len() == 1 && rest.bytes().all(|b| b.is_ascii_digit()))
    });
    if name.is_empty() {
        "file".into()
    } else if numbered || RESERVED.contains(&stem.as_str()) {
        format!("_{name}")
    } else {
        name.into()
    }
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
        let handle = call(&folder, "getFileHandle", &[safe_name(name).into(), create.clone()]).await?;
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

#[cfg(test)]
mod tests {
    use super::safe_name;

    #[test]
    fn a_download_is_named_for_what_it_is() {
        for (name, safe) in [
            ("model-00001-of-00003.safetensors", "model-00001-of-00003.safetensors"),
            ("a/../../etc/passwd", "passwd"),
            ("..\\..\\evil.exe", "evil.exe"),
            ("..", "file"),
            ("", "file"),
            (".hidden. ", "hidden"),
            ("model\u{202e}srotsnet.exe", "model_srotsnet.exe"),
            ("a\u{200b}b\u{7}c\n", "a_b_c_"),
            ("CON", "_CON"),
            ("aux.json", "_aux.json"),
            ("lpt1.txt", "_lpt1.txt"),
            ("com10.txt", "com10.txt"),
            ("a:b|c?.json", "a_b_c_.json"),
            ("模型.safetensors", "模型.safetensors"),
        ] {
            assert_eq!(safe_name(name), safe);
        }
    }
}
