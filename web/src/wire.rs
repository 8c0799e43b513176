//! Messages to and from JavaScript values, for both sides: `{ body, attached }`.
//!
//! Integers of 64 bits travel as `BigInt`, so that a size beyond 2^53 arrives exact. Files and blobs are attached
//! beside the body: the browser copies a handle, not the bytes.

use js_sys::{Array, Object, Reflect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::JsValue;

const BODY: &str = "body";
const ATTACHED: &str = "attached";

/// Packs a message for `postMessage`.
///
/// # Errors
/// If the body cannot be turned into a JavaScript value.
pub(crate) fn pack<T: Serialize>(body: &T, attached: &[JsValue]) -> Result<JsValue, JsValue> {
    let serializer = serde_wasm_bindgen::Serializer::new().serialize_large_number_types_as_bigints(true);
    let message = Object::new();
    Reflect::set(&message, &BODY.into(), &body.serialize(&serializer)?)?;
    Reflect::set(&message, &ATTACHED.into(), &attached.iter().collect::<Array>())?;
    Ok(message.into())
}

/// Unpacks a message.
///
/// # Errors
/// If it does not have the form that [`pack`] gives, which means that page and worker are of two builds.
pub(crate) fn unpack<T: DeserializeOwned>(message: &JsValue) -> Result<(T, Vec<JsValue>), JsValue> {
    let body = serde_wasm_bindgen::from_value(Reflect::get(message, &BODY.into())?)?;
    let attached = Array::from(&Reflect::get(message, &ATTACHED.into())?).to_vec();
    Ok((body, attached))
}
