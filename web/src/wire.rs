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

/// A part of a message that travels as JSON in one string. Its floats have to be finite.
///
/// Each field of an object costs a call between the two languages on either side, a string one call: a hundred rows
/// take a tenth of the time.
pub(crate) mod as_text {
    use serde::de::{DeserializeOwned, Error as _};
    use serde::ser::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize, Serializer};

    /// Writes the string.
    pub(crate) fn serialize<T: Serialize, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(value).map_err(S::Error::custom)?;
        serializer.serialize_str(&text)
    }

    /// Reads it.
    pub(crate) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map_err(D::Error::custom)
    }
}
