//! The browser's locks: how the page and its workers know of each other, and of other tabs, whether they live.

use js_sys::{Array, Function, Promise, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// The browser's locks, if it has any.
fn locks() -> Result<Option<JsValue>, JsValue> {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into())?;
    let locks = Reflect::get(&navigator, &"locks".into())?;
    Ok(Some(locks).filter(JsValue::is_object))
}

/// Asks for a lock, and calls `then` when it is given. It is held until the promise settles that `then` answers.
fn request(locks: &JsValue, name: &str, then: impl FnOnce() -> JsValue + 'static) -> Result<(), JsValue> {
    let given = Closure::once_into_js(|_lock: JsValue| then());
    let request: Function = Reflect::get(locks, &"request".into())?.unchecked_into();
    request.call2(locks, &name.into(), &given)?;
    Ok(())
}

/// Takes a lock for as long as this worker or page lives, and then calls `held`; at once where the browser has no locks.
///
/// # Errors
/// What the browser says.
pub(crate) fn hold(name: &str, held: impl FnOnce() + 'static) -> Result<(), JsValue> {
    let Some(locks) = locks()? else {
        held();
        return Ok(());
    };
    request(&locks, name, || {
        held();
        // A promise that never settles.
        Promise::new(&mut |_, _| {}).into()
    })
}

/// Calls `free` when whoever holds a lock is gone; never where the browser has no locks.
///
/// # Errors
/// What the browser says.
pub(crate) fn when_free(name: &str, free: impl FnOnce() + 'static) -> Result<(), JsValue> {
    let Some(locks) = locks()? else { return Ok(()) };
    request(&locks, name, || {
        free();
        JsValue::UNDEFINED
    })
}

/// The names of all locks that are held. `None` if the browser has no locks.
///
/// # Errors
/// What the browser says.
pub(crate) async fn held() -> Result<Option<Vec<String>>, JsValue> {
    let Some(locks) = locks()? else { return Ok(None) };
    let query: Function = Reflect::get(&locks, &"query".into())?.unchecked_into();
    let snapshot = JsFuture::from(query.call0(&locks)?.unchecked_into::<Promise>()).await?;
    let held = Array::from(&Reflect::get(&snapshot, &"held".into())?);
    let names = held.iter().filter_map(|lock| Reflect::get(&lock, &"name".into()).ok()?.as_string());
    Ok(Some(names.collect()))
}
