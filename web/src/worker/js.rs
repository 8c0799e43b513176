//! Values of JavaScript as this worker needs them: exact numbers, reasons in words, awaited promises.

use quantscope_session::api::SessionError;
use wasm_bindgen::{JsCast, JsValue};

/// Integers up to here are exact as JavaScript numbers: 2^53.
const EXACT: u64 = 1 << 53;

/// An offset as JavaScript takes it; `None` beyond 2^53, where it would be rounded.
#[expect(clippy::cast_precision_loss, reason = "the range is checked: it is exact")]
pub(super) fn to_f64(value: u64) -> Option<f64> {
    (value <= EXACT).then_some(value as f64)
}

/// A size as JavaScript gives it; `None` for what is no size.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked: it is exact"
)]
pub(super) fn to_u64(value: f64) -> Option<u64> {
    (value >= 0.0 && value <= EXACT as f64 && value.fract() == 0.0).then_some(value as u64)
}

/// What went wrong, in the browser's words.
pub(super) fn reason(error: &JsValue) -> String {
    let field =
        |name: &str| js_sys::Reflect::get(error, &name.into()).ok().and_then(|value| value.as_string());
    match (field("name"), field("message")) {
        (Some(name), Some(message)) if !message.is_empty() => format!("{name}: {message}"),
        (Some(name), _) => name,
        (None, Some(message)) => message,
        (None, None) => error.as_string().unwrap_or_else(|| format!("{error:?}")),
    }
}

/// Bytes of this worker's WebAssembly memory.
pub(super) fn memory_bytes() -> u64 {
    let buffer = js_sys::Reflect::get(&wasm_bindgen::memory(), &"buffer".into()).ok();
    let length = buffer.and_then(|buffer| js_sys::Reflect::get(&buffer, &"byteLength".into()).ok());
    length.and_then(|length| length.as_f64()).and_then(to_u64).unwrap_or(0)
}

/// Whether the browser refused for lack of room.
pub(super) fn is_quota(error: &JsValue) -> bool {
    error.dyn_ref::<web_sys::DomException>().is_some_and(|error| error.name() == "QuotaExceededError")
}

/// An error of a kind.
pub(super) fn error(kind: &str, message: impl Into<String>) -> SessionError {
    SessionError { kind: kind.into(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_numbers_pass() {
        assert_eq!(to_f64(EXACT), Some(9_007_199_254_740_992.0));
        assert_eq!(to_f64(EXACT + 1), None);
        assert_eq!(to_u64(6_442_450_944.0), Some(6_442_450_944));
        for no_size in [-1.0, 0.5, f64::NAN, f64::INFINITY, 1e17] {
            assert_eq!(to_u64(no_size), None, "{no_size}");
        }
    }
}
