//! A file that the user picked, as a source of ranges.

use super::js;
use futures_util::future::LocalBoxFuture;
use js_sys::{ArrayBuffer, Uint8Array};
use quantscope_session::SourceError;
use std::cell::RefCell;
use std::ops::Range;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

/// Bytes of a header's length.
const LENGTH: usize = 8;
/// Bytes that come with a header's length. The browser takes longer over a question than over these bytes, which hold
/// most headers whole.
const AHEAD: u64 = 128 << 10;

/// A `File` or `Blob`. Nothing is read before it is asked for, but what follows the length of a header in the file.
#[derive(Debug, Clone)]
pub(super) struct BlobSource {
    name: String,
    blob: Blob,
    len: u64,
    /// The beginning of the file, from when its first bytes were read until the next question.
    begin: RefCell<Option<ArrayBuffer>>,
}

impl BlobSource {
    /// A blob under the name that errors shall give it.
    ///
    /// # Errors
    /// If its size is beyond what the browser can address exactly.
    pub(super) fn new(name: &str, blob: Blob) -> Result<Self, SourceError> {
        let len = js::to_u64(blob.size()).ok_or_else(|| SourceError::Io {
            name: name.into(),
            reason: format!("its size is {}", blob.size()),
        })?;
        Ok(Self { name: name.into(), blob, len, begin: RefCell::new(None) })
    }

    fn io(&self, error: &JsValue) -> SourceError {
        SourceError::Io {
            name: self.name.clone(),
            reason: format!(
                "{}; if the file was moved or changed since it was opened, open it again",
                js::reason(error)
            ),
        }
    }
}

/// A part of a blob, without reading it. The only place where offsets become floating point.
///
/// # Errors
/// If the range goes beyond 2^53, or the browser refuses.
pub(super) fn slice(blob: &Blob, range: Range<u64>) -> Result<Blob, JsValue> {
    let (Some(start), Some(end)) = (js::to_f64(range.start), js::to_f64(range.end)) else {
        return Err(
            format!("bytes {}..{} lie beyond what the browser can address", range.start, range.end).into()
        );
    };
    blob.slice_with_f64_and_f64(start, end)
}

impl quantscope_session::Source for BlobSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> LocalBoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let wanted = u64::try_from(buf.len()).unwrap_or(u64::MAX);
            let end = offset.saturating_add(wanted);
            let past_end = |len| SourceError::PastEnd { name: self.name.clone(), len, start: offset, end };
            if end > self.len {
                return Err(past_end(self.len));
            }
            if buf.is_empty() {
                return Ok(());
            }
            let kept = self.begin.take().filter(|kept| end <= u64::from(kept.byte_length()));
            let (buffer, from) = match kept {
                Some(kept) => (kept, offset),
                None => {
                    let ahead = offset == 0 && buf.len() == LENGTH;
                    let until = if ahead { AHEAD.min(self.len) } else { end };
                    let part = slice(&self.blob, offset..until).map_err(|error| self.io(&error))?;
                    let bytes = JsFuture::from(part.array_buffer()).await.map_err(|error| self.io(&error))?;
                    let buffer: ArrayBuffer = bytes.unchecked_into();
                    let came = offset.saturating_add(u64::from(buffer.byte_length()));
                    if came != until {
                        return Err(past_end(came));
                    }
                    if ahead {
                        *self.begin.borrow_mut() = Some(buffer.clone());
                    }
                    (buffer, 0)
                }
            };
            // Both are below the length of a buffer, which fits 32 bits.
            let (Ok(from), Ok(length)) = (u32::try_from(from), u32::try_from(buf.len())) else {
                return Err(past_end(self.len));
            };
            Uint8Array::new_with_byte_offset_and_length(&buffer, from, length).copy_to(buf);
            Ok(())
        })
    }
}
