//! Messages to and from JavaScript values, for both sides: `{ body, attached }`.
//!
//! The body is bytes in the form of [`encode`] and [`decode`]. Files and blobs are attached beside it: the browser
//! copies a handle, not the bytes.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use js_sys::{Array, Object, Reflect, Uint8Array};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use wasm_bindgen::JsValue;

const BODY: &str = "body";
const ATTACHED: &str = "attached";

/// A message that has not the form that its type says.
///
/// It carries no more: both sides are of one build, so that a reader has nothing to do but load the page again, and
/// a sentence for every field of every message would be a good part of what is downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OtherForm;

impl fmt::Display for OtherForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is of another form")
    }
}

impl std::error::Error for OtherForm {}

impl serde::ser::Error for OtherForm {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl serde::de::Error for OtherForm {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }

    fn invalid_type(_: serde::de::Unexpected<'_>, _: &dyn serde::de::Expected) -> Self {
        Self
    }

    fn invalid_value(_: serde::de::Unexpected<'_>, _: &dyn serde::de::Expected) -> Self {
        Self
    }

    fn invalid_length(_: usize, _: &dyn serde::de::Expected) -> Self {
        Self
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self
    }

    fn missing_field(_: &'static str) -> Self {
        Self
    }

    fn duplicate_field(_: &'static str) -> Self {
        Self
    }
}

/// Packs a message for `postMessage`.
///
/// # Errors
/// If the body cannot be written, which no message of ours is.
pub(crate) fn pack<T: Serialize>(body: &T, attached: &[JsValue]) -> Result<JsValue, JsValue> {
    let bytes = encode::to_bytes(body).map_err(|error| JsValue::from(error.to_string()))?;
    message(&bytes, attached)
}

fn message(body: &[u8], attached: &[JsValue]) -> Result<JsValue, JsValue> {
    let message = Object::new();
    Reflect::set(&message, &BODY.into(), &Uint8Array::from(body))?;
    Reflect::set(&message, &ATTACHED.into(), &attached.iter().collect::<Array>())?;
    Ok(message.into())
}

/// Unpacks a message.
///
/// # Errors
/// If it does not have the form that [`pack`] gives, which means that page and worker are of two builds.
pub(crate) fn unpack<T: DeserializeOwned>(message: &JsValue) -> Result<(T, Vec<JsValue>), JsValue> {
    let (body, attached) = parts(message)?;
    let body = decode::from_bytes(&body).map_err(|error| JsValue::from(error.to_string()))?;
    Ok((body, attached))
}

fn parts(message: &JsValue) -> Result<(Vec<u8>, Vec<JsValue>), JsValue> {
    let body = Uint8Array::new(&Reflect::get(message, &BODY.into())?).to_vec();
    let attached = Array::from(&Reflect::get(message, &ATTACHED.into())?).to_vec();
    Ok((body, attached))
}
